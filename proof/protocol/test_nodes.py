"""Which node may answer: samples, positions, and tables that replicas do not have."""

from __future__ import annotations

import asyncio

from sqlalchemy.exc import DBAPIError

from proof.protocol.guard import guards
from proof.protocol.items import KEY, Drafts, Item
from proof.protocol.process import until
from proof.protocol.world import World, behind


@guards("sample", on="repocache_controls")
async def test_a_replica_that_restarts_further_back_does_not_live_on_its_old_sample(
    world: World,
) -> list[str]:
    """After the crash it starts from its last restartpoint; the delay keeps it from running ahead
    again."""
    replica = world.replica
    await world.settle()
    # So that none falls due between the write and the crash, which the standby would start from.
    await asyncio.to_thread(world.servers.primary.sql, "CHECKPOINT")
    await world.catch_up()
    await asyncio.to_thread(replica.sql, "CHECKPOINT")
    await world.a.write(2)
    await world.catch_up()
    try:
        await asyncio.to_thread(
            replica.sql, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'", "postgres"
        )
        await asyncio.to_thread(replica.kill)
        await asyncio.to_thread(replica.start)
        assert await world.sql(f"SELECT version FROM item WHERE id = {KEY}", replica) != [("2",)]
        # The first read may find out by its dead connection.
        for _ in range(2):
            await world.b.get()
            await world.b.idle()
            if found := await world.stale(2):
                return found
            await world.evict()
        return []
    finally:
        await asyncio.to_thread(
            replica.sql, "ALTER SYSTEM RESET recovery_min_apply_delay", "postgres"
        )
        await asyncio.to_thread(replica.restart)


@guards("bookmark")
async def test_a_lagging_replica_shows_a_session_nothing_older_than_its_write(
    world: World,
) -> list[str]:
    await world.catch_up()
    await world.stop_replay()
    bookmark = await world.a.write(2)
    async with world.b.db.causal_session(bookmark):
        [item] = await world.b.items.find(Item.id == KEY)
    return behind(item.version, 2)


@guards("position first")
async def test_a_position_that_was_read_with_the_row_does_not_vouch_for_it(
    world: World,
) -> list[str]:
    """1. The row is read on a replica; 2. the replica catches up; 3. its position is enough, the
    row is not."""
    await world.settle()
    await world.stop_replay()
    await world.a.write(2)
    (node,) = world.b.topology._replicas
    gate, poll = asyncio.Event(), node._poll

    async def after_catching_up() -> object:
        if not gate.is_set():
            await asyncio.to_thread(world.replica.resume_replay)
            position = await asyncio.to_thread(world.servers.primary.position)
            await asyncio.to_thread(world.replica.await_position, position)
            gate.set()
        return await poll()

    node.poll._poll = after_catching_up  # type: ignore[assignment]
    await world.b.get()
    await world.b.idle()
    assert gate.is_set(), "the replica was polled"
    return await world.stale(2)


@guards("primary only")
async def test_an_unlogged_table_is_read_on_the_primary_only(world: World) -> list[str]:
    drafts, found = world.b.db[Drafts], []
    await drafts.get(KEY)
    await until(lambda: not world.b.shared.settler._under_way, "the floor is settled")
    await world.catch_up()
    world.b.shared.local.clear()
    await world.b.records._link.call("DEL", *await world.b.records._link.call("KEYS", "*:draft:*"))
    reads = (drafts.get(KEY), drafts.on_replica().get(KEY), drafts.find())
    for read in reads:
        try:
            if not await read:
                found.append("a replica answered that there is no such row")
        except DBAPIError as error:
            found.append(f"a replica was asked: {error.orig}")
    return found
