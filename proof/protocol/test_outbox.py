"""What the outbox keeps is delivered, once the process is dead or Redis is back, and never vouches
for too little."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from proof.protocol import outbox_switches
from proof.protocol.conftest import DATABASE
from proof.protocol.guard import guards
from proof.protocol.items import KEY, NEIGHBOUR, ROWS, SCHEMA, Items
from proof.protocol.process import Gate, Process, until
from proof.protocol.world import World, behind
from repocache.alembic_ops.ddl import create_outbox, create_trigger
from repocache.events import RelayFailed
from repocache.invalidation.outbox import TABLE, Mark
from repocache.runtime.outbox import RunningOutbox
from repocache.testing import Endpoints, Servers

__all__ = ["outbox_switches"]

OUTBOX = ";".join(
    [*create_outbox("public", ["app"]), *create_trigger("item", "public", "public", ())]
)
A_MOMENT_LATER = f"UPDATE {TABLE} SET due = clock_timestamp()"


@pytest.fixture(scope="module")
def protocol_database(repocache_servers: Servers) -> Iterator[str]:
    primary = repocache_servers.primary
    primary.drop_database(DATABASE)
    primary.create_database(DATABASE)
    primary.sql(f"{SCHEMA};{OUTBOX}", DATABASE)
    yield DATABASE
    primary.drop_database(DATABASE)


@pytest.fixture
def repocache_endpoints(repocache_servers: Servers, protocol_database: str) -> Endpoints:
    repocache_servers.primary.sql(
        f"ALTER TABLE item ENABLE TRIGGER USER;{ROWS};TRUNCATE {TABLE}", protocol_database
    )
    repocache_servers.redis.clear()
    repocache_servers.catch_up()
    return repocache_servers.endpoints(protocol_database)


def outbox_of(process: Process) -> RunningOutbox:
    outbox = process.db._started.outbox
    assert isinstance(outbox, RunningOutbox)
    return outbox


async def until_empty(world: World) -> None:
    async def empty() -> bool:
        return await world.sql(f"SELECT count(*) FROM {TABLE}") == [("0",)]

    await until(empty, "the outbox is empty")


async def cached(world: World) -> None:
    await world.b.get()
    await world.b.idle()


async def writer_dies(world: World) -> list[str]:
    """`a` is dead between COMMIT and publication: what it had in memory reaches nobody. No trigger
    helps."""
    await world.sql("ALTER TABLE item DISABLE TRIGGER USER")
    await cached(world)
    world.a.stop_publishing()
    world.a.db._started.cache.retry.add = lambda batch: None  # type: ignore[method-assign]
    await world.a.write(2)
    await outbox_of(world.a)._acknowledged.flush()
    await world.sql(A_MOMENT_LATER)
    await until_empty(world)
    return await world.stale(2)


@guards("outbox")
async def test_a_commit_whose_process_dies_is_published_by_another(world: World) -> list[str]:
    return await writer_dies(world)


@guards("acknowledged")
async def test_a_row_stays_until_its_publication_is_answered(world: World) -> list[str]:
    return await writer_dies(world)


@guards("whose row")
async def test_an_acknowledgement_deletes_no_row_that_got_its_id_again(world: World) -> list[str]:
    """1. A commit is published, its acknowledgement waits. 2. The primary fails over to a replica
    that has not seen the commit. 3. Another transaction gets the same id, and its process dies. 4.
    The acknowledgement is sent."""
    marks: list[Mark] = []
    acknowledged = outbox_of(world.a)._acknowledged
    acknowledged.add = marks.extend  # type: ignore[method-assign, assignment]
    await world.a.write(2)
    await cached(world)
    await world.sql(
        f"SET session_replication_role = replica; DELETE FROM {TABLE};"
        f"UPDATE item SET version = 3 WHERE id = {KEY};"
        f"INSERT INTO {TABLE} (id, notices, due) OVERRIDING SYSTEM VALUE"
        f' VALUES ({marks[0].id}, \'[{{"k": ["item:{KEY}"], "o": []}}]\', now() + interval \'1 '
        "hour')"
    )
    acknowledged._rows.extend(marks)
    await acknowledged.flush()
    await world.sql(A_MOMENT_LATER)
    await until_empty(world)
    return await world.stale(3)


@guards("noticed")
async def test_a_session_sees_what_its_textual_sql_wrote(world: World) -> list[str]:
    """Its trigger noticed, and the commit publishes that with the rest before it returns."""
    await world.a.get()
    await world.a.idle()
    async with world.a.db.causal_session(), world.a.db.unit_of_work() as work:
        (await work[Items].require(NEIGHBOUR)).version = 2
        await work.session.execute(text(f"UPDATE item SET version = 2 WHERE id = {KEY}"))
        await work.commit()
    return behind(await world.a.get(), 2)


@guards("relayed")
async def test_a_row_stays_until_the_relay_has_delivered_it(world: World) -> list[str]:
    await cached(world)
    again = [world.a.stop_publishing(), world.b.stop_publishing()]
    await world.sql(f"UPDATE item SET version = 2 WHERE id = {KEY}")

    async def tried() -> bool:
        failed = any(isinstance(event, RelayFailed) for event in [*world.a.events, *world.b.events])
        return failed or await world.sql(f"SELECT count(*) FROM {TABLE}") == [("0",)]

    await until(tried, "a relay has tried")
    for publish in again:
        publish()
    await until_empty(world)
    return await world.stale(2)


@guards("relay position")
async def test_the_relays_position_covers_the_rows_that_it_read(world: World) -> list[str]:
    """1. A relay begins a turn. 2. Another program commits a write. 3. The relay reads its notice,
    and publishes."""
    await world.settle()
    gates = [hold_take(world.a), hold_take(world.b)]
    for gate in gates:
        await gate.reached()
    await world.catch_up()
    await world.stop_replay()
    await world.sql(f"UPDATE item SET version = 2 WHERE id = {KEY}")
    for gate in gates:
        gate.open()
    await until_empty(world)
    await cached(world)
    return await world.stale(2)


def hold_take(process: Process) -> Gate:
    """Hold the relay's next turn right before it reads rows."""
    outbox = outbox_of(process).relay._outbox
    gate, original = Gate(f"the rows of the relay of {process.name}"), outbox.take

    async def take(*arguments: object) -> object:
        await gate.hold()
        return await original(*arguments)  # type: ignore[arg-type]

    outbox.take = take  # type: ignore[method-assign, assignment]
    return gate
