"""RESP3 headers, looked at before the parser sees them: it reserves memory for whatever they
announce. Pure."""

from __future__ import annotations

from repocache.errors import RepocacheError

MAX_ELEMENTS = 1 << 16
"""Of all lists, maps and pushes of one reply together."""
MAX_LINE = 8 * 1024
"""Bytes of a line: a header, a number, a status or an error."""

_BULKS = frozenset(b"$=")
_LINES = frozenset(b"+-:,#_")
_FRAMES_EACH = {ord("*"): 1, ord(">"): 1, ord("~"): 1, ord("%"): 2}


class BadFrame(RepocacheError, ValueError):
    """A reply is announced that is larger than any of ours, or of a kind that no command of ours
    has."""


class Frames:
    """Follows the frames of a stream that comes in pieces of any size.

    What has passed `admit` keeps the bounds: bytes of a reply, `MAX_ELEMENTS` and `MAX_LINE`. The
    work for a frame is the same however long it is; nothing is kept but the beginning of a line.

    Big numbers are none of ours, and those of equal hashes make a map's time quadratic.
    """

    __slots__ = ("_ahead", "_elements", "_left", "_line", "_max_reply", "_size")

    def __init__(self, max_reply: int) -> None:
        self._max_reply = max_reply
        self._line = b""  # whose end has not come
        self._ahead = 0  # bytes of a bulk that have not come
        self._left = 0  # frames that the reply lacks
        self._size = 0  # its bytes
        self._elements = 0

    def admit(self, data: bytes) -> None:  # noqa: C901  # a call for each frame costs as much again
        """Nothing of this may be parsed if it raises: BadFrame, or ValueError for a length that is
        none."""
        if self._line:
            data = self._line + data
            self._line = b""
        at, have = self._ahead, len(data)
        left, size, elements = self._left, self._size, self._elements
        while at < have:
            end = data.find(b"\r\n", at, at + MAX_LINE)
            if end < 0:
                if have - at >= MAX_LINE:
                    raise BadFrame(f"a line exceeds {MAX_LINE} bytes")
                self._line = data[at:]
                at = have
                break
            if left:
                left -= 1
            else:
                size = elements = 0  # another reply
            mark, after = data[at], end + 2
            if mark in _BULKS:
                length = int(data[at + 1 : end])
                if length >= 0:
                    after += length + 2
            elif mark in _FRAMES_EACH:
                more = max(0, int(data[at + 1 : end])) * _FRAMES_EACH[mark]
                left += more
                elements += more
                if elements > MAX_ELEMENTS:
                    raise BadFrame(f"a reply exceeds {MAX_ELEMENTS} elements")
            elif mark not in _LINES:
                raise BadFrame(f"Protocol error: no reply begins with {data[at : at + 1]!r}")
            size += after - at
            if size > self._max_reply:
                raise BadFrame(f"a reply exceeds max_reply, {self._max_reply} bytes")
            at = after
        self._ahead = at - have
        self._left, self._size, self._elements = left, size, elements
