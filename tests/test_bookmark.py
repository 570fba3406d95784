"""What a session carries: there and back, whatever comes from outside, and merged."""

from __future__ import annotations

import base64
import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import MAX_BUCKETS, MAX_TEXT, Bookmark, Refused, Seen, decode, merge

NOW = 1_000_000.0
WINDOW = 60.0


@dataclasses.dataclass(frozen=True)
class Signer:
    """Signs with a suffix: enough to see who asks it for what."""

    suffix: str = ".signed"

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
) -> Bookmark:
    return Bookmark(history, position, {} if wrote is None else wrote, covered, expires)


seens = st.builds(Seen, st.sampled_from(["i1", "i2"]), st.integers(0, 9))
bookmarks = st.builds(
    Bookmark,
    history=st.sampled_from(["", "h1", "h2"]),
    position=st.none() | st.integers(0, 2**63),
    wrote=st.none() | st.dictionaries(st.integers(0, 19), seens, max_size=MAX_BUCKETS),
    covered=st.booleans(),
    expires=st.floats(NOW + 1, NOW + WINDOW),
)


def test_decoding_is_strict_about_signatures() -> None:
    plain, signed = bookmark().encode(), bookmark().encode(Signer())
    assert decode(signed, Signer(), NOW, WINDOW) == bookmark()
    assert decode(plain, Signer(), NOW, WINDOW) == Refused("signature")
    assert decode(signed, Signer(".other"), NOW, WINDOW) == Refused("signature")
    assert decode(signed, None, NOW, WINDOW) == Refused("malformed")


@given(bookmarks)
def test_a_bookmark_comes_back_from_its_text(given: Bookmark) -> None:
    text = given.encode()
    back = decode(text, None, NOW, WINDOW)
    assert back == given
    assert isinstance(back, Bookmark)
    assert all(type(seen) is Seen for seen in back.buckets.values())
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_largest_bookmark_is_a_header() -> None:
    wrote = {n: Seen("f" * 20, 2**32) for n in range(1000, 1000 + MAX_BUCKETS)}
    assert len(bookmark(2**63, wrote, history="7711521039664438273.1.04cc19ceadc8").encode()) <= 1024


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | st.text(st.characters(), max_size=30))
def test_any_text_is_refused_and_never_raises(text: str) -> None:
    assert isinstance(decode(text, None, NOW, WINDOW), Refused)
    assert decode(text, Signer(), NOW, WINDOW) == Refused("signature")


packed: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
)


@given(packed | st.lists(packed, min_size=5, max_size=5))
def test_any_value_in_its_form_is_a_bookmark_or_refused(value: object) -> None:
    text = base64.urlsafe_b64encode(msgspec.msgpack.encode(value)).rstrip(b"=").decode()
    assert isinstance(decode(text, None, NOW, WINDOW), Bookmark | Refused)


def test_what_is_nearly_a_bookmark_is_refused() -> None:
    text = bookmark().encode()
    packed_more = msgspec.msgpack.encode(["h", 1, {}, True, NOW + 10, "more"])
    nested = b"\x95" + b"\x91" * 3000
    for near in (text[:8] + "!!!!" + text[8:], text + "\n", text[:-1]):
        assert decode(near, None, NOW, WINDOW) == Refused("malformed")
    for raw in (packed_more, nested):
        assert decode(base64.urlsafe_b64encode(raw).decode(), None, NOW, WINDOW) == Refused("malformed")


@pytest.mark.parametrize(
    "given, reason",
    [
        (bookmark(expires=NOW), "expired"),
        (bookmark(expires=NOW - 1), "expired"),
        (bookmark(expires=float("nan")), "expired"),
        (bookmark(expires=NOW + WINDOW + 1), "expires too late"),
        (bookmark(expires=float("inf")), "expires too late"),
        (bookmark(-1), "malformed"),
        (bookmark(wrote={n: Seen("i", 1) for n in range(MAX_BUCKETS + 1)}), "malformed"),
        (bookmark(history="h" * MAX_TEXT), "too long"),
    ],
)
def test_why_a_bookmark_is_refused(given: Bookmark, reason: str) -> None:
    assert decode(given.encode(), None, NOW, WINDOW) == Refused(reason)


def test_a_text_too_long_is_refused_unread() -> None:
    class Untouched(Signer):
        def unsign(self, text: str) -> str | None:
            raise AssertionError(len(text))

    assert decode("A" * (MAX_TEXT + 1), Untouched(), NOW, WINDOW) == Refused("too long")


@given(bookmarks, bookmarks)
def test_merged_is_not_older_than_either(old: Bookmark, new: Bookmark) -> None:
    merged = merge(old, new)
    assert merged.history == new.history
    assert merged.covered == (old.covered and new.covered)
    assert merged.expires == max(old.expires, new.expires)
    assert merge(None, new) == new
    if old.history != new.history:
        assert merged.position == new.position
    elif old.position is None or new.position is None:
        assert merged.position is None
    else:
        assert merged.position == max(old.position, new.position)


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
    for merged in (merge(at_one, at_two), merge(merge(at_one, at_two), bookmark(3, {1: Seen("two", 2)}))):
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
