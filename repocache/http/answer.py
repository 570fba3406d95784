"""What becomes of a response's header when a bookmark goes with it. Pure: lines to lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repocache.http.asgi import HeaderLine
from repocache.http.lines import members, varied, with_members

_SHARED = (b"public", b"s-maxage")
"""Directives by which a shared cache would keep one client's bookmark for others."""


def with_lines(own: Iterable[HeaderLine], more: Sequence[HeaderLine]) -> list[HeaderLine]:
    """The response's own lines and those that carry a bookmark, which is nobody else's: so the
    whole is private to a cache.

    A line of one of their names gives way, but for those that may stand beside others
    (`Set-Cookie`) or are merged (`Vary`). So does what CDNs heed instead of `Cache-Control`.
    """
    lines = [(bytes(name), bytes(value)) for name, value in own]
    vary = [value for name, value in more if name == b"vary"]
    added = [line for line in more if line[0] != b"vary"]
    replaced = {name for name, _ in added} - {b"set-cookie"}
    kept = [
        line
        for line in lines
        if line[0].lower() not in replaced and not is_targeted(line[0].lower())
    ]
    kept = with_members(kept, b"cache-control", private(members(kept, b"cache-control")))
    if vary:
        kept = with_members(kept, b"vary", varied(members(kept, b"vary"), vary))
    return [*kept, *added]


def is_targeted(name: bytes) -> bool:
    """Whether a CDN heeds this header instead of `Cache-Control` (RFC 9213, and its forerunner).
    `name`: in lower case."""
    return name.endswith(b"-cache-control") or name == b"surrogate-control"


def private(directives: Sequence[bytes]) -> Sequence[bytes]:
    """Of a `Cache-Control`: without what lets shared caches keep it. A `no-store` says it all."""
    left = [each for each in directives if _name(each) not in (*_SHARED, b"private")]
    return left if b"no-store" in map(_name, left) else [b"private", *left]


def _name(directive: bytes) -> bytes:
    return directive.partition(b"=")[0].strip().lower()
