"""A server that says anything: right replies or a lost connection with a reason, in bounded
memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from repocache.errors import CacheUnavailable
from repocache.redis_link import Limits, Link, LinkSettings, ReplyError, Script
from repocache.redis_link.connection import Connection
from repocache.redis_link.frames import MAX_ELEMENTS
from tests.fuzzing import examples
from tests.redis_link.heard import QUICK, Heard, until
from tests.redis_link.resp import cut, lies, reply
from tests.redis_link.serving import serving
from tests.redis_link.test_loss import CONFIRMED, GREETING

STREAMS = examples(1000)
LIMITS = Limits(reply_timeout=5, pulse=5, max_reply=100_000)
MEMORY = 1 << 20
"""Bytes beside the elements of one reply, which are of 8 bytes each, and what was said."""
ECHO = Script("return ARGV[1]")


class Sink(asyncio.Transport):
    """Where commands go."""

    def write(self, data: Any) -> None: ...

    def abort(self) -> None: ...


async def hear(pieces: list[bytes]) -> tuple[str, list[Any]]:
    """Why the connection was lost, empty if it is there; what its callers got."""
    connection = Connection(LIMITS, Heard().push, lambda _: None)
    connection.connection_made(Sink())
    waiting = [connection.send(("GET", "k")) for _ in range(4)] + [
        connection.run(ECHO, (0, "x")) for _ in range(4)
    ]
    for piece in pieces:
        connection.data_received(piece)
    reason = connection.reason
    connection.drop("the test ends")
    return reason, await asyncio.gather(*waiting, return_exceptions=True)


@settings(max_examples=STREAMS)
@given(lies(), st.integers(1, 64))
def test_any_bytes_are_replies_or_a_loss_with_a_reason(stream: bytes, size: int) -> None:
    tracemalloc.start()
    try:
        reason, got = asyncio.run(hear(cut(stream, size)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY + 8 * MAX_ELEMENTS + 200 * len(stream)
    lost = [each for each in got if isinstance(each, CacheUnavailable)]
    assert {str(each) for each in lost} <= {f"Redis: {reason or 'the test ends'}"}
    assert not [
        each
        for each in got
        if isinstance(each, Exception) and each not in lost and type(each) is not ReplyError
    ]


@settings(max_examples=STREAMS // 4)
@given(st.lists(reply(), min_size=8, max_size=8), st.integers(1, 64))
def test_right_replies_come_whole_whatever_pieces_they_come_in(
    replies: list[bytes], size: int
) -> None:
    stream = b"".join(replies)
    reason, got = asyncio.run(hear(cut(stream, size)))
    assert reason == ""
    assert repr(got) == repr(asyncio.run(hear([stream]))[1])
    assert not [each for each in got if isinstance(each, Exception)]


@settings(max_examples=STREAMS // 20)
@given(st.data())
def test_a_lying_server_is_left_and_tried_again(data: st.DataObject) -> None:
    """Real sockets; after each lie the link is up again, by itself."""
    stream = data.draw(lies())
    with asyncio.Runner() as runner:
        runner.run(converse(stream))


async def converse(stream: bytes) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    lied = False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal lied
        for right in (GREETING, CONFIRMED):
            await reader.read(65536)
            writer.write(right)
        while await reader.read(65536):
            if not lied:
                lied = True
                writer.write(stream + b"?\r\n")

    heard = Heard()
    limits = Limits(reply_timeout=5, pulse=5, max_reply=100_000)
    quick = LinkSettings(connect_timeout=5, limits=limits, breaker=QUICK.breaker)
    async with (
        serving(answer) as address,
        Link(address, heard, channels=["news"], settings=quick) as link,
    ):
        got = await asyncio.gather(
            *(link.call("GET", "k") for _ in range(4)), return_exceptions=True
        )
        await until(lambda: heard.events[:1] + heard.events[2:3] == ["up", "up"])
        assert heard.events[1].removeprefix("down: ")
    assert not [
        each
        for each in got
        if isinstance(each, Exception) and not isinstance(each, CacheUnavailable | ReplyError)
    ]
    assert complaints == []
