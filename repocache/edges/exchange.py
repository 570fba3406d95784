"""One request to an edge, and what its answer means. Owns what is asked of httpx.

httpx is an extra. Whatever needs it takes it from here, so that its absence is told in one place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.util import find_spec

from repocache.errors import EdgeRefused, EdgeUnavailable
from repocache.redaction.foreign import in_brief

if find_spec("httpx") is None:
    raise ImportError("edges need httpx: pip install 'sqlalchemy-repocache[edges]'")

import httpx  # after the word of what is missing
from httpx import AsyncClient

__all__ = ["AsyncClient", "EdgeAnswer", "ask", "new_client", "retry_after", "verdict"]

MOST = 65_536
"""Bytes of an answer that are read."""
CONNECTIONS = 8
IDLE = 2.0
"""Seconds for which a connection is kept: Varnish and others close theirs after five."""
BUSY = frozenset({408, 423, 425, 429})
"""Statuses below 500 after which the same request may pass (RFC 9110, 15.5; RFC 6585, 4; RFC 8470,
5.2)."""


@dataclass(frozen=True, slots=True)
class EdgeAnswer:
    """`headers`: by their names in lower case. `body`: its first 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def new_client() -> AsyncClient:
    """Follows no redirection: a token is for the address that was given. Times are the caller's
    affair."""
    return AsyncClient(
        timeout=None,  # noqa: S113  # every call has a deadline as a whole
        follow_redirects=False,
        limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=IDLE),
    )


async def ask(
    client: AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
) -> EdgeAnswer:
    """Send one request. Raises EdgeUnavailable if there is no answer, without what is in the
    request."""
    try:
        async with client.stream(method, url, headers=dict(headers), content=body) as response:
            read = b""
            async for block in response.aiter_bytes():
                read += block
                if len(read) >= MOST:
                    break
            return EdgeAnswer(response.status_code, dict(response.headers.items()), read[:MOST])
    except (httpx.HTTPError, OSError) as error:
        raise EdgeUnavailable(f"no answer: {in_brief(error)}") from error


def verdict(answer: EdgeAnswer, now: float) -> None:
    """Returns if the edge has done it. Raises EdgeUnavailable for what may pass later, EdgeRefused
    for the rest. `now`: seconds of Unix time. Pure."""
    if 200 <= answer.status < 300:
        return
    if answer.status in BUSY or answer.status >= 500:
        raise EdgeUnavailable(
            f"status {answer.status}", retry_after=retry_after(answer.headers, now)
        )
    raise EdgeRefused(f"status {answer.status}")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds for which the edge wants to be left alone: `Retry-After`, as seconds or as a date
    (RFC 9110, 10.2.3), or the Unix time of `Fastly-RateLimit-Reset`. None: it does not say. Pure.
    """
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit():
        return float(given[:9])
    moment = _moment(given) if given else _number(headers.get("fastly-ratelimit-reset", ""))
    return None if moment is None else max(0.0, moment - now)


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
