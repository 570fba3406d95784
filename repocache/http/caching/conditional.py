"""What a request's preconditions decide (RFC 9110, 13). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from repocache.http.asgi import HeaderLine
from repocache.http.caching.dates import read_date
from repocache.http.caching.etags import (
    EntityTags,
    Tags,
    listed,
    parse,
    strongly_equal,
    weakly_equal,
)

_SAFE = ("GET", "HEAD")
_PARTIAL = 206
_LOOKED_AT = (
    b"if-match",
    b"if-unmodified-since",
    b"if-none-match",
    b"if-modified-since",
    b"range",
)
_OF_THE_BODY = frozenset(
    {
        b"content-digest",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"digest",
        b"repr-digest",
        b"trailer",
        b"transfer-encoding",
    }
)
"""What describes a body, which a 304 has not (RFC 9110, 15.4.5)."""


class ConditionalAnswer(Enum):
    """What becomes of a request.

    `PROCEED`: the method is done, the answer sent. `NOT_MODIFIED`: 304, and no body.
    `PRECONDITION_FAILED`: 412, and nothing is done.
    """

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    PRECONDITION_FAILED = "precondition failed"


@dataclass(frozen=True, slots=True)
class Current:
    """The representation that is there. `etag`: as it is sent; None: it has none. `last_modified`:
    seconds since 1970, None: not known."""

    etag: bytes | None = None
    last_modified: int | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no representation: whoever writes would make it."""


State: TypeAlias = Current | Absent


def answer(
    method: str, lines: Iterable[HeaderLine], state: State, status: int = 200
) -> ConditionalAnswer:
    """In the order of RFC 9110, 13.2.2. `lines`: the request's. `status`: that of the answer
    without preconditions; they count for 2xx alone (13.2.1).

    A GET with a `Range`, and a 206, are left to the application, `If-Range` with them. Malformed
    dates are ignored (13.1.3, 13.1.4). A malformed list of entity tags matches nothing, so that a
    GET is answered in full; for a method that writes, it fails: what the client wanted to guard
    against is not known.
    """
    asked: dict[bytes, list[bytes]] = {name: [] for name in _LOOKED_AT}
    for name, value in lines:
        if name.lower() in asked:
            asked[name.lower()].append(value)
    if not 200 <= status < 300 or status == _PARTIAL or (method == "GET" and asked[b"range"]):
        return ConditionalAnswer.PROCEED
    return _evaluated(method in _SAFE, asked, state)


def _evaluated(is_safe: bool, asked: dict[bytes, list[bytes]], state: State) -> ConditionalAnswer:
    last_modified = state.last_modified if isinstance(state, Current) else None
    if asked[b"if-match"]:
        if not _matches(listed(asked[b"if-match"]), state):
            return ConditionalAnswer.PRECONDITION_FAILED
    elif last_modified is not None:
        since = _date(asked[b"if-unmodified-since"])
        if since is not None and last_modified > since:
            return ConditionalAnswer.PRECONDITION_FAILED
    if asked[b"if-none-match"]:
        if not _differs(listed(asked[b"if-none-match"]), state, is_safe):
            return (
                ConditionalAnswer.NOT_MODIFIED if is_safe else ConditionalAnswer.PRECONDITION_FAILED
            )
    elif is_safe and last_modified is not None:
        since = _date(asked[b"if-modified-since"])
        if since is not None and last_modified <= since:
            return ConditionalAnswer.NOT_MODIFIED
    return ConditionalAnswer.PROCEED


def not_modified_lines(lines: Iterable[HeaderLine]) -> list[HeaderLine]:
    """The header of a 304, of that of the 200: without what describes its body, and with
    `Last-Modified` only where no ETag says more (RFC 9110, 15.4.5)."""
    kept = [line for line in lines if line[0].lower() not in _OF_THE_BODY]
    if any(name.lower() == b"etag" for name, _ in kept):
        return [line for line in kept if line[0].lower() != b"last-modified"]
    return kept


def _matches(named: EntityTags, state: State) -> bool:
    """`If-Match`: by strong comparison (13.1.1)."""
    if isinstance(state, Absent):
        return False
    if isinstance(named, Tags):
        return named is Tags.ANY
    own = None if state.etag is None else parse(state.etag)
    return own is not None and any(strongly_equal(own, each) for each in named)


def _differs(named: EntityTags, state: State, is_safe: bool) -> bool:
    """`If-None-Match`: by weak comparison (13.1.2)."""
    if named is Tags.MALFORMED:
        return is_safe
    if isinstance(state, Absent):
        return True
    if isinstance(named, Tags):
        return False
    own = None if state.etag is None else parse(state.etag)
    return own is None or not any(weakly_equal(own, each) for each in named)


def _date(values: Sequence[bytes]) -> int | None:
    """Of the one line: several are no date."""
    return read_date(values[0]) if len(values) == 1 else None
