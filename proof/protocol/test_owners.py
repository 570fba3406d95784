"""Changes of a whole owner: one record tells of them, which every read and every fill looks at."""

from __future__ import annotations

from sqlalchemy import text

from proof.protocol.guard import guards
from proof.protocol.items import Items
from proof.protocol.process import Process
from proof.protocol.world import World, behind
from repocache.bookmark import Bookmark


async def change_all(process: Process, version: int) -> Bookmark:
    async with process.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE item SET version = :version"), {"version": version})
        work.changes(Items)
        bookmark = await work.commit()
    assert bookmark is not None
    return bookmark


@guards("owner's floor")
async def test_a_miss_after_a_change_of_all_is_not_filled_from_a_lagging_replica(
    world: World,
) -> list[str]:
    await world.settle()
    await world.stop_replay()
    await change_all(world.a, 2)
    await world.b.heard()
    await world.b.get()
    await world.b.idle()
    return await world.stale(2)


@guards("owner told")
async def test_a_process_that_missed_a_change_of_all_reads_nothing_by_an_old_name(
    world: World,
) -> list[str]:
    """1. All change, and the message is lost; 2. one is written, and what lies under its new name
    goes; 3. a process that hears of that alone asks for it."""
    await world.b.get()
    await world.b.idle()
    world.b.lose_next_message()
    await change_all(world.a, 2)
    await world.a.write(3)
    await world.b.heard()
    return behind(await world.b.get(), 3)


@guards("owner's record")
async def test_a_session_that_changed_all_is_shown_nothing_older_by_another_process(
    world: World,
) -> list[str]:
    await world.b.get()
    await world.b.idle()
    assert world.b.in_l1() == 1
    read_on = world.b.stop_reading()
    bookmark = await change_all(world.a, 2)
    async with world.b.db.causal_session(bookmark):
        reader = world.start(world.b.get())
        read_on()
        return behind(await reader, 2)
