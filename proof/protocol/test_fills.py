"""What may enter L2: leases, floors, records made anew, generations."""

from __future__ import annotations

from sqlalchemy import update

from proof.protocol.guard import guards
from proof.protocol.items import Item
from proof.protocol.process import until
from proof.protocol.world import World


@guards("lease")
async def test_a_slow_reader_stores_nothing_after_the_invalidation(world: World) -> list[str]:
    gate = world.b.hold_rows()
    slow = world.start(world.b.get())
    await gate.reached()
    await world.a.write(2)
    gate.open()
    await slow
    await world.b.idle()
    return await world.stale(2)


@guards("nonce")
async def test_a_voided_lease_does_not_fill_under_another_readers(world: World) -> list[str]:
    c = await world.process("c")
    first, second = world.b.hold_rows(), c.hold_rows()
    slow = world.start(world.b.get())
    await first.reached()
    await world.a.write(2)
    other = world.start(c.get())
    await second.reached()
    first.open()
    await slow
    await world.b.idle()
    found = await world.stale(2)
    second.open()
    await other
    return found


@guards("nonce per lease")
async def test_a_process_has_as_many_leases_as_it_takes(world: World) -> list[str]:
    first, process = world.b.hold_rows(), world.b
    slow = world.start(process.get())
    await first.reached()
    await world.a.write(2)
    await process.heard()
    second = process.hold_rows()
    other = world.start(process.get())
    await second.reached()
    first.open()
    await slow
    await until(lambda: len(process.filled()) == 1, "the slow reader has tried to fill")
    found = await world.stale(2)
    second.open()
    await other
    return found


@guards("floor")
async def test_a_miss_after_an_invalidation_is_not_filled_from_a_lagging_replica(
    world: World,
) -> list[str]:
    await world.settle()
    await world.stop_replay()
    await world.a.write(2)
    await world.b.get()
    await world.b.idle()
    return await world.stale(2)


@guards("unknown")
async def test_a_record_made_anew_does_not_vouch_for_a_lagging_replica(world: World) -> list[str]:
    await world.settle()
    await world.stop_replay()
    await world.a.write(2)
    await world.evict_record()
    await world.b.get()
    await world.b.idle()
    return await world.stale(2)


@guards("settle")
async def test_a_poll_that_was_in_flight_settles_no_floor(world: World) -> list[str]:
    await world.settle()
    poll = world.b.topology._primary.poll
    gate = world.b.hold_poll()
    poll.nudge()
    await gate.reached()
    await world.catch_up()
    await world.stop_replay()
    await world.a.write(2)
    await world.evict_record()
    await world.b.get()
    await until(
        lambda: any(not asked.done() for asked in (*poll._asking, *poll._answering)),
        "the settler asks",
    )
    gate.open()
    await until(lambda: world._is_settled(1), "the floor is known")
    await world.evict()
    await world.b.get()
    await world.b.idle()
    return await world.stale(2)


@guards("generation")
async def test_a_fill_from_before_a_bulk_change_does_not_land(world: World) -> list[str]:
    await world.settle()
    gate = world.b.hold_rows()
    slow = world.start(world.b.get())
    await gate.reached()
    async with world.a.db.unit_of_work() as work:
        await work.session.execute(update(Item).values(version=2))
        await work.commit()
    await world.b.heard()
    gate.open()
    await slow
    await world.b.idle()
    return await world.stale(2)


@guards("incarnation")
async def test_an_evicted_generation_revives_no_keys(world: World) -> list[str]:
    await world.a.get()
    async with world.a.db.unit_of_work() as work:
        await work.session.execute(update(Item).values(version=2))
        await work.commit()
    await world.evict_owner()
    seen = await world.b.get()
    return await world.stale(2) + (
        [] if seen == 2 else [f"b got version {seen} after the invalidation of 2"]
    )
