"""What a session carries: there and back, whatever comes from outside, and merged."""

from __future__ import annotations

import base64
import dataclasses
from itertools import starmap

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import (
    MAX_BUCKETS,
    MAX_TEXT,
    Bookmark,
    Refused,
    Seen,
    decode,
    merge,
    received,
)
from repocache.history import LAST, is_newer
from repocache.routing.routing import ANYWHERE, need_of

NOW = 1_000_000.0
WINDOW = 60.0
HISTORIES = ["s.1.a", "s.1.b", "s.2.c", "s.10.d"]
"""Lines of WAL of one cluster: timeline 1 by two server processes, and later ones."""


@dataclasses.dataclass(frozen=True)
class Signer:
    """Signs with a suffix: enough to see who asks it for what."""

    suffix: str = ".signed"
    strict: bool = True

    def sign(self, body: str) -> str:
        return body + self.suffix

    def unsign(self, text: str) -> str | None:
        return text.removesuffix(self.suffix) if text.endswith(self.suffix) else None


def bookmark(
    position: int | None = 7,
    wrote: dict[int, Seen] | None = None,
    *,
    history: str = "h1",
    covered: bool = True,
    expires: float = NOW + 10,
    made: float = NOW,
) -> Bookmark:
    return Bookmark(history, position, {} if wrote is None else wrote, covered, expires, made)


seens = st.builds(Seen, st.sampled_from(["i1", "i2"]), st.integers(0, 9))
bookmarks = st.builds(
    Bookmark,
    history=st.sampled_from(["", *HISTORIES]),
    position=st.none() | st.integers(0, 9) | st.integers(0, LAST),
    wrote=st.none() | st.dictionaries(st.integers(0, 19), seens, max_size=MAX_BUCKETS),
    covered=st.booleans(),
    expires=st.floats(NOW + 1, NOW + WINDOW),
    made=st.floats(0, NOW),
)


def test_decoding_is_strict_about_signatures() -> None:
    plain, signed = bookmark().encode(), bookmark().encode(Signer())
    assert decode(signed, Signer()) == bookmark()
    assert decode(plain, Signer()) == Refused("signature")
    assert decode(signed, Signer(".other")) == Refused("signature")


def test_who_signs_nothing_takes_what_others_have_signed() -> None:
    """While a fleet is given secrets, some processes have none yet."""
    assert decode(bookmark().encode(Signer()), None) == bookmark()


@given(bookmarks)
def test_a_bookmark_comes_back_from_its_text(given: Bookmark) -> None:
    text = given.encode()
    back = decode(text, None)
    assert back == given
    assert isinstance(back, Bookmark)
    assert all(type(seen) is Seen for seen in back.buckets.values())
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_largest_bookmark_is_a_header() -> None:
    wrote = {n: Seen("f" * 20, 2**32) for n in range(1000, 1000 + MAX_BUCKETS)}
    assert (
        len(bookmark(2**63, wrote, history="7711521039664438273.1.04cc19ceadc8").encode()) <= 1024
    )


@given(
    st.text()
    | st.binary().map(lambda raw: raw.decode("latin-1"))
    | st.text(st.characters(), max_size=30)
)
def test_any_text_is_refused_and_never_raises(text: str) -> None:
    assert isinstance(decode(text, None), Refused)
    assert decode(text, Signer()) == Refused("signature")


packed: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.integers(0, 9), inner, max_size=3)
    ),
)


@given(packed | st.lists(packed, min_size=5, max_size=6))
def test_any_value_in_its_form_is_a_bookmark_or_refused(value: object) -> None:
    text = base64.urlsafe_b64encode(msgspec.msgpack.encode(value)).rstrip(b"=").decode()
    assert isinstance(decode(text, None), Bookmark | Refused)


def test_what_is_nearly_a_bookmark_is_refused() -> None:
    text = bookmark().encode()
    packed_more = msgspec.msgpack.encode(["h", 1, {}, True, NOW + 10, NOW, "more"])
    nested = b"\x95" + b"\x91" * 3000
    for near in (text[:8] + "!!!!" + text[8:], text + "\n", text[:-1]):
        assert decode(near, None) == Refused("malformed")
    for raw in (packed_more, nested):
        assert decode(base64.urlsafe_b64encode(raw).decode(), None) == Refused("malformed")


