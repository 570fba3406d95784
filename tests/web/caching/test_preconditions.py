"""Entity tags and preconditions: what is made, what is read, and how much work it may be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repocache import UsageError
from repocache.http.caching.conditional import (
    Absent,
    ConditionalAnswer,
    Current,
    answer,
    not_modified_lines,
)
from repocache.http.caching.dates import date_text, read_date
from repocache.http.caching.etags import (
    MOST_BYTES,
    EntityTag,
    Representation,
    Tags,
    body_etag,
    etag_of,
    listed,
    parse,
    strong,
    versions_etag,
    weak,
)
from tests.fuzzing import examples

OPAQUE = st.binary(max_size=8).map(
    lambda raw: bytes(byte for byte in raw if byte == 0x21 or 0x23 <= byte != 0x7F)
)
TAGS = st.builds(EntityTag, weak=st.booleans(), opaque=OPAQUE)
AT = 784_111_777


def text_of(tag: EntityTag) -> bytes:
    return weak(tag.opaque) if tag.weak else strong(tag.opaque)


def work(call: Callable[[], Any]) -> int:
    """Lines of Python that a call runs: of whatever machine."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(TAGS, min_size=1, max_size=6))
def test_what_is_listed_is_read(tags: list[EntityTag]) -> None:
    texts = [text_of(tag) for tag in tags]
    assert listed([b", ".join(texts)]) == tuple(tags)
    assert listed(texts) == tuple(tags)
    assert [parse(text) for text in texts] == tags


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_whatever_comes_is_no_error(values: list[bytes]) -> None:
    found = listed(values)
    assert isinstance(found, Tags) or all(isinstance(each, EntityTag) for each in found)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=40))
def test_an_answer_to_whatever_comes(value: bytes) -> None:
    lines = [(b"If-Match", value), (b"if-none-match", value), (b"If-Modified-Since", value)]
    for method in ("GET", "PUT"):
        for state in (Current(b'"a"', AT), Current(), Absent()):
            assert isinstance(answer(method, lines, state), ConditionalAnswer)


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"a"],
        [b'"a'],
        [b'a"'],
        [b'""a'],
        [b"W/a"],
        [b'w/"a"'],
        [b'W /"a"'],
        [b'W/ "a"'],
        [b'"a\n"'],
        [b'"a"\n'],
        [b'"a"\r\nX: "b"'],
        [b'"a\x00"'],
        [b'"a b"'],
        [b'"a\x7f"'],
        [b'"a""b"'],
        [b'"a";"b"'],
        [b"*, *"],
        [b"*", b"*"],
        [b'*, "a"'],
        [b"**"],
        [b","],
        [b'"' + b"a" * MOST_BYTES + b'"'],
    ],
)
def test_what_is_malformed_names_nothing(values: list[bytes]) -> None:
    assert listed(values) is Tags.MALFORMED
    lines = [(b"if-none-match", value) for value in values]
    assert answer("GET", lines, Current(b'"a"')) is ConditionalAnswer.PROCEED
    assert answer("PUT", lines, Current(b'"b"')) is ConditionalAnswer.PRECONDITION_FAILED
    assert answer("PUT", lines, Absent()) is ConditionalAnswer.PRECONDITION_FAILED
    lines = [(b"if-match", value) for value in values]
    assert answer("PUT", lines, Current(b'"a"')) is ConditionalAnswer.PRECONDITION_FAILED


@pytest.mark.parametrize("text", [b' "a"', b'"a" ', b'"a"\n', b"*", b'"a", "b"', b""])
def test_one_entity_tag_and_nothing_beside_it(text: bytes) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "values",
    [
        [b"," * 10_000_000],
        [b'"a",' * 1_000_000],
        [b" " * 10_000_000],
        [b'"a"'] * 1_000_000,
        [b'"' * 10_000_000],
        [b""] * 1_000_000,
    ],
)
def test_the_work_is_bounded(values: list[bytes]) -> None:
    lines = [(b"if-none-match", value) for value in values]
    assert answer("GET", lines[:1] * 2, Current(b'"b"')) is ConditionalAnswer.PROCEED
    assert work(lambda: listed(values)) < 20
    longest = [b"," * (MOST_BYTES - 2)]
    assert work(lambda: listed(longest)) < 3 * MOST_BYTES


