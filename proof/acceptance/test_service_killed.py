"""A service process is killed, or stopped for a while, at the worst of moments: no other is blocked
or misled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from proof.acceptance.conftest import EAGER, FOR_EVER, PATIENT, Start, Truth, leases
from proof.acceptance.doomed import Doom
from proof.acceptance.remote import GUARD, ROOT
from proof.acceptance.service import Setup
from proof.acceptance.storm import IDS
from repocache import CacheSettings
from repocache.testing import Endpoints, Servers
from tests.shop import until


@asynccontextmanager
async def dying(setup: Setup) -> AsyncIterator[Callable[[Doom], Awaitable[str]]]:
    """Lets a process die, and tells at which line; empty if it has outlived its publication."""
    pipe = asyncio.subprocess.PIPE
    words = (sys.executable, "-W", "error", "-m", "proof.acceptance.doomed")
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    into, out = process.stdin, process.stdout
    into.write(msgspec.json.encode(setup) + b"\n")

    async def die(doom: Doom) -> str:
        into.write(msgspec.json.encode(doom) + b"\n")
        async with asyncio.timeout(GUARD):
            return str(msgspec.json.decode(await out.readline())["died"])

    try:
        yield die
    finally:
        process.kill()
        await process.wait()


async def test_killed_at_each_line_of_a_publication(
    start: Start, truth: Truth, repocache_endpoints: Endpoints
) -> None:
    """Here nobody delivers what the dead could not: others may read the old value, until its time
    to live ends."""
    ends = repocache_endpoints
    other = await start(ttl=3.0, local_ttl=1.0)
    lines = 0
    async with dying(Setup(ends.primary, ends.replicas, ends.redis, PATIENT, EAGER)) as die:
        while True:
            id = IDS[lines % len(IDS)]
            before = (await other.ask("read", id=id))["age"]
            line = await die(Doom(id, lines))
            assert (await truth.ages())[id - 1] == before + 1, "its commit stands"
            seen = (await other.ask("read", id=id))["age"]
            assert seen in (before, before + 1)
            if lines == 0:
                assert (line.partition(",")[0], seen) == ("CommitPublisher.committed", before), (
                    "nobody has been told"
                )
            if not line:
                break
            if lines % 2:
                wrote = await other.ask("write", id=id)
                assert (wrote["age"], wrote["read"], wrote["covered"]) == (
                    before + 2,
                    before + 2,
                    True,
                )
            lines += 1
    assert lines > 30
    await truth.assert_caches_right(other, seconds=10)


async def test_killed_while_it_holds_leases(
    start: Start,
    truth: Truth,
    repocache_endpoints: Endpoints,
    repocache_servers: Servers,
    database: str,
) -> None:
    redis = repocache_servers.redis
    doomed, other = await asyncio.gather(start(cache=FOR_EVER, replicas=()), start(cache=FOR_EVER))
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.execute(text("LOCK users IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.create_task(doomed.ask("read_many", ids=list(IDS)))
        await until(lambda: leases(redis) == len(IDS), "it has leases for all, and loads")
        await doomed.kill()
        await asyncio.gather(reading, return_exceptions=True)
    await engine.dispose()
    assert await other.ask("read_many", ids=list(IDS)) == list(IDS)
    assert leases(redis) == len(IDS), "nobody waited for them, nobody took them away"
    assert (await other.ask("read", id=7))["tier"] == "database", (
        "who met a lease fills nothing, nor its own L1"
    )
    wrote = await other.ask("write", id=7)
    assert wrote["read"] == 8
    await until(
        lambda: leases(redis) == len(IDS) - 1,
        "an invalidation does, once the fill of that read has ended",
    )
    assert (await other.ask("read", id=7))["tier"] == "l1", "and the next one fills"
    await truth.assert_caches_right(other)


async def test_a_lease_ends_with_its_life(start: Start, repocache_servers: Servers) -> None:
    redis = repocache_servers.redis
    stopped, other = await asyncio.gather(
        start(cache=CacheSettings(lease=0.5)), start(cache=FOR_EVER)
    )
    await stopped.ask("stop_before_fill")
    reading = asyncio.create_task(stopped.ask("read", id=7))
    await stopped.until_stopped()
    await until(lambda: leases(redis) == 0, "the lease has ended")
    assert (await other.ask("read", id=7))["tier"] == "database"
    assert (await other.ask("read", id=7))["tier"] == "l1", "it could fill"
    stopped.thaw()
    assert (await reading)["age"] == 7


async def test_who_was_stopped_before_its_fill_fills_nothing(
    start: Start, truth: Truth, repocache_servers: Servers
) -> None:
    """It has read the old row; meanwhile the row is written and the key filled anew, or the records
    are lost too."""
    redis = repocache_servers.redis
    stopped, other = await asyncio.gather(start(cache=FOR_EVER), start(cache=FOR_EVER))
    for id, flushed in ((7, False), (8, True)):
        before: dict[str, int] = await stopped.ask("counts")
        await stopped.ask("stop_before_fill")
        reading = asyncio.create_task(stopped.ask("read", id=id))
        await stopped.until_stopped()
        assert leases(redis) == 1
        wrote = await other.ask("write", id=id)
        assert (wrote["age"], wrote["read"]) == (id + 1, id + 1)
        if flushed:
            await asyncio.to_thread(redis.command, "FLUSHALL")
        stopped.thaw()
        assert (await reading)["age"] == id, "it was read before the write"
        after = await stopped.until_counted("Filled", before.get("Filled", 0) + 1)
        assert after.get("landed", 0) == before.get("landed", 0)
        seen: dict[str, Any] = await stopped.ask("read", id=id, bookmark=wrote["bookmark"])
        assert seen["age"] == id + 1
    await truth.assert_caches_right(stopped, other)
