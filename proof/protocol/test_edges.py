"""A page at an edge, which knows no lease and no floor, is that of the last commit, once all is
quiet; and who has written is never given an older one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest

from proof.protocol import edge_switches
from proof.protocol.conftest import DATABASE
from proof.protocol.guard import guards
from proof.protocol.items import ROWS, SCHEMA
from proof.protocol.kept_edge import KeptEdge, Renderer
from proof.protocol.process import Gate, Process, until
from proof.protocol.world import STILL, World
from repocache.alembic_ops.ddl import create_outbox, create_purges
from repocache.edges.declared import Edges
from repocache.engines.topology_settings import TopologySettings
from repocache.invalidation.outbox import PURGES, TABLE
from repocache.runtime.edges import PurgeQueue
from repocache.testing import Endpoints, Servers

__all__ = ["edge_switches"]

LONG, SHORT = 2.5, 0.3
"""Seconds that a page may be on its way."""
LAGGING = replace(STILL, topology=TopologySettings(sample_every=0.05, max_lag=40.0))
"""The second purge asks how far replicas are."""
TABLES = ";".join([*create_outbox("public", ["app"]), *create_purges("public", ["app"])])
A_MOMENT_LATER = f"UPDATE {PURGES} SET due = clock_timestamp()"


@pytest.fixture(scope="module")
def protocol_database(repocache_servers: Servers) -> Iterator[str]:
    primary = repocache_servers.primary
    primary.drop_database(DATABASE)
    primary.create_database(DATABASE)
    primary.sql(f"{SCHEMA};{TABLES}", DATABASE)
    yield DATABASE
    primary.drop_database(DATABASE)


@pytest.fixture
def repocache_endpoints(repocache_servers: Servers, protocol_database: str) -> Endpoints:
    repocache_servers.primary.sql(f"{ROWS};TRUNCATE {TABLE}, {PURGES}", protocol_database)
    repocache_servers.redis.clear()
    repocache_servers.catch_up()
    return repocache_servers.endpoints(protocol_database)


class Site:
    """`c` writes, `d` renders, both behind the edge."""

    def __init__(self, world: World, edge: KeptEdge, c: Process, d: Process) -> None:
        self.world = world
        self.edge = edge
        self.c = c
        self.d = d
        self.writer = Renderer(c)
        self.renderer = Renderer(d)

    async def on_its_way(self) -> httpx.Response:
        """A page of version 1, looked at and sent."""
        answers: list[httpx.Response] = []

        async def public() -> bool:
            answers.append(await self.renderer.ask())
            return "public" in answers[-1].headers["cache-control"]

        await until(public, "a page may be kept")
        assert answers[-1].text == "1"
        return answers[-1]

    async def purged(self, times: int) -> None:
        await until(lambda: len(self.edge.purges) >= times, f"purged {times} times")

    async def purged_or_over(self, times: int, seconds: float) -> None:
        """Purged so often, or the time is over in which a rule forbids it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.purged(times)

    async def quiet(self) -> list[str]:
        """All has been purged. What the edge has is what it keeps."""

        async def nothing_left() -> bool:
            left = await self.world.sql(f"SELECT count(*) FROM {PURGES}")
            queues = [queue_of(each) for each in (self.c, self.d)]
            return left == [("0",)] and not any(each.soon or each.later for each in queues)

        await until(nothing_left, "all was purged")
        return self.edge.stale(2)

    def writer_dies(self) -> None:
        """What it had in memory reaches nobody."""
        queue = queue_of(self.c)
        queue.soon.clear()
        queue.later.clear()
        queue.after = 0.0  # it takes nothing


def queue_of(process: Process) -> PurgeQueue:
    """What its commits have told the edges, and waits."""
    return process.db._started.purges


async def open_site(world: World, transit: float = SHORT) -> Site:
    edge = KeptEdge()
    edges = Edges(edge, transit=transit)
    c = await world.process("c", settings=LAGGING, edges=edges)
    d = await world.process("d", settings=LAGGING, edges=edges)
    await world.settle()
    return Site(world, edge, c, d)


