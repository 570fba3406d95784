"""What tags are called, and which of them a commit purges. Pure."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repocache.edges import CACHE_GROUPS, CACHE_TAG, SURROGATE_KEY, XKEY, TagNames, purged
from repocache.edges.names import LONGEST, tag_of
from repocache.errors import ConfigurationError
from repocache.invalidation.batch import Batch
from repocache.tags import known_shapes, named_tag

PLAIN = TagNames("shop")
SECRET = TagNames("shop", "a secret of many bytes")
BOTH = pytest.mark.parametrize("names", [PLAIN, SECRET])
HOSTILE = st.text(st.sampled_from('user:7*~., \t\r\n"\\;%é\x00\ud800a-'), max_size=40)
TEXTS = st.one_of(st.text(max_size=300), HOSTILE, st.from_regex(r"[a-z]{1,9}:[0-9a-z:.~%-]{0,20}"))


@pytest.mark.parametrize(
    "tag, name",
    [
        ("user:7", "shop.user:7"),
        ("tag--post:ab12cd:5", "shop.tag--post:ab12cd:5"),
        ("user", "shop.user"),
        ("user:*", "shop.user:*"),
        ("*", "shop.*"),
        ("user:", "shop.user:"),
        ("user:a%20b", "shop.user:a%20b"),
        (named_tag("home page"), "shop.tag--:home%20page"),
    ],
)
def test_usual_tags_are_plain(tag: str, name: str) -> None:
    assert PLAIN.name(tag) == name
    assert tag_of(name) == tag


@pytest.mark.parametrize("tag", ["user:a b", "user:a,b", "user:é", "user:" + "1" * 200, "~ab", ""])
def test_others_are_digests(tag: str) -> None:
    assert re.fullmatch(r"shop\.~[0-9a-f]{24}", PLAIN.name(tag))
    assert tag_of(PLAIN.name(tag)) is None


def test_with_a_secret_all_are_and_it_matters_which() -> None:
    other = TagNames("shop", "another secret of many")
    found = {each.name("user:7") for each in (PLAIN, SECRET, other, TagNames("mail", "b" * 16))}
    assert len(found) == 4
    assert re.fullmatch(r"shop\.~[0-9a-f]{24}", SECRET.name("*"))
    assert SECRET.name("user:7") == TagNames("shop", "a secret of many bytes").name("user:7")


@BOTH
@given(tag=TEXTS)
@example(tag="user:7 shop.*")
@example(tag="user:7\r\nset-cookie: a=b")
@example(tag="user:7\n")
def test_no_tag_is_more_than_one_name(names: TagNames, tag: str) -> None:
    """In no header: whoever reads it as its grammar says finds this name alone."""
    name = names.name(tag)
    assert re.fullmatch(r"shop\.[A-Za-z0-9_.~%:*-]+", name)
    assert len(name) <= LONGEST
    for header in (SURROGATE_KEY, CACHE_TAG, XKEY):
        [(_, value)] = header.lines([name])
        assert re.split(r"[\s,]+", value.decode()) == [name]
    [(_, value)] = CACHE_GROUPS.lines([name])
    # A String of RFC 9651 has printable ASCII, and needs an escape for two characters.
    assert re.fullmatch(r'"[\x20-\x21\x23-\x5b\x5d-\x7e]*"', value.decode())
    assert value.decode().strip('"') == name


@BOTH
@given(first=TEXTS, second=TEXTS)
@example(first="user:7", second="user:07")
def test_two_tags_have_two_names(names: TagNames, first: str, second: str) -> None:
    assert (names.name(first) == names.name(second)) == (first == second)


@given(tag=TEXTS)
def test_a_digest_is_no_other_tag_s_plain_name(tag: str) -> None:
    digest = PLAIN.name(tag + " ").removeprefix("shop.")
    assert PLAIN.name(digest) != f"shop.{digest}"


@pytest.mark.parametrize("app", ["", "a b", "a.b", "a,b", "é", "a" * 33, "a\n", None])
def test_an_app_that_is_no_name_is_refused(app: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TagNames\(app="):
        TagNames(app)


@pytest.mark.parametrize("secret", ["", "short", b"a secret of many bytes"])
def test_a_secret_that_is_none_is_refused_and_never_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="at least 16 bytes") as failure:
        TagNames("shop", secret)
    assert not secret or str(secret) not in str(failure.value)
    assert "many bytes" not in repr(SECRET)


def test_a_batch_purges_its_keys_their_owners_and_what_changed_as_a_whole() -> None:
    batch = Batch(
        {
            "user": frozenset({"user:7", "user:10"}),
            "tag--post": frozenset({"tag--post:ab:5", known_shapes("tag--post", ["ab"])}),
            "tag--tag": frozenset({known_shapes("tag--tag", [])}),
            "order": frozenset({"order:1"}),
            "none": frozenset(),
        },
        frozenset({"order", "account"}),
    )
    assert purged(batch) == (
        *("tag--post:ab:5", "tag--post:*", "user:10", "user:7", "user:*"),
        *("account", "order"),
    )
    assert purged(Batch({}, anew=frozenset({3}))) == ("*",)
    assert purged(Batch({})) == ()
