"""A failover that leaves the old primary alive: who knows of a newer timeline takes nothing from
the older one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from proof.protocol import test_strict, test_write_through
from proof.protocol.guard import guards
from proof.protocol.items import KEY, Items, Stocks
from proof.protocol.process import Process, until
from proof.protocol.test_liveness import at_the_primary
from proof.protocol.test_strict import deaf, past
from proof.protocol.world import STILL, World, behind
from repocache.errors import DatabaseUnavailable, RepocacheError
from repocache.invalidation.feed import ChangedAll, Feed
from repocache.keys import bucket_of
from repocache.records import Namespace
from repocache.testing import Endpoints, Servers
from tests.tcp_proxy import TcpProxy

TWO = "survived_servers"
"""A primary of timeline 1, and one of timeline 2 that was its replica."""
FOREIGN = 7
"""A version that is committed on the old primary only."""


@pytest.fixture
def repocache_endpoints(survived_servers: Servers) -> Endpoints:
    primary = survived_servers.primary.url()
    return Endpoints(primary=primary, replicas=(), redis=survived_servers.redis.url)


@dataclass(frozen=True, slots=True)
class Moving:
    """`old` reaches the primary by `name`, which may lead on to the new one; its connections stay
    where they are. `new` has begun after the failover."""

    old: Process
    new: Process
    name: TcpProxy
    new_url: str

    def move(self) -> None:
        """The name leads to the new primary from now on."""
        self.name.lead_to(self.new_url)

    async def notice(self) -> None:
        """The old process's probe has lost its connection, and finds the new primary."""
        self.move()
        await self.old.topology._primary.probe.drop()
        await until(self._has_noticed, "the old process has noticed the failover")

    async def _has_noticed(self) -> bool:
        polled = await self.old.topology.position()
        return polled is not None and polled.history == self.new.topology.history


@asynccontextmanager
async def moving(world: World) -> AsyncIterator[Moving]:
    new_url = world.servers.replicas[0].url()
    async with TcpProxy(world.endpoints.primary) as name:
        old = await world.process("old", name.url)
        new = await world.process("new", new_url)
        assert timeline(new) == timeline(old) + 1
        yield Moving(old, new, name, new_url)


def timeline(process: Process) -> int:
    return int(process.topology.history.split(".")[1])


@guards("newer timeline", on=TWO)
async def test_a_bookmark_of_a_newer_timeline_leads_to_the_new_primary(world: World) -> list[str]:
    """1. A process stays with the old primary, by its open connections; 2. a session commits at the
    new one; 3. and reads at the process."""
    async with moving(world) as both:
        both.move()
        bookmark = await both.new.write(2)
        text_of_it = bookmark.encode()
        found = behind(await both.old.find_behind(text_of_it), 2)
        return found + behind(await both.old.get_behind(text_of_it), 2)


@guards("newer timeline", on=TWO)
async def test_a_session_of_a_newer_timeline_does_not_write_on_the_old_primary(
    world: World,
) -> list[str]:
    """1. A process stays with the old primary; 2. a session commits at the new one; 3. and has a
    unit of work at the process, which reads and commits."""
    async with moving(world) as both:
        await both.old.write(1)  # the connection is there
        both.move()
        bookmark = await both.new.write(2)
        with suppress(RepocacheError, DBAPIError):
            async with both.old.db.causal_session(bookmark), both.old.db.unit_of_work() as work:
                item = await work[Items].require(KEY)
                found = behind(item.version, 2)
                item.version = FOREIGN
                await work.commit()
            [(version,)] = await world.sql(f"SELECT version FROM item WHERE id = {KEY}")
            return found + (["a commit went to the old primary"] if version == str(FOREIGN) else [])
    return []


@guards("newer timeline", on=TWO)
async def test_a_message_of_a_newer_timeline_leads_to_the_new_primary(world: World) -> list[str]:
    """1. A process stays with the old primary; 2. it hears of a commit at the new one; 3. it polls
    its primary; 4. and reads."""
    async with moving(world) as both:
        both.move()
        await both.new.write(2)
        await both.old.heard()
        await both.old.topology.position()
        seen = await both.old.find()
        late = f"a reader got version {seen}, long after its process heard of 2"
        return [] if seen == 2 else [late]


