"""ASGI as far as it is needed: its types, and the header lines of a request."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from itertools import islice
from typing import Any, TypeAlias

from repocache.errors import ConfigurationError

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
App: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"
HeaderLine: TypeAlias = "tuple[bytes, bytes]"
"""Name, in lower case, and value."""

MOST = 4
"""Lines of one name that are looked at, however many come."""
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a header, or what a browser keeps, may be called (RFC 9110, token)."""


def checked_name(argument: str, name: object) -> str:
    """Raises ConfigurationError for what no header may be called."""
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise ConfigurationError(
            f"{argument}={name!r}: give a name of ASCII letters, digits and hyphens"
        )
    return name


def values_of(scope: Scope, name: str) -> Iterator[bytes]:
    """Of the request's lines of that name, `MOST` at the most, in their order."""
    wanted = name.lower().encode()
    lines = scope.get("headers") or ()
    found = (_bytes(value) for each, value in lines if _bytes(each).lower() == wanted)
    return islice(found, MOST)


def _bytes(part: bytes | str) -> bytes:
    """Servers give bytes; who calls an application by hand may give texts."""
    return part if isinstance(part, bytes) else str(part).encode("latin-1", errors="replace")
