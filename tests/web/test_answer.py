"""What becomes of a response's own header lines."""

from __future__ import annotations

import pytest

from repocache.http.answer import with_lines


@pytest.mark.parametrize(
    "own, merged",
    [
        ([], b"private"),
        ([b"public"], b"private"),
        ([b"max-age=60"], b"private, max-age=60"),
        ([b"Public, Max-Age=60, S-MaxAge=7"], b"private, Max-Age=60"),
        ([b"no-store"], b"no-store"),
        ([b"No-Store, public"], b"No-Store"),
        ([b"private"], b"private"),
        ([b'private="set-cookie, x", max-age=1'], b"private, max-age=1"),
        ([b"no-cache", b"public"], b"private, no-cache"),
        ([b'x="a, public"'], b'private, x="a, public"'),
        ([b'x="unclosed, public'], b'private, x="unclosed, public'),
        ([b"", b" , ,"], b"private"),
        ([b"s-maxage"], b"private"),
    ],
)
def test_cache_control(own: list[bytes], merged: bytes) -> None:
    lines = [(b"Cache-Control", value) for value in own]
    made = with_lines([(b"x", b"1"), *lines], [(b"bookmark", b"b")])
    assert [value for name, value in made if name.lower() == b"cache-control"] == [merged]
    assert made[0] == (b"x", b"1")
    assert made[-1] == (b"bookmark", b"b")


@pytest.mark.parametrize(
    "own, merged",
    [
        ([], b"Bookmark"),
        ([b"Accept"], b"Accept, Bookmark"),
        ([b"accept, BOOKMARK"], b"accept, BOOKMARK"),
        ([b"*"], b"*"),
        ([b"Accept", b"Origin"], b"Accept, Origin, Bookmark"),
    ],
)
def test_vary(own: list[bytes], merged: bytes) -> None:
    made = with_lines([(b"Vary", value) for value in own], [(b"vary", b"Bookmark")])
    assert [value for name, value in made if name == b"vary"] == [merged]


def test_a_cookie_varies_nothing() -> None:
    made = with_lines([(b"vary", b"Accept")], [(b"set-cookie", b"bookmark=b")])
    assert (b"vary", b"Accept") in made
