"""RESP3 headers, looked at before the parser sees them: it reserves memory for whatever they announce. Pure."""

from __future__ import annotations

MAX_ELEMENTS = 1 << 16
"""Of all lists, maps and pushes of one reply together."""
MAX_LINE = 8 * 1024
"""Bytes of a line: a header, a number, a status or an error."""

_BULK = ord("$")
_BULKS = frozenset(b"$=")
_LINES = frozenset(b"+-:,#_")
_FRAMES_EACH = {ord("*"): 1, ord(">"): 1, ord("~"): 1, ord("%"): 2}


class BadFrame(ValueError):
    """A reply is announced that is larger than any of ours, or of a kind that no command of ours has."""


class Frames:
    """Follows the frames of a stream that comes in pieces of any size.

    What has passed `admit` keeps the bounds: bytes of a reply, `MAX_ELEMENTS` and `MAX_LINE`. The work for a frame is
    the same however long it is; nothing is kept but the beginning of a line.

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

    def admit(self, data: bytes) -> None:
        """Nothing of this may be parsed if it raises: BadFrame, or ValueError for a length that is none."""
        if self._line:
            data = self._line + data
            self._line = b""
        at, size = self._ahead, len(data)
        while at < size:
            end = data.find(b"\r\n", at, at + MAX_LINE)
            if end < 0:
                if size - at >= MAX_LINE:
                    raise BadFrame(f"a line exceeds {MAX_LINE} bytes")
                self._line = data[at:]
                at = size
            elif data[at] == _BULK and not self._left:  # nearly every reply
                length = int(data[at + 1 : end])
                if length > self._max_reply:
                    raise self._exceeds()
                at = end + 4 + length if length >= 0 else end + 2
            else:
                at = self._follow(data, at, end)
        self._ahead = at - size

    def _follow(self, data: bytes, at: int, end: int) -> int:
        """Where the next frame begins."""
        if not self._left:
            self._left, self._size, self._elements = 1, 0, 0
        mark, after = data[at], end + 2
        self._left -= 1
        if mark in _BULKS:
            length = int(data[at + 1 : end])
            after += length + 2 if length >= 0 else 0
        elif mark in _FRAMES_EACH:
            elements = max(0, int(data[at + 1 : end])) * _FRAMES_EACH[mark]
            self._left += elements
            self._elements += elements
            if self._elements > MAX_ELEMENTS:
                raise BadFrame(f"a reply exceeds {MAX_ELEMENTS} elements")
        elif mark not in _LINES:
            raise BadFrame(f"Protocol error: no reply begins with {data[at : at + 1]!r}")
        self._size += after - at
        if self._size > self._max_reply:
            raise self._exceeds()
        return after

    def _exceeds(self) -> BadFrame:
        return BadFrame(f"a reply exceeds max_reply, {self._max_reply} bytes")