@guards("look again")
async def test_a_page_that_took_its_time_is_not_kept(world: World) -> list[str]:
    """1. d has read for a page; 2. a commit, and its second purge; 3. the page is sent."""
    site = await open_site(world)
    await site.on_its_way()
    gate = site.renderer.held = Gate("a rendering")
    asked = world.start(site.renderer.ask())
    await gate.reached()
    await site.c.write(2)
    await site.quiet()
    await site.d.heard()
    gate.open()
    await site.edge.arrive(await asked)
    return await site.quiet()


@guards("floor")
async def test_no_page_of_a_lagging_replica_stays(world: World) -> list[str]:
    """1. A commit, and its second purge; 2. d renders, while a replica lags."""
    site = await open_site(world)
    await site.on_its_way()
    await world.stop_replay()
    await site.c.write(2)
    await site.quiet()
    await world.evict()
    await site.edge.arrive(await site.renderer.ask())
    return await site.quiet()


@guards("again")
async def test_a_page_that_arrives_after_the_first_purge_does_not_stay(world: World) -> list[str]:
    """1. A page is on its way; 2. a commit is purged; 3. the page arrives."""
    site = await open_site(world)
    page = await site.on_its_way()
    await site.c.write(2)
    await site.purged(1)
    await site.edge.arrive(page)
    return await site.quiet()


@guards("heard")
async def test_a_page_of_who_has_not_heard_does_not_stay(world: World) -> list[str]:
    """1. A commit is purged, and d does not hear of it; 2. what was on its way has arrived; 3. d
    renders from its L1."""
    site = await open_site(world)
    await site.on_its_way()
    read_on = site.d.stop_reading()
    await site.c.write(2)
    await site.purged_or_over(2, SHORT + 0.5 * LAGGING.link.limits.silence)
    await site.edge.arrive(await site.renderer.ask())
    read_on()
    return await site.quiet()


@guards("arrived")
async def test_a_page_that_is_on_its_way_for_long_does_not_stay(world: World) -> list[str]:
    """1. A page is on its way; 2. a commit is purged, and all have heard; 3. the page arrives."""
    site = await open_site(world, LONG)
    page = await site.on_its_way()
    await site.c.write(2)
    await site.purged_or_over(2, LAGGING.link.limits.silence + 0.5 * LONG)
    await site.edge.arrive(page)
    return await site.quiet()


@guards("edges' outbox")
async def test_what_a_dead_process_has_not_purged_another_does(world: World) -> list[str]:
    """1. An edge has a page; 2. a process dies between COMMIT and purge."""
    site = await open_site(world)
    await site.edge.arrive(await site.on_its_way())
    site.writer_dies()
    await site.c.write(2)
    await world.sql(A_MOMENT_LATER)
    return await site.quiet()


@guards("kept")
async def test_a_row_stays_until_the_second_purge(world: World) -> list[str]:
    """1. A page is on its way; 2. a commit is purged, and its process dies; 3. the page arrives."""
    site = await open_site(world)
    page = await site.on_its_way()
    await site.c.write(2)
    await site.purged(1)
    await site.c.db._started.outbox.purges.flush()
    site.writer_dies()
    await site.edge.arrive(page)
    await world.sql(A_MOMENT_LATER)
    return await site.quiet()


@guards("past")
async def test_who_wrote_asks_past_the_edge_until_then(world: World) -> list[str]:
    """1. A page is on its way; 2. a client writes; 3. the page arrives, after the first purge; 4.
    the client asks for it."""
    site = await open_site(world)
    page = await site.on_its_way()
    posted = await site.writer.ask("POST", "2")
    await site.purged(1)
    await site.edge.arrive(page)
    given = site.edge.kept
    if "repocache-fresh" in posted.cookies:
        given = [int((await site.writer.ask(cookies=cookies_of(posted))).text)]
    return [f"who wrote 2 is given {each}" for each in given if each < 2]


def cookies_of(answer: httpx.Response) -> str:
    return "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
