"""What a Redis that restarts, fails over or answers in a transaction must not bring back or
swallow."""

from __future__ import annotations

import asyncio

from sqlalchemy import update

from proof.protocol.guard import guards
from proof.protocol.items import BUCKET, Item
from proof.protocol.world import World, behind


async def fail_over(world: World) -> None:
    """To a server that knows what the last snapshot holds, and no more."""
    await asyncio.to_thread(world.servers.redis.kill)
    await asyncio.to_thread(world.servers.redis.start)
    for process in world.processes.values():
        await process.alive()


@guards("server", on="repocache_controls")
async def test_a_failover_of_redis_brings_no_old_value_back(world: World) -> list[str]:
    await world.settle()
    await world.b.get()
    await world.b.idle()
    await asyncio.to_thread(world.servers.redis.snapshot)
    await world.a.write(2)
    await fail_over(world)
    seen = await world.b.get()
    await world.b.idle()
    return behind(seen, 2) + await world.stale(2)


@guards("server", on="repocache_controls")
async def test_a_failover_of_redis_brings_no_old_lease_back(world: World) -> list[str]:
    """1. A reader has its lease and the old row; 2. Redis's replica has the lease; 3. the row is
    written, the lease deleted; 4. failover; 5. the reader fills; 6. the writer's session reads."""
    await world.settle()
    gate = world.b.hold_rows()
    slow = world.start(world.b.get())
    await gate.reached()
    await asyncio.to_thread(world.servers.redis.snapshot)
    bookmark = await world.a.write(2)
    await fail_over(world)
    gate.open()
    await slow
    await world.b.idle()
    return behind(await world.a.get_behind(bookmark), 2) + await world.stale(2)


@guards("bare")
async def test_no_script_runs_in_a_transaction_which_may_swallow_a_push(world: World) -> list[str]:
    """Redis 7.0 puts the push of a PUBLISH into the reply of EXEC, where nobody takes it for
    one."""
    await asyncio.to_thread(world.servers.redis.command, "CONFIG", "RESETSTAT")
    await world.settle()
    found: list[str] = []
    for version in (2, 3):
        bookmark = await world.a.write(version)
        view, wrote = world.a.shared.views.get(BUCKET), bookmark.buckets[BUCKET]
        if view is None or (view.incarnation, view.told) != wrote:
            found.append(f"the writer knows of {wrote}, its own push did not come before the reply")
        await world.b.get()
    async with world.a.db.unit_of_work() as work:
        await work.session.execute(update(Item).values(version=4))
        await work.commit()
    statistics = str(await asyncio.to_thread(world.servers.redis.command, "INFO", "commandstats"))
    assert "cmdstat_eval" in statistics
    return found + [name for name in ("cmdstat_multi", "cmdstat_exec") if f"{name}:" in statistics]