@pytest.mark.parametrize(
    "given, reason",
    [
        (bookmark(expires=float("nan")), "malformed"),
        (bookmark(made=float("nan")), "malformed"),
        (bookmark(made=float("inf")), "malformed"),
        (bookmark(made=float("-inf")), "malformed"),
        (bookmark(-1), "malformed"),
        (bookmark(LAST + 1), "malformed"),
        (bookmark(wrote={7: Seen("i", LAST + 1)}), "malformed"),
        (bookmark(wrote={7: Seen("i", -1)}), "malformed"),
        (bookmark(wrote={LAST + 1: Seen("i", 1)}), "malformed"),
        (bookmark(wrote={-1: Seen("i", 1)}), "malformed"),
        (bookmark(wrote={n: Seen("i", 1) for n in range(MAX_BUCKETS + 1)}), "malformed"),
        (bookmark(history="h" * MAX_TEXT), "too long"),
    ],
)
def test_why_a_bookmark_is_refused(given: Bookmark, reason: str) -> None:
    assert decode(given.encode(), None) == Refused(reason)


@given(bookmarks)
def test_one_that_came_as_bytes_or_as_a_value_is_the_same(given: Bookmark) -> None:
    assert decode(given.encode().encode(), None) == given
    assert received(given.encode(Signer()).encode(), Signer()) == given
    assert received(given, Signer()) == given, "a value is this process's own, and has no signature"


