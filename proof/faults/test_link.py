"""The weather of a link does what it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from proof.faults.link import FAIR, Link, Weather

SOON = 5.0


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """To somebody who says everything again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(1000):
                writer.write(block)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Link(f"tcp://127.0.0.1:{port}") as link:
            yield link


@contextlib.asynccontextmanager
async def connected(link: Link) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def heard(reader: asyncio.StreamReader, seconds: float = SOON) -> bytes:
    """What comes in that time; nothing after a reset."""
    try:
        async with asyncio.timeout(seconds):
            return await reader.read(1000)
    except (TimeoutError, ConnectionError):
        return b""


@pytest.mark.parametrize("weather", [FAIR, Weather(latency=0.02), Weather(rate=1000.0)])
async def test_all_arrives_in_order(link: Link, weather: Weather) -> None:
    link.weather = weather
    async with connected(link) as (reader, writer):
        for number in range(10):
            writer.write(b"%d," % number)
        async with asyncio.timeout(SOON):
            assert await reader.readexactly(20) == b"0,1,2,3,4,5,6,7,8,9,"


@pytest.mark.parametrize("weather", [Weather(to_client=False), Weather(to_server=False)])
async def test_what_a_silent_link_swallows_comes_later(link: Link, weather: Weather) -> None:
    async with connected(link) as (reader, writer):
        link.weather = weather
        writer.write(b"hello")
        assert await heard(reader, 0.2) == b""
        link.weather = FAIR
        assert await heard(reader) == b"hello"


async def test_a_reset_ends_what_there_is_and_a_cut_what_comes(link: Link) -> None:
    async with connected(link) as (reader, writer):
        writer.write(b"hello")
        assert await heard(reader) == b"hello"
        await link.reset()
        assert await heard(reader) == b""
        assert reader.at_eof() or reader.exception()
    link.weather = Weather(open=False)
    async with connected(link) as (reader, _):
        assert await heard(reader) == b""
        assert reader.at_eof() or reader.exception()
    link.weather = FAIR
    async with connected(link) as (reader, writer):
        writer.write(b"again")
        assert await heard(reader) == b"again"
