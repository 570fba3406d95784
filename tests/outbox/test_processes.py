"""Processes that die, and a Redis that is away: what the outbox holds makes every cache right
within seconds."""

from __future__ import annotations

import asyncio

import pytest

from proof.acceptance.conftest import EAGER, PATIENT, Start, Truth, database, start, truth
from proof.acceptance.doomed import Doom
from proof.acceptance.service import Setup
from proof.acceptance.storm import IDS
from proof.acceptance.test_service_killed import dying
from repocache.testing import Endpoints, Servers
from tests.outbox.conftest import Sql, left, until_empty
from tests.outbox.test_triggers import TRIGGERED

__all__ = ["database", "start", "truth"]


async def test_killed_at_each_line_between_commit_and_acknowledgement(
    start: Start, truth: Truth, sql: Sql, repocache_endpoints: Endpoints
) -> None:
    ends = repocache_endpoints
    other = await start(ttl=3600.0, local_ttl=3600.0)
    deaths: list[str] = []
    async with dying(Setup(ends.primary, ends.replicas, ends.redis, PATIENT, EAGER)) as die:
        while line := await die(Doom(IDS[len(deaths) % len(IDS)], len(deaths))):
            deaths.append(line)
            # Which is the next to be written.
            await other.ask("read", id=IDS[len(deaths) % len(IDS)])
    assert any("OutboxAcknowledger" in line for line in deaths)
    assert len(deaths) > 40
    await until_empty(sql)
    await truth.assert_caches_right(other)


async def test_killed_while_redis_was_away(
    start: Start, truth: Truth, sql: Sql, repocache_controls: Servers
) -> None:
    """All that the writer kept in its memory dies with it."""
    reader, writer = await asyncio.gather(start(ttl=3600.0, local_ttl=3600.0), start())
    await reader.ask("everything", ids=list(IDS), tier="l1")
    repocache_controls.redis.freeze()
    for id in IDS[:20]:
        assert (await writer.ask("write", id=id))["covered"] is False
    assert await left(sql) == 20
    await writer.kill()
    repocache_controls.redis.thaw()
    await until_empty(sql)
    await truth.assert_caches_right(reader)


@pytest.mark.parametrize("restart", [False, True], ids=["thawed", "restarted"])
async def test_writes_from_outside_while_redis_was_away(
    start: Start, truth: Truth, sql: Sql, repocache_controls: Servers, restart: bool
) -> None:
    for statement in TRIGGERED:
        await sql(statement)
    first, second = await asyncio.gather(
        start(ttl=3600.0, local_ttl=3600.0), start(ttl=3600.0, local_ttl=3600.0)
    )
    for each in (first, second):
        await each.ask("everything", ids=list(IDS), tier="l1")
    if restart:
        repocache_controls.redis.kill()
    else:
        repocache_controls.redis.freeze()
    for id in IDS[::3]:
        await sql(f"UPDATE users SET age = age + 1 WHERE id = {id}")
    await sql("UPDATE users SET age = age + 1 WHERE id % 2 = 0")
    if restart:
        repocache_controls.redis.start()
    else:
        repocache_controls.redis.thaw()
    await until_empty(sql)
    await truth.assert_caches_right(first, second)
