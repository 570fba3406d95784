"""What an edge is told: its address, and what proves who asks. Pure."""

from __future__ import annotations

import re
from pathlib import PurePath
from urllib.parse import urlsplit

from repocache.errors import ConfigurationError

_TOKEN = re.compile(r"[\x21-\x7e]+")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def checked_url(argument: str, given: object) -> str:
    """Without a slash at its end. Raises ConfigurationError for what is no address of a server, or
    has a login, which would be shown."""
    example = "give a text like 'http://varnish:6081'"
    if not isinstance(given, str) or not _TOKEN.fullmatch(given):
        raise ConfigurationError(f"{argument}: {example}")
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{argument}: its port is none: {example}") from error
    if "@" in parts.netloc:
        raise ConfigurationError(f"{argument}: without user and password: {example}")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigurationError(f"{argument}: {example}")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{argument}: without ? and #: {example}")
    return given.rstrip("/")


def place(url: str) -> str:
    """Host and port, to tell edges apart."""
    return urlsplit(url).netloc


def checked_token(argument: str, given: object, *, shortest: int = 1) -> None:
    """Raises ConfigurationError for what no header line can hold, without showing it. `shortest`:
    characters."""
    if not isinstance(given, str) or not _TOKEN.fullmatch(given) or len(given) < shortest:
        raise ConfigurationError(
            f"{argument}: give at least {shortest} visible ASCII characters, without spaces and "
            "line ends"
        )


def checked_id(argument: str, given: object) -> None:
    """Raises ConfigurationError for what is no part of a path."""
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise ConfigurationError(f"{argument}={given!r}: give 1 to 64 ASCII letters and digits")


def is_absolute(given: object) -> bool:
    """Whether it is the path of a folder from the root on."""
    return isinstance(given, str) and PurePath(given).is_absolute()
