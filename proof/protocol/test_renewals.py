"""Rows past their time: what is read anew behind their readers, and what an invalidation takes away
and keeps aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proof.protocol.guard import guards
from proof.protocol.items import KEY, Item
from proof.protocol.process import Gate, Process, until
from proof.protocol.test_lives import QUICK
from proof.protocol.world import STILL, World, behind
from repocache.cache.entry import RowRequest
from repocache.cache.freshness import Freshness
from repocache.cache.policies import CacheAside
from repocache.errors import DatabaseUnavailable
from repocache.keys import KeyOwner
from repocache.repository.repository import Repository
from repocache.settings import Settings
from repocache.testing.ports import free_port
from tests.tcp_proxy import TcpProxy

STALE, ASIDE = 100.0, 100.0
"""Seconds: Redis is told how long a row has to live, and nobody waits."""
PATIENT = replace(QUICK.topology, probe_timeout=2.0)
BRIEF = replace(QUICK, topology=PATIENT, link=STILL.link, window=3.0)
"""A bookmark of it ends soon. Neither poll nor Redis is given up as soon: a commit whose position
is not known makes the record anew, and nothing of the old one is found."""


class AgedItems(Repository[Item, int]):
    owner = KeyOwner("item")
    policy = CacheAside(
        ttl=300,
        local_ttl=0,
        jitter=0.0,
        freshness=Freshness(stale_while_revalidate=STALE, fail_safe=ASIDE),
    )


@guards("renewal's own lease")
async def test_a_renewal_from_before_an_invalidation_replaces_nothing(world: World) -> list[str]:
    """1. c reads a row anew; 2. it changes; 3. d fills; 4. c's fill."""
    c, d = await two(world)
    rows = await renewing(world, c)
    await d.write(2)
    await filled(d)
    rows.open()
    await c.idle()
    return await world.stale(2)


@guards("renewal's nonce")
async def test_a_voided_renewal_does_not_fill_under_anothers(world: World) -> list[str]:
    """1. c reads a row anew; 2. it changes; 3. d fills, and begins to read it anew; 4. c's fill."""
    c, d = await two(world)
    rows = await renewing(world, c)
    await d.write(2)
    await filled(d)
    await age(world)
    load = d.hold_load()
    await d.get()
    await load.reached()
    rows.open()
    await c.idle()
    found = await world.stale(2)
    load.open()
    await d.idle()
    return found


@guards("taken along")
async def test_an_invalidation_voids_a_renewal(world: World) -> list[str]:
    """1. c reads a row anew; 2. it changes; 3. c's fill."""
    c, d = await two(world)
    rows = await renewing(world, c)
    await d.write(2)
    rows.open()
    await c.idle()
    return await world.stale(2)


@guards("renewal's floor")
async def test_a_row_is_not_read_anew_on_a_lagging_replica(world: World) -> list[str]:
    """1. A commit fills from the primary; 2. the row is past its time."""
    c, d = await two(world)
    await world.stop_replay()
    await d.write(2)
    await filled(c)
    await age(world)
    await c.get()
    await c.idle()
    return await world.stale(2)


@guards("floor of the lease")
async def test_a_renewal_asks_for_what_its_lease_said(world: World) -> list[str]:
    """1. c is given a row past its time, and is about to take a lease; 2. it changes; 3. d fills,
    and the row is past its time again; 4. c takes its lease."""
    c, d = await two(world)
    await filled(c)
    await age(world)
    lease = hold_lease(c)
    await c.get()
    await lease.reached()
    await world.stop_replay()
    await d.write(2)
    await filled(d)
    await age(world)
    lease.open()
    await c.idle()
    return await world.stale(2)


@guards("in place")
async def test_what_has_not_changed_is_not_what_was_given_before(world: World) -> list[str]:
    """The same, and c's source says that what lies there with the lease has not changed."""
    c, d = await two(world)
    await filled(c)
    say_not_changed(c)
    await age(world)
    lease = hold_lease(c)
    await c.get()
    await lease.reached()
    await d.write(2)
    await filled(d)
    await age(world)
    lease.open()
    await c.idle()
    assert await left(world) > STALE + ASIDE
    return await world.stale(2)


