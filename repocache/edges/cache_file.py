"""A file of nginx's `proxy_cache_path`: whose page it is. Pure.

nginx writes a binary head, a line `KEY: ...`, the header lines as the service sent them, an empty
line, and the body (`ngx_http_file_cache_header_t`, ngx_http_file_cache.c).
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

from repocache.edges.header import TagHeader

FIRST = 32_768
"""Bytes in which the header lines have to end."""
NAME = re.compile(r"[0-9a-f]{32}")
"""Of a page's file, the MD5 of its key. Others in the folder are being written."""
_BEFORE_LINES = b"\nKEY: "
_END = b"\r\n\r\n"


def may_have(first: bytes, header: TagHeader, names: AbstractSet[str]) -> bool:
    """Whether the page has one of these names. `first`: of its file, up to `FIRST` bytes.

    A page whose header lines do not end there may have any; a file without a head of nginx's, or
    without such a header, has none.
    """
    _, found, rest = first.partition(_BEFORE_LINES)
    if not found:
        return False
    lines, ended, _ = rest.partition(_END)
    if not ended and len(first) >= FIRST:
        return True
    wanted = f"{header.name}:".encode("ascii")
    # The line with the key ends with a line feed, those of the response with CR LF.
    for line in lines.replace(b"\r\n", b"\n").split(b"\n")[1:]:
        if line[: len(wanted)].lower() == wanted:
            value = line[len(wanted) :].decode("latin-1")
            if not names.isdisjoint(re.split(r'[\s,"]+', value)):
                return True
    return False
