"""Header lines whose values are lists: taken apart and put together. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from repocache.http.asgi import HeaderLine

_MEMBER = re.compile(rb'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')


def members(lines: Iterable[HeaderLine], name: bytes) -> list[bytes]:
    """Of all lines of that name, in their order; a comma in quotes parts nothing (RFC 9110, 5.6.1).
    `name`: in lower case."""
    return [
        member
        for each, value in lines
        if each.lower() == name
        for found in _MEMBER.findall(value)
        if (member := found.strip())
    ]


def with_members(
    lines: Iterable[HeaderLine], name: bytes, parts: Sequence[bytes]
) -> list[HeaderLine]:
    """With one line of that name, which has these parts."""
    return [line for line in lines if line[0].lower() != name] + [(name, b", ".join(parts))]


def varied(names: Sequence[bytes], more: Sequence[bytes]) -> Sequence[bytes]:
    """Of a `Vary`: with these names too."""
    had = {each.lower() for each in names}
    return names if b"*" in had else [*names, *(each for each in more if each.lower() not in had)]
