"""Positions say what a node has, not what it shows: a load or a stamp must not take the one for the
other."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import text

from proof.protocol.guard import guards
from proof.protocol.items import BUCKET, KEY, NEIGHBOUR, Items
from proof.protocol.process import Gate, Process, until
from proof.protocol.test_commits import on_each
from proof.protocol.world import STILL, World, behind, prefer
from repocache.bookmark import Bookmark, Seen
from repocache.cache.switch import CacheMode
from repocache.nodes.wal import ReplicaReading

MONOTONIC = dataclasses.replace(STILL, monotonic=True)


@guards("sent to the primary")
async def test_nobody_joins_a_load_that_the_primary_was_sent_before_his_commit_was_shown(
    world: World,
) -> list[str]:
    """Invalidations reach nobody, so sessions read past the cache.

    1. Y's commit record is written, and Y is not shown yet: its COMMIT waits for a replica;
    2. X commits, and the position that X is given covers Y's record;
    3. X reads Y's row at c: no replica is that far, so the primary is asked;
    4. Y's commit is shown and returns, and its bookmark names the position that X's names;
    5. Y reads at c, where X's load is under way.
    """
    servers = (world.servers.primary, *world.servers.replicas)
    x, reader = await world.process("x"), await world.process("reader")
    await world.settle()
    for process in (world.a, x):
        process.stop_publishing()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(on_each, servers[1:], "SELECT pg_wal_replay_resume()")
        stack.push_async_callback(on_each, servers[:1], UNSYNC)
        await on_each(servers[:1], SYNC)
        await on_each(servers[1:], "SELECT pg_wal_replay_pause()")
        ys = world.start(commit_for(world.a, "remote_apply", KEY))
        await until(lambda: waits_for_replicas(world), "Y's COMMIT waits for a replica")
        covers = await commit_for(x, "local", NEIGHBOUR)
        gate = reader.hold_rows()
        first = world.start(reader.get_behind(covers))
        await gate.reached()
        await on_each(servers[:1], UNSYNC)
        own = await ys
        assert own.position is not None
        assert covers.position is not None
        # Unless the server wrote something of its own since, it is the same by itself.
        own = replace(own, position=min(own.position, covers.position))
        second = world.start(reader.get_behind(own))
        await asyncio.sleep(0.05)  # it has joined, or reads by itself
        gate.open()
        await first
        return behind(await second, 2)


SYNC = "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()"
UNSYNC = "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()"


async def commit_for(process: Process, synchronous: str, id: int) -> Bookmark:
    async with process.db.unit_of_work() as work:
        await work.session.execute(text(f"SET LOCAL synchronous_commit = {synchronous}"))
        (await work[Items].require(id)).version = 2
        return await work.commit()


async def waits_for_replicas(world: World) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    return bool(await world.sql(waiting))


@guards("shown")
async def test_a_replica_that_shows_more_than_it_has_replayed_is_not_taken_at_its_word(
    world: World,
) -> list[str]:
    """1. The first replica shows a commit that it has not counted as replayed yet, the second one
    has replayed as much and does not show it; 2. a monotonic session reads at the first; 3. and at
    the second."""
    reader = await between_showing_and_counting(world)
    async with reader.db.causal_session():
        seen = [await find_at(reader, 0)]
        seen.append(await find_at(reader, 1))
    assert seen[0] == 2, "the first replica shows the commit"
    return went_back(seen)


@guards("shown")
async def test_a_replica_that_receives_no_more_does_not_say_how_much_it_shows(
    world: World,
) -> list[str]:
    """The same, and between the read at the first replica and the poll after it that replica's
    receiver ends: what it shows was received, and how much that was is not to be had."""
    reader = await between_showing_and_counting(world)
    for number in (1, 0):
        await find_at(reader, number)  # the connections are there
    probe = reader.topology._replicas[0].probe
    gate, original = Gate("the poll after the read"), probe.replica

    async def replica() -> ReplicaReading:
        await gate.hold()
        return await original()

    probe.replica = replica  # type: ignore[method-assign]
    async with reader.db.causal_session():
        first = world.start(find_at(reader, 0))
        await gate.reached()
        receiver = "FROM pg_stat_activity WHERE backend_type = 'walreceiver'"
        await world.sql(f"SELECT pg_terminate_backend(pid, 10000) {receiver}", world.replica)
        gate.open()
        seen = [await first]
        seen.append(await find_at(reader, 1))
    assert seen[0] == 2, "the first replica shows the commit"
    return went_back(seen)


async def find_at(reader: Process, number: int) -> int:
    prefer(reader, number)
    return await reader.find()


async def between_showing_and_counting(world: World) -> Process:
    """A reader of two replicas, with monotonic sessions. A replica shows a replayed commit first,
    then unlinks the files of what it dropped, and only then counts it as replayed. Here the
    unlinking waits for a stopped checkpointer.

    1. A transaction has written, and both replicas have replayed that, up to right before its
    commit record;
    2. the second one pauses; 3. COMMIT; the first one shows it, and is held before it counts it.
    """
    shows, stays = world.servers.replicas
    replicas = world.endpoints.replicas
    primary = world.endpoints.primary
    reader = await world.process("reader", primary, replicas=replicas, settings=MONOTONIC)
    await world.stop_backend(shows, "checkpointer")
    await world.sql("DROP TABLE IF EXISTS doomed; CREATE TABLE doomed (x int)")
    await world.catch_up()
    await asyncio.to_thread(world.servers.catch_up)
    gate = world.a.hold_seal()
    await make_segments(world, shows)
    writer = world.start(drop_and_write(world.a))
    await gate.reached()
    await world.sql("SELECT pg_logical_emit_message(true, '', '')")
    await asyncio.to_thread(world.servers.catch_up)
    await world.stop_replay(stays)
    gate.open()
    await writer
    await until(lambda: unlinks(world), "the first replica is between showing and counting")
    await reader.sampled()
    return reader


SEGMENTS = 2_500
"""More than the checkpointer's queue holds, which has as many places as there are shared buffers
(16 MB)."""


async def make_segments(world: World, replica: object) -> None:
    """The doomed table has so many (empty) files on this replica."""
    query = "SELECT current_setting('data_directory'), pg_relation_filepath('doomed')"
    ((folder, file),) = await world.sql(query, replica)  # type: ignore[arg-type]
    await asyncio.to_thread(_touch, Path(folder) / file)


def _touch(file: Path) -> None:
    for number in range(1, SEGMENTS):
        file.with_name(f"{file.name}.{number}").touch()


async def drop_and_write(process: Process) -> None:
    async with process.db.unit_of_work() as work:
        (await work[Items].require(KEY)).version = 2
        await work.session.execute(text("DROP TABLE doomed"))
        await work.commit()


async def unlinks(world: World) -> bool:
    held = "backend_type = 'startup' AND wait_event = 'RegisterSyncRequest'"
    return bool(await world.sql(f"SELECT 1 FROM pg_stat_activity WHERE {held}", world.replica))


@guards("direct")
async def test_who_would_use_the_cache_does_not_join_a_load_past_it(world: World) -> list[str]:
    """1. A session has written in many buckets; 2. the replica falls behind; 3. another commit,
    which b has heard of;
    4. the session reads that row at b, past the cache, on the replica; 5. and so does somebody
    without a session."""
    await world.settle()
    wrote_much = await with_wrote(world, None)
    await world.stop_replay()
    await world.a.write(2)
    await world.b.heard()
    return await both_read(world, wrote_much)


@guards("direct")
async def test_who_uses_the_cache_again_does_not_join_a_load_from_when_it_was_off(
    world: World,
) -> list[str]:
    """1. The replica falls behind; 2. a commit, which b has heard of; 3. b reads, with its cache
    off, on the replica;
    4. the cache is on again; 5. another reader."""
    await world.settle()
    await world.stop_replay()
    await world.a.write(2)
    await world.b.heard()
    world.b.db.switch(Items, CacheMode.OFF)
    gate = world.b.hold_rows()
    first = world.start(world.b.get())
    await gate.reached()
    world.b.db.switch(Items, CacheMode.ON)
    return await second_reads(world, gate, first)


@guards("direct")
async def test_nobody_joins_a_load_that_may_still_have_to_go_past_the_cache(
    world: World,
) -> list[str]:
    """1. A session wrote in a bucket whose record has been lost since; 2. the replica falls behind;
    3. a commit, which is published and then cached; 4. the session reads at b, and the record's
    answer is on its way: it knows nothing of the session's write; 5. somebody without a session
    reads; 6. the load goes past the cache, to the replica."""
    await world.settle()
    elsewhere = await with_wrote(world, {BUCKET: Seen("lost", 7)})
    await world.stop_replay()
    await world.a.write(2)
    await world.a.get()
    await world.a.idle()
    await world.b.heard()
    assert await world.in_l2() == 2
    gate = world.b.hold_open()
    return await both_read(world, elsewhere, gate)


async def with_wrote(world: World, wrote: dict[int, Seen] | None) -> Bookmark:
    """Of a session whose last write any replica has by now."""
    polled = await world.b.topology.position()
    assert polled is not None
    await world.catch_up()
    return Bookmark(
        history=polled.history,
        position=polled.flush,
        wrote=wrote,
        covered=True,
        expires=time.time() + 60,
    )


async def both_read(world: World, bookmark: Bookmark, gate: Gate | None = None) -> list[str]:
    gate = gate or world.b.hold_rows()
    first = world.start(world.b.get_behind(bookmark))
    await gate.reached()
    return await second_reads(world, gate, first)


async def second_reads(world: World, gate: Gate, first: asyncio.Task[int]) -> list[str]:
    second = world.start(world.b.get())
    await asyncio.sleep(0.05)  # it has joined, or reads by itself
    gate.open()
    await first
    seen = await second
    return [] if seen == 2 else [f"a reader got version {seen} after b had heard of 2"]


def went_back(seen: list[int]) -> list[str]:
    return [] if seen == sorted(seen) else [f"a monotonic session saw the versions {seen}"]
