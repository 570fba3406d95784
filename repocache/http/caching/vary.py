"""Which headers an answer depends on, and what a request says in them (RFC 9110, 12.5.5; RFC 9111,
4.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from repocache.http.asgi import HeaderLine
from repocache.http.lines import members, varied, with_members

_PIECE = re.compile(rb'"(?:[^"\\]|\\.)*"|"[\x00-\xff]*|[ \t]*,[ \t]*|[ \t]+|[^ \t,"]+', re.DOTALL)


def with_vary(lines: Iterable[HeaderLine], names: Sequence[str]) -> list[HeaderLine]:
    """The answer's lines, with one `Vary` that has these names, too. `*` says it all."""
    kept = list(lines)
    wanted = [name.encode() for name in names]
    had = members(kept, b"vary")
    return with_members(kept, b"vary", varied(had, wanted)) if had or wanted else kept


def vary_names(lines: Iterable[HeaderLine]) -> frozenset[str]:
    """What the answer's own `Vary` names, in lower case."""
    return frozenset(name.decode("latin-1").lower() for name in members(lines, b"vary"))


def variant(lines: Iterable[HeaderLine], names: Sequence[str]) -> bytes:
    """What a request says in these headers, as one text for keys: the same for whatever a cache has
    to hold for the same (RFC 9111, 4.1), and for nothing else.

    Several lines of one name are one, and whitespace around commas and at the ends is nothing,
    other whitespace one space; what stands in quotes stays as it is, and so does letter case and
    order. A header that is absent is not one that is empty. In the order of the names.
    """
    asked = [(name.lower(), value) for name, value in lines]
    said = []
    for name in sorted({name.lower().encode() for name in names}):
        values = [value for each, value in asked if each == name]
        text = _canonical(b",".join(values))
        said.append(b"%s:%d:%s;" % (name, len(text), text) if values else b"%s:-;" % name)
    return b"".join(said)


def _canonical(text: bytes) -> bytes:
    """What is in quotes has no whitespace at its ends, and an unclosed quote ends with the text."""
    pieces = _PIECE.findall(text.strip(b" \t"))
    return b"".join(piece.strip(b" \t") or b" " for piece in pieces)