@guards("not the writer")
async def test_a_session_is_not_given_what_its_own_write_took_away(world: World) -> list[str]:
    """1. A session writes; 2. the database is away."""
    c, door = await behind_a_door(world)
    async with c.db.causal_session():
        await c.write(2)
        await lose(door)
        found = await given(c)
    await given_to_others(c)
    return found


@guards("as long")
async def test_a_bookmark_lives_as_long_as_what_is_kept_aside(world: World) -> list[str]:
    """1. A process whose bookmarks end soon commits; 2. that time is over; 3. the database is
    away."""
    c, door = await behind_a_door(world, BRIEF)
    bookmark = await c.write(2)
    assert bookmark.position is not None
    over = bookmark.made + BRIEF.window + 0.5
    await until(lambda: c.topology._primary.clock.now() > over, "the time is over")
    await lose(door)
    async with c.db.causal_session(bookmark.encode()):
        found = await given(c)
    await given_to_others(c)
    return found


async def two(world: World) -> tuple[Process, Process]:
    c = await world.process("c", repositories=(AgedItems,))
    d = await world.process("d", repositories=(AgedItems,))
    await world.settle()
    return c, d


async def filled(process: Process) -> None:
    """The row lies in Redis."""
    await process.get()
    await process.idle()


async def age(world: World) -> None:
    """The row in Redis is past its time."""
    milliseconds = int((STALE / 2 + ASIDE) * 1000)
    assert await world.a.records._link.call("PEXPIRE", await world._name(KEY), milliseconds) == 1


async def left(world: World) -> float:
    """Seconds that the row in Redis has to live."""
    milliseconds: int = await world.a.records._link.call("PTTL", await world._name(KEY))
    return milliseconds / 1000


async def renewing(world: World, process: Process) -> Gate:
    """The process was given version 1, past its time, and has read it anew."""
    await filled(process)
    await age(world)
    rows = process.hold_rows()
    assert await process.get() == 1
    await rows.reached()
    return rows


def hold_lease(process: Process) -> Gate:
    """Hold the next load right before it asks for a lease."""
    leases = process.loader._leases
    gate, original = Gate(f"the lease of {process.name}"), leases.open

    async def held(batch: Sequence[Any]) -> Any:
        await gate.hold()
        return await original(batch)

    leases.open = held  # type: ignore[method-assign]
    return gate


def say_not_changed(process: Process) -> None:
    """Its source gives what is kept in place of the same row, as computed values do."""
    loader, source = process.loader, process.loader._source

    async def load(wanted: Sequence[RowRequest]) -> Mapping[Any, Any]:
        found = dict(await source.load(wanted))
        for want in wanted:
            kept, row = want.kept, found[want.id]
            if kept is not None and isinstance(row, tuple) and row[:2] == kept[:2]:
                found[want.id] = kept
        return found

    loader._source = replace(source, load=load)
    loader._conditional = True


async def behind_a_door(world: World, settings: Settings = STILL) -> tuple[Process, TcpProxy]:
    """A process that has filled version 1, and what leads it to the primary."""
    door = await world._stack.enter_async_context(TcpProxy(world.endpoints.primary))
    c = await world.process("c", door.url, settings=settings, repositories=(AgedItems,))
    await world.settle()
    await filled(c)
    return c, door


async def lose(door: TcpProxy) -> None:
    door.lead_to(f"postgresql://127.0.0.1:{free_port()}/x")
    await door.cut()


async def given(process: Process) -> list[str]:
    """What its session is given that has committed version 2."""
    try:
        return behind(await process.get(), 2)
    except DatabaseUnavailable:
        return []


async def given_to_others(process: Process) -> None:
    """It is kept aside, and given to who did not write it."""
    try:
        assert await process.get() == 1
    except DatabaseUnavailable as error:
        raise AssertionError(f"not given: {process.events[-8:]}") from error
