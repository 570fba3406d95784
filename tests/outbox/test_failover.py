"""The outbox's own connections, when the primary goes away, restarts, or becomes another server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.errors import CacheUnavailable, CommitOutcomeUnknown, RepocacheError
from repocache.events import HistoryChanged, RelayFailed, TaskFailed
from repocache.invalidation.outbox import TABLE, Mark, Outbox
from repocache.runtime.outbox import RunningOutbox
from repocache.testing import Endpoints, PostgresServer, Servers
from tests.outbox.conftest import Sql, left, until_empty
from tests.shop import Shop, open_shop, until
from tests.tcp_proxy import TcpProxy

NOTICE = f'INSERT INTO {TABLE} (notices) VALUES (\'[{{"k": ["user:7"], "o": []}}]\')'
COUNT = f"SELECT count(*) FROM {TABLE}"


@pytest.fixture
async def sent(repocache_endpoints: Endpoints) -> AsyncIterator[tuple[Shop, TcpProxy]]:
    """A shop whose primary is behind one name."""
    async with TcpProxy(repocache_endpoints.primary) as door:
        ends = Endpoints(door.url, (), repocache_endpoints.redis)
        async with open_shop(ends) as shop:
            yield shop, door


async def until_server_empty(server: PostgresServer, database: str) -> None:
    async def empty() -> bool:
        return await asyncio.to_thread(server.sql, COUNT, database) == [("0",)]

    await until(empty, "its outbox is empty")


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
async def test_relay_and_acknowledgement_outlive_a_restart(
    shop: Shop, sql: Sql, repocache_controls: Servers, repocache_endpoints: Endpoints, crash: bool
) -> None:
    primary = repocache_controls.primary
    assert isinstance(shop.db._started.outbox, RunningOutbox)
    waiting = shop.db._started.outbox._acknowledged._rows
    shop.db._started.outbox.acknowledge([Mark(-1, 0)])
    await until(lambda: not waiting, "a connection of the acknowledgements is in the pool")
    await asyncio.to_thread(primary.kill if crash else primary.stop)
    shop.db._started.outbox.acknowledge([Mark(-2, 0)])
    await until(lambda: bool(shop.seen.of(RelayFailed)), "the relay has seen it")
    await asyncio.to_thread(primary.start)
    database = repocache_endpoints.primary.rpartition("/")[2]
    await asyncio.to_thread(primary.sql, NOTICE, database)
    await until_server_empty(primary, database)

    async def writes() -> bool:
        try:
            await shop.rename(7, "Ada")
        except (RepocacheError, SQLAlchemyError, OSError):
            return False
        return True

    await until(writes, "commits go on")
    await until_server_empty(primary, database)
    assert shop.seen.of(TaskFailed) == []


async def test_a_failover_to_another_server_while_the_old_one_lives_on(
    sent: tuple[Shop, TcpProxy], repocache_controls: Servers, repocache_endpoints: Endpoints
) -> None:
    """The relay must leave the old server, though its connection there is as good as ever."""
    shop, door = sent
    first = repocache_controls.replicas[0]
    database = repocache_endpoints.primary.rpartition("/")[2]
    await asyncio.to_thread(repocache_controls.catch_up)
    await asyncio.to_thread(first.promote)
    door.lead_to(first.url(database=database))
    probe = shop.db._topology._primary.probe._asyncpg
    assert probe is not None
    probe.terminate()
    await until(lambda: bool(shop.seen.of(HistoryChanged)), "the failover is seen")
    await asyncio.to_thread(first.sql, NOTICE, database)
    await until_server_empty(first, database)
    assert shop.seen.of(TaskFailed) == []


async def test_an_address_that_leads_to_a_replica_is_no_primary_of_the_outbox(
    sent: tuple[Shop, TcpProxy], repocache_controls: Servers, repocache_endpoints: Endpoints
) -> None:
    shop, door = sent
    database = repocache_endpoints.primary.rpartition("/")[2]
    door.lead_to(repocache_controls.replicas[0].url(database=database))
    await door.cut()
    await until(
        lambda: any("in recovery" in event.why for event in shop.seen.of(RelayFailed)),
        "it is refused",
    )
    door.lead_to(repocache_endpoints.primary)
    await door.cut()
    await asyncio.to_thread(repocache_controls.primary.sql, NOTICE, database)
    await until_server_empty(repocache_controls.primary, database)


async def test_a_row_that_got_the_same_id_again_is_not_acknowledged(
    sql: Sql, repocache_endpoints: Endpoints
) -> None:
    """1. A commit's row has id 7; it is published, its deletion waits. 2. The primary fails over to
    a replica that has not seen the commit. 3. Another transaction's row gets id 7, its process
    dies. 4. The deletion is sent."""
    await sql(
        f"INSERT INTO {TABLE} (notices, due) VALUES ('[]', to_timestamp(1)), ('[]', "
        "to_timestamp(2.000001))"
    )
    ids = [id for (id,) in await sql(f"SELECT id FROM {TABLE} ORDER BY id")]
    engine = create_async_engine(repocache_endpoints.primary)
    outbox = Outbox(engine, TABLE, ())
    await outbox.acknowledge([Mark(ids[0], 999_999), Mark(ids[1], 2_000_001)])
    assert await sql(f"SELECT id FROM {TABLE}") == [(ids[0],)]
    await engine.dispose()


async def test_a_driver_without_listen_looks_every_moment(
    repocache_endpoints: Endpoints, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler, where nobody hears a NOTIFY."""
    monkeypatch.setattr("repocache.invalidation.outbox.CHANNEL", "elsewhere")
    async with open_shop(repocache_endpoints) as shop:
        await sql(NOTICE)
        await until_empty(sql)
        assert shop.seen.of(TaskFailed) == []
        assert await left(sql) == 0


async def test_a_commit_that_appears_after_its_writer_is_dead(
    sent: tuple[Shop, TcpProxy], sql: Sql, repocache_endpoints: Endpoints
) -> None:
    """1. COMMIT is sent and takes long. 2. The writer dies: nobody knows of the outcome. 3. The
    commit appears."""
    await sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    writer, door = sent
    cutting: list[asyncio.Task[None]] = []
    async with open_shop(repocache_endpoints) as reader:
        await until(lambda: reader.db._started.cache.shared.views.alive, "it hears")
        commits, undelivered = writer.db._started.watch._hooks, writer.db._started.cache.retry
        undelivered.add = lambda batch: None  # type: ignore[method-assign]
        commits._bus.publish = never  # type: ignore[attr-defined]
        asyncio.get_running_loop().call_later(
            0.3, lambda: cutting.append(asyncio.ensure_future(door.cut()))
        )
        with pytest.raises(CommitOutcomeUnknown):
            await writer.rename(7, "late")
        await reader.users.get(7)
        await until(lambda: reader.users._peek(7) is not None, "it has the old row")

        async def right() -> bool:
            return (await reader.users.require(7)).name == "late"

        await until(right, "the commit has appeared everywhere")
        await until_empty(sql)
    await asyncio.gather(*cutting)


async def never(*_: object) -> NoReturn:
    raise CacheUnavailable("the writer is dead")
