"""When a commit is published and with which position: never before COMMIT, never with one from
before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select, text, update

from proof.protocol.guard import guards
from proof.protocol.items import KEY, NEIGHBOUR, Item, Items
from proof.protocol.process import until
from proof.protocol.world import World
from repocache.database import Database
from repocache.errors import CommitOutcomeUnknown, TransactionRefused
from repocache.testing.postgres import PostgresServer
from tests.tcp_proxy import TcpProxy


@guards("postcommit")
async def test_the_floor_is_not_below_the_commit_record(world: World) -> list[str]:
    """The replica has replayed what the transaction wrote, up to right before its commit record."""
    await world.settle()
    gate = world.a.hold_seal()
    writer = world.start(world.a.write(2))
    await gate.reached()
    await world.catch_up()
    await world.stop_replay()
    gate.open()
    await writer
    await world.b.get()
    await world.b.idle()
    return await world.stale(2)


@guards("outermost")
async def test_a_session_in_an_outer_transaction_publishes_after_the_outer_commit(
    world: World,
) -> list[str]:
    """Between the two commits a reader fills what is still the truth; the second must invalidate
    it."""
    async with world.a.topology.write_engine.connect() as connection:
        outer = await connection.begin()
        async with world.a.db.sessionmaker(
            bind=connection, join_transaction_mode="rollback_only"
        ) as session:
            await session.execute(update(Item).where(Item.id == KEY).values(version=2))
            await session.commit()
        await world.b.get()
        await world.b.idle()
        assert await world.in_l2() == 1
        await outer.commit()
    return await world.stale(2)


@guards("autocommit")
async def test_no_statement_commits_by_itself_unseen(world: World) -> list[str]:
    await world.b.get()
    await world.b.idle()
    engine = world.a.topology.write_engine
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(update(Item).where(Item.id == KEY).values(version=2))
            await connection.rollback()
    except TransactionRefused:
        await world.a.write(2)
    return await world.stale(2)


@guards("published again")
async def test_a_commit_that_appears_after_its_connection_was_lost_is_published_again(
    world: World,
) -> list[str]:
    """COMMIT waits for a replica that does not replay; meanwhile nobody sees it, and its client
    loses the socket."""
    servers = (world.servers.primary, *world.servers.replicas)
    await world.settle()
    async with TcpProxy(world.endpoints.primary) as proxy:
        writer = await world.process("writer", proxy.url)
        try:
            await on_each(
                servers[:1],
                "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()",
            )
            await on_each(servers[1:], "SELECT pg_wal_replay_pause()")
            committing = world.start(_commit_for_replicas_to_see(writer.db))
            await until(lambda: _waits_for_replicas(world), "COMMIT waits for a replica")
            await proxy.cut()
            with pytest.raises(CommitOutcomeUnknown):
                await committing
            await world.b.get()
            await world.b.idle()
            assert await world.in_l2() == 1, "nobody sees the commit yet"
        finally:
            await on_each(servers[1:], "SELECT pg_wal_replay_resume()")
            await on_each(
                servers[:1], "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()"
            )
        await until(lambda: _is_committed(world), "the commit has appeared")
        await writer.delivered()
        return await world.stale(2)


async def on_each(servers: Sequence[PostgresServer], script: str) -> None:
    for server in servers:
        await asyncio.to_thread(server.sql, script, "postgres")


async def _commit_for_replicas_to_see(writer: Database) -> None:
    async with writer.unit_of_work() as work:
        await work.session.execute(text("SET LOCAL synchronous_commit = remote_apply"))
        item = await work[Items].require(KEY)
        item.version = 2
        await work.commit()


async def _waits_for_replicas(world: World) -> bool:
    return bool(await world.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))


async def _is_committed(world: World) -> bool:
    return await world.sql(f"SELECT version FROM item WHERE id = {KEY}") == [("2",)]


@guards("as locked")
async def test_a_bulk_update_invalidates_the_rows_that_it_locked(world: World) -> list[str]:
    """1. A unit of work loads the rows of a condition; 2. another commit makes one more row fit it;
    3. UPDATE."""
    await world.a.write(5)
    async with world.a.db.unit_of_work() as work:
        loaded = (await work.session.scalars(select(Item).where(Item.version == 5))).all()
        assert [item.id for item in loaded] == [KEY]
        await world.b.write(5, NEIGHBOUR)
        for id in (KEY, NEIGHBOUR):
            await world.b.get(id)
        await world.b.idle()
        await work.session.execute(update(Item).where(Item.version == 5).values(version=6))
        await work.commit()
    return await world.stale(6) + await world.stale(6, NEIGHBOUR)
