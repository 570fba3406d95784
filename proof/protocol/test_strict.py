"""Strict write-through: from COMMIT on nobody is given what was before, whoever dies, delays or is
late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from unittest.mock import patch

from sqlalchemy import text

from proof.protocol.guard import guards
from proof.protocol.items import KEY, Prices
from proof.protocol.process import Gate, Process, until
from proof.protocol.world import STILL, World
from repocache.invalidation.batch import Batch
from repocache.keys import bucket_of
from repocache.publication import write_through
from repocache.records import Namespace

TEXT = f"price:{KEY}"
RECORD = Namespace(STILL.app).record(bucket_of(TEXT))


@guards("write lease")
async def test_a_reader_before_commit_fills_nothing(world: World) -> list[str]:
    await settle(world)
    async with before_commit(world, 2) as commit:
        await read(world.b)
        async with commit():
            return past(await read(world.b), 2)


@guards("others' write leases")
async def test_a_relay_does_not_remove_a_write_lease(world: World) -> list[str]:
    """1. a is about to commit; 2. an earlier commit's invalidation is delivered late; 3. a reader;
    4. COMMIT."""
    await settle(world)
    async with before_commit(world, 2) as commit:
        position = await asyncio.to_thread(world.servers.primary.position)
        bus = world.b.db._started.cache.bus
        await bus.publish(Batch({"price": frozenset({TEXT})}), world.b.topology.history, position)
        await read(world.b)
        async with commit():
            return past(await read(world.b), 2)


@guards("own write lease")
async def test_the_first_writers_put_does_not_replace_the_seconds_write_lease(
    world: World,
) -> list[str]:
    """1. a commits; 2. b locks the row, and is about to commit; 3. a's put arrives; 4. b commits;
    5. a reader."""
    c = await world.process("c")
    await settle(world)
    publication = world.a.hold_publication()
    first = world.start(write(world.a, 2))
    await publication.reached()
    async with before_commit(world, 3, world.b) as commit:
        publication.open()
        await first
        async with commit():
            return past(await read(c), 3)


@guards("in progress")
async def test_a_write_lease_outlives_its_deadline_if_commit_is_slow(world: World) -> list[str]:
    """1. a is about to commit for longer than its write lease is for; 2. a reader; 3. COMMIT; 4. a
    reader."""
    await settle(world)
    with short_leases():
        async with before_commit(world, 2) as commit:
            await overdue(world)
            await read(world.b)
            async with commit():
                return past(await read(world.b), 2)


@guards("strict primary")
async def test_a_writer_dies_after_commit_and_no_replica_fills(world: World) -> list[str]:
    """Nothing was published, so the floor vouches for a replica that has not replayed the write."""
    await settle(world)
    await world.catch_up()
    await world.stop_replay()
    with short_leases():
        async with before_commit(world, 2) as commit, commit():
            await overdue(world)
            return past(await read(world.b), 2) + past(await read(world.b), 2)


@guards("read leases")
async def test_a_fill_from_before_a_write_lease_does_not_land_after_it(world: World) -> list[str]:
    """1. A reader has the old row; 2. a commits and dies; 3. another takes its write lease over; 4.
    the fill."""
    c = await world.process("c")
    await settle(world)
    await evict(world)
    rows = hold_rows(c)
    slow = world.start(read(c))
    await rows.reached()
    with short_leases():
        async with before_commit(world, 2) as commit, commit():
            await overdue(world)
            await read(world.b)
            rows.open()
            await slow
            return past(await read(world.b), 2)


@guards("by script")
async def test_a_process_that_has_not_heard_of_a_bulk_change_reads_nothing_by_its_old_name(
    world: World,
) -> list[str]:
    await settle(world)
    await read(world.b)
    await world.b.idle()
    deaf(world.b)
    async with world.a.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE price SET version = 2"))
        work.changes(Prices)
        await work.commit()
    return past(await read(world.b), 2)


@guards("sent")
async def test_nobody_joins_a_strict_load_that_has_asked_before_he_came(world: World) -> list[str]:
    """The message of the commit between them has not arrived yet."""
    await settle(world)
    await evict(world)
    deaf(world.b)
    rows = hold_rows(world.b)
    slow = world.start(read(world.b))
    await rows.reached()
    await write(world.a, 2)
    reader = world.start(read(world.b))
    await asyncio.sleep(0.05)
    rows.open()
    await slow
    return past(await reader, 2)


async def write(process: Process, version: int) -> None:
    async with process.db.unit_of_work() as work:
        (await work[Prices].require(KEY)).version = version
        await work.commit()


async def read(process: Process) -> int:
    version = (await process.db[Prices].require(KEY)).version
    await process.idle()
    return version


def past(seen: int, committed: int) -> list[str]:
    return (
        []
        if seen >= committed
        else [f"a reader got version {seen} after the commit of {committed}"]
    )


@asynccontextmanager
async def before_commit(
    world: World, version: int, process: Process | None = None
) -> AsyncIterator[Committing]:
    """The process (a) has taken its write lease and not committed yet."""
    process = process or world.a
    gate = process.hold_seal()
    writer = world.start(write(process, version))
    await gate.reached()
    yield Committing(world, version, process, gate)
    gate.open()
    await writer


class Committing:
    """A commit that is held before COMMIT, and then before its publication."""

    def __init__(self, world: World, version: int, process: Process, gate: Gate) -> None:
        self._world = world
        self._version = version
        self._process = process
        self._gate = gate

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """In the block it is committed, and not published."""
        publication = self._process.hold_publication()
        self._gate.open()
        await until(self._is_committed, "COMMIT is done")
        yield
        publication.open()

    async def _is_committed(self) -> bool:
        return await self._world.sql(f"SELECT version FROM price WHERE id = {KEY}") == [
            (str(self._version),)
        ]


def short_leases() -> AbstractContextManager[object]:
    return patch.object(write_through, "WRITE_LEASE", 0.001)


async def evict(world: World) -> None:
    """The value leaves L2."""
    link = world.a.records._link
    for name in await link.call("KEYS", f"{RECORD}:*.*:{TEXT}"):
        await link.call("DEL", name)


async def overdue(world: World) -> None:
    """The write leases are past their deadline, by Redis's clock."""
    link = world.a.records._link

    async def is_overdue() -> bool:
        seconds, microseconds = await link.call("TIME")
        leases: dict[bytes, bytes] = await link.call("HGETALL", f"{RECORD}:W:{TEXT}")
        now = int(seconds) * 1000 + int(microseconds) // 1000
        return all(int(lease.split(b":")[1]) <= now for lease in leases.values())

    await until(is_overdue, "the write leases are past their deadline")


def deaf(process: Process) -> None:
    """No message arrives any more, and nobody notices."""
    process.shared.views.apply = lambda _: None  # type: ignore[method-assign, assignment]


def hold_rows(process: Process) -> Gate:
    items = process.items
    process.items = process.db[Prices]  # type: ignore[assignment]
    gate = process.hold_rows()
    process.items = items
    return gate


async def settle(world: World) -> None:
    """Both processes have met the record, whose floor is known; L2 holds version 1."""
    for process in (world.a, world.b):
        await read(process)
    link = world.a.records._link

    async def known() -> bool:
        return bool(await link.call("HEXISTS", RECORD, "f"))

    await until(known, "the floor is known")
