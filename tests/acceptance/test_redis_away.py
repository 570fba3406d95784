"""Redis is killed, or away for one process alone: reads go on from the database, commits stand, and all heals."""

from __future__ import annotations

import asyncio

from repocache.testing import Endpoints, Servers
from tests.acceptance.conftest import Start, Truth
from tests.acceptance.proxy import Proxy
from tests.acceptance.remote import Remote
from tests.acceptance.storm import IDS
from tests.shop import until


async def until_busy(*remotes: Remote, reads: int = 150, writes: int = 15) -> None:
    """Until each has done so much more than until now."""
    for remote in remotes:
        before = await remote.ask("tally")

        async def enough(remote: Remote = remote, before: dict[str, int] = before) -> bool:
            now = await remote.ask("tally")
            return bool(now["reads"] >= before["reads"] + reads and now["writes"] >= before["writes"] + writes)

        await until(enough, "the storm blows")


async def test_redis_is_killed_under_load(start: Start, truth: Truth, repocache_controls: Servers) -> None:
    redis = repocache_controls.redis
    remotes = await asyncio.gather(start(), start())
    for remote in remotes:
        await remote.ask("storm", callers=8)
    await until_busy(*remotes)
    marks = [len(remote.events) for remote in remotes]
    await asyncio.to_thread(redis.kill)
    for remote, mark in zip(remotes, marks, strict=True):
        await remote.until_told("ChannelDown", mark)
    before = [await remote.ask("tally") for remote in remotes]
    await until_busy(*remotes)
    during = [await remote.ask("tally") for remote in remotes]
    for remote, early, late in zip(remotes, before, during, strict=True):
        assert late["uncovered"] - early["uncovered"] >= late["writes"] - early["writes"] - 8, "all but those under way"
    await asyncio.to_thread(redis.start)
    for remote, mark in zip(remotes, marks, strict=True):
        up = await remote.until_told("ChannelUp", mark)
        assert up["local"] == 0, "L1 starts empty"
    await until_busy(*remotes)
    for remote in remotes:
        await remote.ask("calm")
        tally = await remote.ask("tally")
        assert (tally["own_misses"], tally["errors"]) == (0, {})
        await until(lambda remote=remote: nothing_waits(remote), "all is delivered")
    await truth.assert_caches_right(*remotes)


async def nothing_waits(remote: Remote) -> bool:
    return bool(await remote.ask("undelivered") == 0)
