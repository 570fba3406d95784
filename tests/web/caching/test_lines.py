"""Vary, variants, Cache-Status, and what CDNs heed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repocache.http.answer import with_lines
from repocache.http.caching.cache_status import CacheHit, WentOn, Why, member, with_status
from repocache.http.caching.vary import variant, vary_names, with_vary
from tests.fuzzing import examples

VALUES = st.lists(st.text('a,; \t"\\', max_size=8).map(str.encode), max_size=3)


@pytest.mark.parametrize(
    "own, names, merged",
    [
        ([], ("Accept",), [b"Accept"]),
        ([b"Origin"], ("Accept",), [b"Origin, Accept"]),
        ([b"Origin", b"Accept-Encoding"], ("Accept",), [b"Origin, Accept-Encoding, Accept"]),
        ([b"ACCEPT"], ("accept",), [b"ACCEPT"]),
        ([b"*"], ("Accept",), [b"*"]),
        ([b"Origin, *"], ("Accept",), [b"Origin, *"]),
        ([], (), []),
        ([b"Origin"], (), [b"Origin"]),
    ],
)
def test_vary_is_merged(own: list[bytes], names: tuple[str, ...], merged: list[bytes]) -> None:
    lines = [(b"x", b"1"), *((b"Vary", value) for value in own)]
    made = with_vary(lines, names)
    assert [value for name, value in made if name.lower() == b"vary"] == merged
    assert made[0] == (b"x", b"1")


def test_what_an_answer_names_itself() -> None:
    lines = [(b"vary", b"Origin, accept-Encoding"), (b"Vary", b"*"), (b"x", b"y")]
    assert vary_names(lines) == {"origin", "accept-encoding", "*"}


def test_what_a_request_says() -> None:
    lines = [(b"Accept", b"a"), (b"x", b"1"), (b"accept", b"b")]
    assert variant(lines, ("Accept", "Accept-Language")) == b"accept:3:a,b;accept-language:-;"
    assert variant(lines, ("accept-language", "ACCEPT")) == variant(
        lines, ("Accept", "Accept-Language")
    )
    assert variant(lines, ()) == b""


def plain(values: list[bytes]) -> bytes:
    """Another way to the same: character by character, outside of quotes no whitespace beside
    commas and ends, and one space elsewhere."""
    text = b",".join(values).strip(b" \t").decode()
    out, quoted, at = "", False, 0
    while at < len(text):
        each = text[at]
        if quoted:
            if each == "\\" and at + 1 < len(text):
                out, at = out + text[at : at + 2], at + 2
                continue
            quoted = each != '"'
            out += each
        elif each in " \t":
            after = text[at:].lstrip(" \t")
            at = len(text) - len(after)
            if not after.startswith(",") and not out.endswith("\0"):
                out += " "
            continue
        elif each == ",":
            out += ",\0"
        else:
            quoted = each == '"'
            out += each
        at += 1
    return out.replace("\0", "").encode()


@settings(max_examples=examples(100), deadline=None)
@given(VALUES)
def test_whitespace_and_nothing_else(values: list[bytes]) -> None:
    found = variant([(b"a", value) for value in values], ("a",))
    text = plain(values)
    assert found == (b"a:%d:%s;" % (len(text), text) if values else b"a:-;")


@settings(max_examples=examples(100), deadline=None)
@given(VALUES, VALUES)
def test_no_value_is_another_header_s(one: list[bytes], other: list[bytes]) -> None:
    """What one header says cannot be written so that it reads as two."""
    lines = [(b"a", value) for value in one] + [(b"b", value) for value in other]
    text = variant(lines, ("a", "b"))
    assert text == variant(lines, ("a",)) + variant(lines, ("b",))
    swapped = [(b"b", value) for value in one] + [(b"a", value) for value in other]
    same = variant([(b"a", v) for v in one], ("a",)) == variant([(b"a", v) for v in other], ("a",))
    assert (text == variant(swapped, ("a", "b"))) == same


def test_a_long_value_is_walked_once() -> None:
    for text in (b'"' * 200_001, b'"\\' * 100_000, b" ," * 100_000, b'a"' * 100_000):
        assert variant([(b"a", text)], ("a",)).startswith(b"a:")


@pytest.mark.parametrize(
    "detail, said",
    [
        ("l1", b"l1"),
        ("*a:/b", b"*a:/b"),
        ("1a", b'"1a"'),
        ("a b", b'"a b"'),
        ('a"b\\', b'"a\\"b\\\\"'),
        ("ä", b'"%C3%A4"'),
        ("a\r\nX: 1", b'"a%0D%0AX: 1"'),
        ("\x7f\x00", b'"%7F%00"'),
        ("a,b;c", b'"a,b;c"'),
        ("\ud800", b'"\\\\ud800"'),
    ],
)
def test_structured_text(detail: str, said: bytes) -> None:
    assert member(CacheHit(detail=detail)) == b"repocache; hit; detail=" + said


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=20))
def test_a_text_of_any_kind_stays_one_parameter(detail: str) -> None:
    said = member(CacheHit(detail=detail or "x"))
    string = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
    assert re.fullmatch(rb"repocache; hit; detail=(?:[A-Za-z*][^\x00-\x20,;]*|%s)" % string, said)


def test_integers_have_fifteen_digits() -> None:
    assert member(CacheHit(ttl=10**20)) == b"repocache; hit; ttl=999999999999999"
    assert member(CacheHit(ttl=-(10**20))) == b"repocache; hit; ttl=-999999999999999"


def test_all_that_a_request_did() -> None:
    told = WentOn(
        why=Why.VARY_MISS, status=200, stored=True, collapsed=True, ttl=60, detail="database"
    )
    assert member(told) == (
        b"repocache; fwd=vary-miss; fwd-status=200; stored; collapsed; ttl=60; detail=database"
    )


def test_the_nearest_to_the_origin_comes_first() -> None:
    lines = [(b"cache-status", b"inner; hit"), (b"x", b"1")]
    assert with_status(lines, WentOn(why=Why.MISS)) == [
        *lines,
        (b"cache-status", b"repocache; fwd=miss"),
    ]


@pytest.mark.parametrize(
    "name",
    [b"CDN-Cache-Control", b"cloudflare-cdn-cache-control", b"Surrogate-Control"],
)
def test_a_bookmark_is_not_a_cdn_s_to_keep(name: bytes) -> None:
    """It heeds these lines, and would not look at `private`."""
    made = with_lines([(name, b"max-age=60"), (b"x", b"1")], [(b"bookmark", b"b")])
    assert made == [(b"x", b"1"), (b"cache-control", b"private"), (b"bookmark", b"b")]
