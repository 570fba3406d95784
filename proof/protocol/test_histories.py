"""Two lines of WAL: what a process of one must never take from the other."""

from __future__ import annotations

import asyncio
from functools import partial

from sqlalchemy import text, update

from proof.protocol.guard import guards
from proof.protocol.items import KEY, Item, Items
from proof.protocol.process import Process, until
from proof.protocol.world import World
from tests.wal_writer import stop_wal_writer

MINE = 7
"""The version on the second server, where nobody wrote what the first has."""


async def set_apart(world: World) -> None:
    await asyncio.to_thread(world.servers.replicas[1].sql, f"UPDATE item SET version = {MINE}")
    lines = {process.topology._primary.lineage.identity[:2] for process in (world.a, world.b)}  # type: ignore[index]
    assert len(lines) == 1, "one system, one timeline"


@guards("epochs", on="torn_servers")
async def test_two_processes_of_two_histories_do_not_make_records_anew_for_ever(
    world: World,
) -> list[str]:
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
async def test_a_crash_of_the_primary_takes_lost_commits_out_of_the_caches(
    world: World,
) -> list[str]:
    """An asynchronous commit is seen, cached, and lost with the WAL that was never written."""
    await write_what_a_crash_loses(world)
    for process in (world.a, world.b):
        assert await process.get() == 2
        await process.idle()
    await crash(world)
    seen = {process.name: await process.get() for process in (world.a, world.b)}
    return [
        f"{name} got version {version}, which the database lost"
        for name, version in seen.items()
        if version != 1
    ]


@guards("server process", on="repocache_controls")
async def test_an_answer_from_before_a_crash_of_the_primary_is_not_built_on(
    world: World,
) -> list[str]:
    """1. Redis answers under the old history; 2. the crash is noticed; 3. the answer is
    understood."""
    await write_what_a_crash_loses(world)
    assert await world.a.get() == 2
    await world.a.idle()
    late = await world.process("late")
    gate = late.hold_open()
    reader = world.start(late.get())
    await gate.reached()
    await crash(world)
    gate.open()
    await reader
    await late.idle()
    return (
        [f"late got version {seen}, which the database lost"]
        if (seen := await late.get()) != 1
        else []
    )


async def write_what_a_crash_loses(world: World) -> None:
    await world.settle()
    await asyncio.to_thread(stop_wal_writer, world.servers.primary)
    async with world.a.db.unit_of_work() as work:
        await work.session.execute(text("SET LOCAL synchronous_commit = off"))
        item = await work[Items].require(KEY)
        item.version = 2
        await work.commit()


async def crash(world: World) -> None:
    """Every process has noticed it when this returns."""
    await asyncio.to_thread(world.servers.primary.kill)
    await asyncio.to_thread(world.servers.primary.start)
    assert await world.sql(f"SELECT version FROM item WHERE id = {KEY}") == [("1",)], (
        "the commit is lost"
    )
    for process in world.processes.values():
        await until(partial(_has_looked, process), f"{process.name} has polled the primary again")


async def _has_looked(process: Process) -> bool:
    return await process.topology.position() is not None


@guards("answers alone", on="torn_servers")
async def test_a_bulk_change_in_one_history_leads_nobody_of_the_other_to_its_values(
    world: World,
) -> list[str]:
    """Its message names the new generation, under which the first process caches rows of its own
    database."""
    await set_apart(world)
    found = []
    for version in (2, 3, 4):
        async with world.a.db.unit_of_work() as work:
            await work.session.execute(update(Item).values(version=version))
            await work.commit()
        for process, expected in ((world.a, version), (world.b, MINE)):
            seen = await process.get()
            await process.idle()
            if seen != expected:
                found.append(f"{process.name} got version {seen}, its database has {expected}")
    return found
