"""What becomes of a response's header when a bookmark goes with it. Pure: lines to lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from repocache.http.asgi import HeaderLine

_DIRECTIVE = re.compile(rb'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')
_SHARED = (b"public", b"s-maxage")
"""Directives by which a shared cache would keep one client's bookmark for others."""


def with_lines(own: Iterable[HeaderLine], more: Sequence[HeaderLine]) -> list[HeaderLine]:
    """The response's own lines and those that carry a bookmark, which is nobody else's: so the
    whole is private to a cache.

    A line of one of their names gives way, but for those that may stand beside others
    (`Set-Cookie`) or are merged (`Vary`).
    """
    lines = [(bytes(name), bytes(value)) for name, value in own]
    vary = [value for name, value in more if name == b"vary"]
    added = [line for line in more if line[0] != b"vary"]
    replaced = {name for name, _ in added} - {b"set-cookie"}
    kept = [line for line in lines if line[0].lower() not in replaced]
    kept = _merged(kept, b"cache-control", private(_directives(kept, b"cache-control")))
    if vary:
        kept = _merged(kept, b"vary", varied(_directives(kept, b"vary"), vary))
    return [*kept, *added]


def private(directives: Sequence[bytes]) -> Sequence[bytes]:
    """Of a `Cache-Control`: without what lets shared caches keep it. A `no-store` says it all."""
    left = [each for each in directives if _name(each) not in (*_SHARED, b"private")]
    return left if b"no-store" in map(_name, left) else [b"private", *left]


def varied(names: Sequence[bytes], more: Sequence[bytes]) -> Sequence[bytes]:
    """Of a `Vary`: with these names too."""
    had = {each.lower() for each in names}
    return names if b"*" in had else [*names, *(each for each in more if each.lower() not in had)]


def _merged(
    lines: Sequence[HeaderLine], name: bytes, directives: Sequence[bytes]
) -> list[HeaderLine]:
    return [line for line in lines if line[0].lower() != name] + [(name, b", ".join(directives))]


def _directives(lines: Sequence[HeaderLine], name: bytes) -> list[bytes]:
    """Of all lines of that name; a comma in quotes parts nothing."""
    return [
        directive
        for each, value in lines
        if each.lower() == name
        for found in _DIRECTIVE.findall(value)
        if (directive := found.strip())
    ]


def _name(directive: bytes) -> bytes:
    return directive.partition(b"=")[0].strip().lower()