NONSENSE: tuple[object, ...] = (
    7, 0, 1.5, True, False, [], ["a"], {}, {"a": 1}, object(), Bookmark,
    bytearray(b"a"), memoryview(b"a"), 10**5000,
    b"\xff\xfe", b"\x00", "\ud800", "\ud800.\udfff", "é" * 9, b"=" * 9, b"A" * 10_000,
    bookmark(10**30), bookmark(wrote={1: Seen("i", 2**64)}), bookmark(wrote={2**70: Seen("i", 1)}),
    *starmap(
        Bookmark,
        (
            ("h", "7", {}, True, NOW), (None, 7, {}, True, NOW), ("h", 7, {}, True, 10**400),
            ("h", 7, [1], True, NOW), ("h", 7, {1: 2}, True, NOW), ("h", 7, {}, object(), NOW),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("signer", [None, Signer()])
@pytest.mark.parametrize("given", NONSENSE, ids=lambda given: type(given).__name__)
def test_whatever_else_is_given_is_refused_and_never_raises(
    given: object, signer: Signer | None
) -> None:
    assert isinstance(received(given, signer), Refused)


@pytest.mark.parametrize("expires", [NOW - 1e9, NOW, NOW + 1e9, float("inf"), float("-inf")])
def test_none_is_refused_for_how_long_it_lives(expires: float) -> None:
    """Whether its life is over, or too long, is the reader's to say, by the primary's clock."""
    assert decode(bookmark(expires=expires).encode(), None) == bookmark(expires=expires)


def test_one_that_does_not_say_when_it_was_made_is_read() -> None:
    raw = msgspec.msgpack.encode(["h1", 7, {}, True, NOW + 10])
    assert decode(base64.urlsafe_b64encode(raw).decode(), None) == bookmark(made=0.0)


def test_a_text_too_long_is_refused_unread() -> None:
    class Untouched(Signer):
        def unsign(self, text: str) -> str | None:
            raise AssertionError(len(text))

    assert decode("A" * (MAX_TEXT + 1), Untouched()) == Refused("too long")


@given(bookmarks, bookmarks, st.booleans())
def test_merged_lives_and_distrusts_as_either_does(
    old: Bookmark, new: Bookmark, beyond: bool
) -> None:
    merged = merge(old, new, beyond=beyond)
    assert merged.covered == (old.covered and new.covered)
    assert merged.expires == max(old.expires, new.expires)
    assert merged.made == max(old.made, new.made)
    assert merge(None, new, beyond=beyond) == new


def asks_no_less(merged: Bookmark, part: Bookmark, history: str) -> bool:
    """Whether whoever satisfies the merged one, where the primary writes `history`, has what the
    part asks for."""
    ours, its = (need_of(0, each, history, ANYWHERE) for each in (merged, part))
    if its.unmet and not ours.unmet:
        return False
    return bool(ours.primary) or (not its.primary and its.position <= ours.position)


@given(bookmarks, bookmarks, st.sampled_from(HISTORIES))
def test_merged_never_asks_for_less_than_either(old: Bookmark, new: Bookmark, history: str) -> None:
    merged = merge(old, new)
    assert asks_no_less(merged, old, history)
    assert asks_no_less(merged, new, history)


@given(bookmarks, bookmarks, st.sampled_from(HISTORIES))
def test_what_was_polled_beyond_the_old_one_stands_for_it(
    old: Bookmark, new: Bookmark, history: str
) -> None:
    """If that was of an earlier line; of a newer timeline, or not known, it goes on to count."""
    merged = merge(old, new, beyond=True)
    assert asks_no_less(merged, new, history)
    same = old.history == new.history or old.position is None or new.position == 0
    if same or is_newer(old.history, new.history):
        assert asks_no_less(merged, old, history)


OLD, LATER = "s.1.a", "s.2.c"


@pytest.mark.parametrize(
    "old, new, beyond, place",
    [
        ((OLD, 5), (OLD, 7), False, (OLD, 7)),
        ((OLD, 7), (OLD, 5), True, (OLD, 7)),
        ((OLD, None), (OLD, 7), False, (OLD, None)),
        ((OLD, None), (OLD, 7), True, (OLD, None)),
        ((OLD, 7), (OLD, None), True, (OLD, None)),
        ((OLD, 7), ("", None), False, (OLD, None)),
        (("", None), (OLD, 7), False, (OLD, None)),
        (("", None), (OLD, 7), True, (OLD, None)),
        ((OLD, 7), (LATER, 5), False, (LATER, None)),
        ((OLD, 7), (LATER, 5), True, (LATER, 5)),
        ((OLD, None), (LATER, 5), True, (LATER, None)),
        ((LATER, 5), (OLD, 7), False, (LATER, None)),
        ((LATER, 5), (OLD, 7), True, (LATER, None)),
        (("s.1.a", 5), ("s.1.b", 7), False, ("s.1.b", None)),
        (("s.1.a", 5), ("s.1.b", 7), True, ("s.1.b", 7)),
        (("", 0), (OLD, 7), False, (OLD, 7)),
        ((LATER, 0), (OLD, 7), False, (OLD, 7)),
        ((OLD, 7), ("", 0), False, (OLD, 7)),
        ((OLD, None), ("", 0), True, (OLD, None)),
        (("s.9.a", 5), ("s.10.d", 7), False, ("s.10.d", None)),
    ],
)
def test_where_a_session_is_that_has_seen_both(
    old: tuple[str, int | None],
    new: tuple[str, int | None],
    beyond: bool,
    place: tuple[str, int | None],
) -> None:
    one, other = (bookmark(position, history=history) for history, position in (old, new))
    merged = merge(one, other, beyond=beyond)
    assert (merged.history, merged.position) == place


@given(bookmarks, bookmarks)
def test_merged_knows_each_written_bucket(old: Bookmark, new: Bookmark) -> None:
    merged = merge(old, new)
    buckets = {*old.buckets, *new.buckets}
    if old.wrote is None or new.wrote is None or len(buckets) > MAX_BUCKETS:
        assert merged.wrote is None
        return
    assert merged.buckets.keys() == buckets
    for bucket, seen in merged.buckets.items():
        parts = [each.buckets[bucket] for each in (old, new) if bucket in each.buckets]
        if len({each.incarnation for each in parts}) == 1:
            assert seen == max(parts)
        else:
            assert not any(merged.known_to(bucket, each.incarnation, 10**9) for each in parts)


@given(bookmarks, bookmarks, bookmarks)
def test_the_order_of_merging_does_not_matter_to_what_was_written(
    one: Bookmark, two: Bookmark, three: Bookmark
) -> None:
    assert (
        merge(merge(one, two), three).wrote
        == merge(one, merge(two, three)).wrote
        == merge(merge(three, one), two).wrote
    )


def test_a_bucket_written_under_two_records_is_known_to_none() -> None:
    at_one, at_two = bookmark(1, {1: Seen("one", 5)}), bookmark(2, {1: Seen("two", 1)})
    for merged in (
        merge(at_one, at_two),
        merge(merge(at_one, at_two), bookmark(3, {1: Seen("two", 2)})),
    ):
        assert not merged.known_to(1, "one", 99)
        assert not merged.known_to(1, "two", 99)
        assert merged.known_to(2, "two", 1)


@given(bookmarks)
def test_merging_leaves_its_parts_alone(given: Bookmark) -> None:
    before = bookmark(1, {1: Seen("i", 1)})
    merge(before, bookmark(2, {1: Seen("i", 2), 2: Seen("i", 1)}))
    assert before == bookmark(1, {1: Seen("i", 1)})
    assert merge(given, given) == given


def test_sixteen_buckets_are_named_and_seventeen_are_not() -> None:
    full = bookmark(wrote={n: Seen("i", 1) for n in range(MAX_BUCKETS)})
    assert merge(full, bookmark(wrote={0: Seen("i", 2)})).wrote is not None
    assert merge(full, bookmark(wrote={MAX_BUCKETS: Seen("i", 1)})).wrote is None
