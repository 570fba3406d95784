"""Two lines of WAL: what a process of one must never take from the other."""

from __future__ import annotations

import asyncio
from functools import partial

from sqlalchemy import text

from tests.protocol.guard import guards
from tests.protocol.world import KEY, Items, Process, World, until

MINE = 7
"""The version on the second server, where nobody wrote what the first has."""


async def set_apart(world: World) -> None:
    await asyncio.to_thread(world.servers.replicas[1].sql, f"UPDATE item SET version = {MINE}")
    lines = {process.topology._primary._identity[:2] for process in (world.a, world.b)}  # type: ignore[index]
    assert len(lines) == 1, "one system, one timeline"


@guards("epochs", on="torn_servers")
async def test_two_processes_of_two_histories_do_not_make_records_anew_for_ever(world: World) -> list[str]:
    await set_apart(world)
    made: set[bytes] = set()
    for _ in range(10):
        for process in (world.a, world.b):
            await process.get()
            await process.idle()
            made.add((await world.record())[b"i"])
    return [f"the record was made {len(made)} times"] if len(made) > 3 else []


@guards("server process", on="torn_servers")
async def test_two_promoted_servers_of_one_timeline_share_no_values(world: World) -> list[str]:
    await set_apart(world)
    await world.a.write(2)
    found = []
    for process, version in ((world.a, 2), (world.b, MINE)) * 2:
        seen = await process.get()
        await process.idle()
        if seen != version:
            found.append(f"{process.name} got version {seen}, its database has {version}")
    return found


@guards("server process", on="repocache_controls")
async def test_a_crash_of_the_primary_takes_lost_commits_out_of_the_caches(world: World) -> list[str]:
    """An asynchronous commit is seen, cached, and lost with the WAL that was never written."""
    primary = world.servers.primary
    await world.sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
    await world.sql("SELECT pg_reload_conf()")
    await world.settle()
    async with world.a.db.unit_of_work() as work:
        await work.session.execute(text("SET LOCAL synchronous_commit = off"))
        item = await work[Items].require(KEY)
        item.version = 2
        await work.commit()
    for process in (world.a, world.b):
        assert await process.get() == 2
        await process.idle()
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(primary.start)
    assert await world.sql(f"SELECT version FROM item WHERE id = {KEY}") == [("1",)], "the commit is lost"
    for process in (world.a, world.b):
        await until(partial(_has_looked, process), f"{process.name} has polled the primary again")
    found = []
    for process in (world.a, world.b):
        if (seen := await process.get()) != 1:
            found.append(f"{process.name} got version {seen}, which the database lost")
        await process.idle()
    return found


async def _has_looked(process: Process) -> bool:
    return await process.topology.position() is not None
