"""Pushes and replies in Redis's own order: what every copy in a process's memory rests on
(protocol, The channel)."""

from __future__ import annotations

import asyncio

import pytest

from repocache.redis_link import Address, Link, Script
from repocache.testing import RedisServer
from tests.redis_link.conftest import StartRedis
from tests.redis_link.heard import PATIENT, Heard, until

pytestmark = pytest.mark.usefixtures("clean_loop")

WRITE = Script("local n = redis.call('INCR', KEYS[1]) redis.call('PUBLISH', 'news', n) return n")
READERS = 256
READS = 60
WRITERS = 8


class Latest(Heard):
    """Knows only the last number it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.holes = 0

    def push(self, channel: bytes, payload: bytes) -> None:
        number = int(payload)
        self.holes += number != self.number + 1
        self.number = number


async def test_no_reader_resumes_before_the_pushes_that_came_before_its_reply(
    start_redis: StartRedis,
) -> None:
    redis = await asyncio.to_thread(start_redis, "threads", "io-threads 4")
    latest = Latest()
    late = 0
    reading = True

    async def read(link: Link) -> None:
        nonlocal late
        for _ in range(READS):
            seen = int(await link.call("GET", "n") or 0)
            late += latest.number < seen

    async def write(link: Link) -> None:
        while reading:
            await link.run(WRITE, ["n"])

    address = Address.parse(redis.url)
    async with (
        Link(address, latest, channels=["news"], settings=PATIENT) as link,
        Link(address, Heard(), scripts=[WRITE], settings=PATIENT) as other,
    ):
        writers = [asyncio.create_task(write(other)) for _ in range(WRITERS)]
        await asyncio.gather(*(read(link) for _ in range(READERS)))
        reading = False
        await asyncio.gather(*writers)
        await until(lambda: latest.number == int(redis.command("GET", "n") or 0))  # type: ignore[arg-type]
    assert latest.number > 100
    assert (late, latest.holes) == (0, 0)


async def test_own_write_is_pushed_before_its_reply(redis: RedisServer) -> None:
    heard = Heard()
    async with Link(
        Address.parse(redis.url), heard, scripts=[WRITE], channels=["news"], settings=PATIENT
    ) as link:
        for n in range(1, 50):
            assert await link.run(WRITE, ["n"]) == n
            assert heard.pushes[-1] == (b"news", b"%d" % n)


async def test_only_the_channels_asked_for_are_heard(redis: RedisServer) -> None:
    heard = Heard()
    async with Link(Address.parse(redis.url), heard, channels=["a", "b"], settings=PATIENT) as link:
        for channel in "abc":
            await link.call("PUBLISH", channel, b"\x00\xff")
    assert heard.pushes == [(b"a", b"\x00\xff"), (b"b", b"\x00\xff")]
