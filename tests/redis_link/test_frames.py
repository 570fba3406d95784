"""Headers are looked at before they are parsed: what passes keeps the bounds, however it is cut
into pieces."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.redis_link.frames import MAX_ELEMENTS, MAX_LINE, BadFrame, Frames
from tests.redis_link.resp import cut, replies

LIMIT = 10_000


def admit(*pieces: bytes, limit: int = LIMIT) -> None:
    frames = Frames(limit)
    for piece in pieces:
        frames.admit(piece)


@pytest.mark.parametrize(
    "announced",
    [
        b"$%d\r\n" % (LIMIT + 1),
        b"=%d\r\n" % 2**31,
        b"*1\r\n$%d\r\n" % LIMIT,
        b"*%d\r\n" % (MAX_ELEMENTS + 1),
        b"%%%d\r\n" % (MAX_ELEMENTS // 2 + 1),
        b"~%d\r\n" % 2**31,
        b">%d\r\n" % 2**62,
        b"*2\r\n" + b"*%d\r\n" % (MAX_ELEMENTS // 2) * 2,
        b"*1\r\n" * (MAX_ELEMENTS + 1),
        b"*9\r\n" + b"+%b\r\n" % (b"x" * (LIMIT // 8)) * 8,
        b"+" + b"x" * MAX_LINE,
        b"$" + b"1" * MAX_LINE,
        b"(1\r\n",
        b"|1\r\n",
        b"?\r\n",
        b"\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_more_than_a_reply_of_ours_is_refused_at_its_header(announced: bytes, size: int) -> None:
    limit = LIMIT if b"+" in announced or b"$" in announced else 1 << 30
    with pytest.raises(BadFrame):
        admit(b"+OK\r\n", *cut(announced, size), limit=limit)


@pytest.mark.parametrize("length", [b"", b"x", b"1.5", b"9" * 5_000])
def test_a_length_that_is_none_is_refused(length: bytes) -> None:
    for mark in b"$*":
        with pytest.raises(ValueError):
            admit(b"%c%b\r\n" % (mark, length))


def test_the_bounds_are_each_replys_own() -> None:
    reply = b"*2\r\n$4000\r\n%b\r\n*%d\r\n" % (b"x" * 4000, MAX_ELEMENTS - 2)
    admit((reply + b":1\r\n" * (MAX_ELEMENTS - 2)) * 3, limit=1 << 20)
    admit(b"$%d\r\n%b\r\n" % (LIMIT - 20, b"x" * (LIMIT - 20)) * 3)


@given(replies(), st.integers(1, 40))
def test_what_hiredis_reads_passes_in_any_pieces(stream: bytes, size: int) -> None:
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    reader.feed(stream)
    while reader.gets() is not Ellipsis:
        pass
    admit(*cut(stream, size))


@given(replies(), st.integers(1, 40))
def test_the_next_reply_begins_where_hiredis_says(stream: bytes, size: int) -> None:
    """A header that is none, right behind."""
    with pytest.raises(BadFrame, match="Protocol error"):
        admit(*cut(stream + b"?\r\n", size))


def lines_run(work: Callable[[], object]) -> int:
    """Lines of Python: work that does not depend on the machine."""
    count = 0

    def trace(_: FrameType, event: str, __: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def hostile() -> Iterator[bytes]:
    yield b"$9000\r\n" + b"\r\n" * 4501
    yield b":1\r\n" * 5_000
    yield b"*3000\r\n" + b"*0\r\n" * 3_000
    yield b"*1\r\n" * 5_000
    yield b"+" + b"\r" * (MAX_LINE - 3) + b"\r\n"


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_work_grows_no_faster_than_the_bytes(size: int) -> None:
    for stream in hostile():
        assert lines_run(partial(admit, *cut(stream, size), limit=1 << 20)) <= 20 * len(stream)
