"""Which paths every cache, proxy and router reads alike. Pure.

Web cache deception and cache poisoning live on paths that two of them read otherwise: one sees
`/account`, the other a picture (RFC 9111, 7). Such a path is nobody's but the asker's.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from repocache.http.asgi import Scope

LONGEST = 4_096
"""Characters; a longer path is not looked at."""
_TAKEN = frozenset(";\\%?#\ufffd")
"""Parameters of segments for some, separators for Windows, twice encoded, or not decoded."""
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})?")
_NEVER_ENCODED = re.compile(rb"[0-9A-Za-z._~/\\;%?#\x00-\x1f\x7f-]")
"""Decoded by some and by others not: what needs no encoding (RFC 3986, 6.2.2.2), and what changes
the path if it is decoded."""


def is_plain(scope: Scope) -> bool:
    """Whether the path of this request is read alike by all. `raw_path`, where the server gives
    it, is looked at as well: `path` is decoded, and does not tell what it was."""
    path = scope.get("path")
    if not isinstance(path, str) or not is_plain_text(path):
        return False
    raw = scope.get("raw_path")
    return raw is None or _is_plain_raw(bytes(raw), path)


def is_plain_text(path: str) -> bool:
    """Of a decoded path."""
    if not path.startswith("/") or "//" in path or len(path) > LONGEST:
        return False
    if not path.isprintable() or not _TAKEN.isdisjoint(path):
        return False
    if {".", ".."} & set(path.split("/")):
        return False
    # Wide slashes and dots among them, which some turn into the narrow ones.
    return path.isascii() or unicodedata.is_normalized("NFKC", path)


def _is_plain_raw(raw: bytes, path: str) -> bool:
    if not raw.isascii():
        return False
    for found in _ENCODED.finditer(raw):
        if found[1] is None or _NEVER_ENCODED.fullmatch(bytes.fromhex(found[1].decode())):
            return False
    try:
        return unquote_to_bytes(raw).decode() == path
    except UnicodeDecodeError:
        return False
