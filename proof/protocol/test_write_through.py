"""What a commit may put into L2: the rows as the database has them, in the order in which they were
locked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from proof.protocol.guard import guards
from proof.protocol.items import KEY, Stock, Stocks
from proof.protocol.process import Process, until
from proof.protocol.world import STILL, World
from repocache.cache.tiered import TieredCache
from repocache.cache.values import is_lease
from repocache.keys import bucket_of, owner_bucket
from repocache.records import Namespace

TEXT = f"stock:{KEY}"


@guards("order")
async def test_a_late_put_does_not_replace_the_value_of_a_later_writer(world: World) -> list[str]:
    """1. a commits; 2. b locks the same row, commits and puts; 3. a's put arrives."""
    await settle(world)
    gate = world.a.hold_publication()
    first = world.start(write(world.a, 2))
    await gate.reached()
    await write(world.b, 3)
    stored = await in_l2(world)
    assert stored is not None
    assert stored.version == 3
    gate.open()
    await first
    return await older(world, 3)


@guards("late put")
async def test_a_late_put_does_not_land_after_a_bulk_change(world: World) -> list[str]:
    """1. a commits; 2. b changes all rows, and nobody knows their keys; 3. a's put arrives."""
    await settle(world)
    gate = world.a.hold_publication()
    first = world.start(write(world.a, 2))
    await gate.reached()
    async with world.b.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE stock SET version = 3"))
        work.changes(Stocks)
        await work.commit()
    await world.b.delivered()
    gate.open()
    await first
    return await older(world, 3)


@guards("as stored")
async def test_a_put_does_not_lose_another_writers_column(world: World) -> list[str]:
    """1. a loads the row; 2. b writes one column of it; 3. a writes another one, of the row as it
    had loaded it."""
    await settle(world)
    async with world.a.db.unit_of_work() as work:
        stock = await work[Stocks].require(KEY)
        async with world.b.db.unit_of_work() as theirs:
            (await theirs[Stocks].require(KEY)).note = 2
            await theirs.commit()
        stock.version = 2
        await work.commit()
    stored = await in_l2(world)
    assert stored is not None
    return (
        []
        if stored.note == 2
        else [f"L2 holds the note {stored.note}, which the other writer had made 2"]
    )


async def write(process: Process, version: int) -> None:
    async with process.db.unit_of_work() as work:
        (await work[Stocks].require(KEY)).version = version
        await work.commit()


async def settle(world: World) -> None:
    """Both processes have met the record, whose floor is known; nothing is cached."""
    names = [
        Namespace(STILL.app).record(bucket) for bucket in (bucket_of(TEXT), owner_bucket("stock"))
    ]
    for process in (world.a, world.b):
        await process.db[Stocks].require(KEY)
    link = world.a.records._link

    async def known() -> bool:
        return all([await link.call("HEXISTS", name, "f") for name in names])

    await until(known, "the floors are known")


async def in_l2(world: World) -> Stock | None:
    """The row in Redis."""
    access: Any = world.a.db[Stocks]._access
    cache: TieredCache = access._cache
    record, own = (
        Namespace(STILL.app).record(bucket) for bucket in (bucket_of(TEXT), owner_bucket("stock"))
    )
    incarnation = (await world.a.records._link.call("HGET", record, "i")).decode()
    fields = await world.a.records._link.call("HMGET", own, "g:stock", "i")
    generation = (fields[0] or fields[1]).decode()
    name = (
        Namespace(STILL.app).prefix(bucket_of(TEXT), incarnation, generation, cache._fingerprint)
        + TEXT
    )
    value = await world.a.records._link.call("GET", name)
    if value is None or is_lease(value):
        return None
    cell = cache._values.decode(TEXT, value, KEY)
    assert cell is not None
    assert cell.row is not None
    return world.a.db[Stocks]._entity(cell.row)


async def older(world: World, version: int) -> list[str]:
    stored = await in_l2(world)
    if stored is None or stored.version >= version:
        return []
    return [f"L2 holds version {stored.version} after the invalidation of {version}"]
