"""What our tiers did for an answer, in the words of RFC 9211. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from repocache.http.asgi import HeaderLine

NAME = b"repocache"
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_UNSAFE = re.compile(rb"[^\x20-\x7e]")
_LARGEST = 999_999_999_999_999
"""A structured integer has fifteen digits at the most (RFC 8941, 3.3.1)."""


class Why(Enum):
    """Why a request went on to the application (RFC 9211, 2.2)."""

    BYPASS = "bypass"
    METHOD = "method"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    MISS = "miss"
    REQUEST = "request"
    STALE = "stale"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit:
    """The answer was there. `ttl`: seconds that it is fresh for, below 0: that it has been stale.
    `detail`: which tier, as `l1`."""

    ttl: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WentOn:
    """The application was asked. `status`: what it answered, if another status was sent. `stored`:
    its answer is kept now. `collapsed`: the request shared another one's answer."""

    why: Why
    status: int | None = None
    stored: bool = False
    collapsed: bool = False
    ttl: int | None = None
    detail: str = ""


def member(told: CacheHit | WentOn) -> bytes:
    """One member of the list: `repocache; fwd=uri-miss; stored`."""
    said = [NAME]
    if isinstance(told, CacheHit):
        said.append(b"hit")
    else:
        said.append(b"fwd=" + told.why.value.encode())
        if told.status is not None:
            said.append(b"fwd-status=" + _whole(told.status))
        said += [b"stored"] * told.stored + [b"collapsed"] * told.collapsed
    if told.ttl is not None:
        said.append(b"ttl=" + _whole(told.ttl))
    if told.detail:
        said.append(b"detail=" + _text(told.detail))
    return b"; ".join(said)


def with_status(lines: Iterable[HeaderLine], told: CacheHit | WentOn) -> list[HeaderLine]:
    """Behind what the answer has: the caches nearest to the origin come first (RFC 9211, 2)."""
    return [*lines, (b"cache-status", member(told))]


def _whole(number: int) -> bytes:
    return b"%d" % max(-_LARGEST, min(number, _LARGEST))


def _text(text: str) -> bytes:
    """A token, or a string in quotes (RFC 8941, 3.3.3): ASCII alone, so all else is
    percent-encoded."""
    if _TOKEN.fullmatch(text):
        return text.encode()
    encoded = text.encode(errors="backslashreplace")
    visible = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], encoded)
    return b'"%s"' % visible.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