@guards("newer timeline", on=TWO)
async def test_a_record_of_a_newer_timeline_keeps_strict_readers_from_the_old_primary(
    world: World,
) -> list[str]:
    """1. A process stays with the old primary, and its channel tells it nothing; 2. a commit of a
    strict row at the new one; 3. the process reads it."""
    async with moving(world) as both:
        await test_strict.read(both.old)
        deaf(both.old)
        both.move()
        await test_strict.write(both.new, 2)
        return past(await test_strict.read(both.old), 2)


@guards("newer timeline", on=TWO)
async def test_no_node_of_an_older_timeline_answers_a_session_of_a_newer_one(
    world: World,
) -> list[str]:
    """The address of the primary still leads to the old one: there is nobody who may answer."""
    new = await world.process("new", world.servers.replicas[0].url())
    bookmark = await new.write(2)
    found: list[str] = []
    for read in (world.a.find_behind, world.a.get_behind):
        with suppress(DatabaseUnavailable):
            found += behind(await read(bookmark), 2)
    return found


@guards("newer timeline", on=TWO)
async def test_no_node_of_an_older_timeline_answers_a_strict_reader(world: World) -> list[str]:
    new = await world.process("new", world.servers.replicas[0].url())
    await test_strict.write(new, 2)
    with suppress(DatabaseUnavailable):
        return past(await test_strict.read(world.a), 2)
    return []


@guards("feed history", on=TWO)
async def test_a_feed_does_not_leave_its_reader_with_a_lost_commit(world: World) -> list[str]:
    """1. A commit, which the new primary never had, is in the process's caches; 2. a message from
    after the failover arrives, of another owner, and the feed says that all may have changed; 3.
    its reader rebuilds what it keeps; 4. only now does the process itself notice the failover, and
    find the new primary."""
    async with moving(world) as both, both.old.db.invalidations(Items) as changes:
        await both.old.write(FOREIGN)
        kept = await rebuilt(changes, both.old, None)
        assert kept == FOREIGN
        await test_write_through.write(both.new, 2)
        await both.old.heard()
        kept = await rebuilt(changes, both.old, kept)
        await both.notice()
        kept = await rebuilt(changes, both.old, kept)
        return [] if kept == 1 else [f"a feed's reader is left with version {kept}, which was lost"]


async def rebuilt(changes: Feed[int], process: Process, kept: int | None) -> int | None:
    """What a reader of the feed keeps of the row, when it has read all that the feed has to tell.
    None: nothing, it has to try again."""
    while changes._waiting or kept is None:
        again = ChangedAll("again", at_the_primary(process))
        change = await anext(changes) if changes._waiting else again
        try:
            kept = await process.get_behind(change.bookmark)
        except DatabaseUnavailable:
            return None
        await process.idle()
    return kept


@guards("sealed history", on=TWO)
async def test_a_transaction_on_the_old_primary_stores_nothing_once_the_new_one_is_known(
    world: World,
) -> list[str]:
    """1. A transaction is open on the old primary; 2. the process finds the new one; 3. and learns
    of a record in a message; 4. the transaction writes a row under write-through, and commits."""
    await outrun(world)
    async with moving(world) as both:
        with suppress(RepocacheError, DBAPIError):
            async with both.old.db.unit_of_work() as work:
                stock = await work[Stocks].require(KEY)
                await both.notice()
                await change_all(both.new)
                await both.old.heard()
                stock.version = FOREIGN
                await work.commit()
        await both.old.delivered()
        return await foreign(world)


async def outrun(world: World) -> None:
    """The old primary has written more WAL than the new one ever will: positions alone would vouch
    for it."""
    await world.sql("SELECT pg_logical_emit_message(true, '', ''); SELECT pg_switch_wal();" * 4)


async def change_all(process: Process) -> None:
    """Its message names the owner's new generation. The record's floor is known then, so puts may
    land."""
    async with process.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE stock SET version = 2"))
        work.changes(Stocks)
        await work.commit()
    await process.delivered()
    await process.db[Stocks].require(KEY)
    record = Namespace(STILL.app).record(bucket_of(test_write_through.TEXT))

    async def known() -> bool:
        return bool(await process.records._link.call("HEXISTS", record, "f"))

    await until(known, "the floor is known")


async def foreign(world: World) -> list[str]:
    stored = await test_write_through.in_l2(world)
    if stored is None or stored.version != FOREIGN:
        return []
    return [f"L2 holds version {FOREIGN}, which the new primary's database never had"]
