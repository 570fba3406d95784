"""What may enter L1, when a hit in it counts, and who may share a load in flight."""

from __future__ import annotations

import asyncio

from proof.protocol.guard import guards
from proof.protocol.items import BUCKET, KEY, NEIGHBOUR
from proof.protocol.world import STILL, World, behind
from repocache.events import GapSeen
from repocache.records import Namespace


@guards("inorder")
async def test_an_invalidation_between_reply_and_store_keeps_the_value_out(
    world: World,
) -> list[str]:
    await world.b.get()
    await world.b.idle()
    world.b.shared.local.discard(("item", KEY))
    gate = world.b.hold_get()
    reader = world.start(world.b.get())
    await gate.reached()
    await world.a.write(2)
    await world.b.heard()
    gate.open()
    await reader
    return await world.stale(2)


@guards("landed")
async def test_l1_does_not_keep_what_l2_refused(world: World) -> list[str]:
    gate = world.b.hold_rows()
    reader = world.start(world.b.get())
    await gate.reached()
    await world.a.write(2)
    await world.b.heard()
    gate.open()
    await reader
    await world.b.idle()
    return await world.stale(2)


@guards("waited")
async def test_a_reader_that_only_waited_fills_neither_tier(world: World) -> list[str]:
    c = await world.process("c")
    holder, waiter = c.hold_rows(), world.b.hold_rows()
    world.start(c.get())
    await holder.reached()
    reader = world.start(world.b.get())
    await waiter.reached()
    await world.a.write(2)
    await world.b.heard()
    waiter.open()
    await reader
    await world.b.idle()
    return await world.stale(2)


@guards("counters")
async def test_a_gap_keeps_loads_in_flight_out_of_l1_too(world: World) -> list[str]:
    gate = world.b.hold_fill()
    reader = world.start(world.b.get())
    await gate.reached()
    world.b.lose_next_message()
    await world.a.write(2)
    await world.a.write(2, NEIGHBOUR)
    await world.b.heard()
    assert any(isinstance(event, GapSeen) for event in world.b.events)
    gate.open()
    await reader
    await world.b.idle()
    return await world.stale(2)


@guards("incarnation")
async def test_a_record_made_anew_does_not_count_on_as_if_nothing_had_happened(
    world: World,
) -> list[str]:
    """Its record is evicted, and made anew: without a name of its own what lay under the old one
    lies under it."""
    for version in (2, 3, 4):
        await world.a.write(version)
    await world.b.get()
    await world.b.idle()
    record = Namespace(STILL.app).record(BUCKET)
    await asyncio.to_thread(world.servers.redis.command, "DEL", record)
    await world.a.write(5)
    return await world.stale(5)


@guards("bookmark")
async def test_another_processes_l1_shows_a_session_nothing_older_than_its_write(
    world: World,
) -> list[str]:
    await world.b.get()
    await world.b.idle()
    assert world.b.in_l1() == 1
    read_on = world.b.stop_reading()
    bookmark = await world.a.write(2)
    async with world.b.db.causal_session(bookmark):
        reader = world.start(world.b.get())
        await asyncio.sleep(0)  # it has looked into L1
        read_on()
        return behind(await reader, 2)


@guards("join")
async def test_nobody_joins_a_load_that_began_before_the_own_commit(world: World) -> list[str]:
    gate = world.b.hold_rows()
    early = world.start(world.b.get())
    await gate.reached()
    async with world.b.db.causal_session():
        await world.b.write(2)
        late = world.start(world.b.get())
        await asyncio.sleep(0)  # it has looked for a load to join
        gate.open()
        seen = await late
    await early
    return behind(seen, 2)


@guards("join")
async def test_nobody_joins_a_load_that_promised_less_than_the_bookmark_asks(
    world: World,
) -> list[str]:
    """Nothing was invalidated in this process since: its channel is late, and only the bookmark
    tells."""
    await world.settle()
    await world.stop_replay()
    gate = world.b.hold_rows()
    early = world.start(world.b.get())
    await gate.reached()
    read_on = world.b.stop_reading()
    bookmark = await world.a.write(2)
    async with world.b.db.causal_session(bookmark):
        late = world.start(world.b.get())
        await asyncio.sleep(0)  # it has looked for a load to join
        gate.open()
        read_on()
        seen = await late
    await early
    return behind(seen, 2)


@guards("own writes")
async def test_an_own_commit_that_is_not_published_yet_leaves_this_process(
    world: World,
) -> list[str]:
    await world.a.get()
    await world.a.idle()
    publish_on = world.a.stop_publishing()
    bookmark = await world.a.write(2)
    assert not bookmark.covered
    held = world.a.in_l1()
    publish_on()
    return [] if held is None else [f"L1 holds version {held} after this process committed 2"]


@guards("bookmark")
async def test_a_session_whose_write_is_not_published_uses_no_cache(world: World) -> list[str]:
    await world.settle()
    for process in (world.a, world.b):
        await process.get()
        await process.idle()
    publish_on = world.a.stop_publishing()
    bookmark = await world.a.write(2)
    found = behind(await world.b.get_behind(bookmark), 2) + behind(
        await world.a.get_behind(bookmark), 2
    )
    publish_on()
    await world.a.delivered()
    return found + await world.stale(2)