@pytest.mark.parametrize("digest", [b'a"b', b"a b", b"a\n", b"\x7f", b"\x00"])
def test_what_cannot_stand_in_quotes(digest: bytes) -> None:
    for make in (strong, weak):
        with pytest.raises(UsageError, match="no quotes"):
            make(digest)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_two_lists_of_parts_have_two_digests(one: list[bytes], other: list[bytes]) -> None:
    assert (etag_of(one) == etag_of(other)) == (one == other)


def test_parts_that_run_together_differ() -> None:
    assert len({etag_of(parts) for parts in ([b"ab"], [b"a", b"b"], [b"", b"ab"], [b"1:ab"])}) == 4


BASE = {"url": b"https://a/", "variant": b"v", "subject": b"7", "coding": b"gzip"}


@pytest.mark.parametrize(
    "other",
    [
        {"url": b"https://a/?x"},
        {"variant": b"w"},
        {"subject": b"8"},
        {"subject": None},
        {"subject": b""},
        {"coding": b""},
        {"coding": b"br"},
        {"url": b"https://a/v", "variant": b""},
    ],
)
@pytest.mark.parametrize("make", [body_etag, lambda of, body: versions_etag(of, [body])])
def test_never_across_url_variant_subject_and_coding(make: Any, other: dict[str, Any]) -> None:
    one = make(Representation(**BASE), b"x")
    another = make(Representation(**{**BASE, **other}), b"x")
    assert one != another
    assert make(Representation(**BASE), b"x") == one
    lines = [(b"if-none-match", one)]
    assert answer("GET", lines, Current(another)) is ConditionalAnswer.PROCEED
    assert answer("GET", lines, Current(one)) is ConditionalAnswer.NOT_MODIFIED


def test_nobody_and_somebody_without_a_name_differ() -> None:
    url = b"https://a/"
    made = {body_etag(Representation(url=url, subject=each), b"") for each in (None, b"", b"a")}
    assert len(made) == 3


def test_strong_is_of_bytes_and_weak_of_versions() -> None:
    of = Representation(url=b"u")
    assert parse(body_etag(of, b"x")) == EntityTag(False, body_etag(of, b"x").strip(b'"'))
    found = parse(versions_etag(of, [b"x"]))
    assert found is not None
    assert found.weak
    assert versions_etag(of, [b"x", b"y"]) != versions_etag(of, [b"xy"])
    assert found.opaque != body_etag(of, b"x").strip(b'"'), "one is never the other"


@pytest.mark.parametrize(
    "text",
    [
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"  Sun, 06 Nov 1994 08:49:37 GMT\t",
    ],
)
def test_the_three_forms_of_a_date(text: bytes) -> None:
    assert read_date(text) == AT


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"-1",
        b"784111777",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"sun, 06 nov 1994 08:49:37 gmt",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT\n",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 199\u0664 08:49:37 GMT".encode(),
        b"\xff",
    ],
)
def test_what_is_no_date(text: bytes) -> None:
    assert read_date(text) is None


def test_years_of_two_digits_and_a_leap_second() -> None:
    assert read_date(b"Sunday, 06-Nov-69 08:49:37 GMT") == 3_150_953_377
    assert read_date(b"Saturday, 31-Dec-16 23:59:60 GMT") == 1_483_228_799


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(min_value=0, max_value=250_000_000_000))
def test_a_date_that_is_written_is_read(seconds: int) -> None:
    assert read_date(date_text(seconds)) == seconds


def test_what_goes_with_a_304() -> None:
    sent = [
        (b"ETag", b'"a"'),
        (b"Date", b"d"),
        (b"cache-control", b"public"),
        (b"cdn-cache-control", b"max-age=1"),
        (b"content-location", b"/a"),
        (b"Expires", b"e"),
        (b"vary", b"Accept"),
        (b"set-cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"content-security-policy", b"p"),
        (b"bookmark", b"b"),
    ]
    described = [
        (b"Content-Type", b"t"),
        (b"content-length", b"5"),
        (b"content-encoding", b"gzip"),
        (b"content-language", b"de"),
        (b"content-range", b"r"),
        (b"content-disposition", b"attachment"),
        (b"transfer-encoding", b"chunked"),
        (b"last-modified", b"m"),
    ]
    assert not_modified_lines([*described, *sent]) == sent
    without = [line for line in sent if line[0] != b"ETag"]
    assert not_modified_lines([*described, *without]) == [described[-1], *without]
