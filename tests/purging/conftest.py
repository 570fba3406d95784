"""A catalogue whose database has an outbox and a table of purges, behind an edge that is played by
its documentation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from repocache import Settings
from repocache.alembic_ops.ddl import create_outbox, create_purges
from repocache.edges.declared import Edges
from repocache.edges.fastly import Fastly
from repocache.testing import Endpoints, Servers
from tests.edges.playing import SERVICE, TOKEN, Playing
from tests.edges.speaking import speaking
from tests.responses.catalog import REPOSITORIES, make_catalog
from tests.shop import QUICK, Shop, in_rotation, open_shop, template

Sql = Callable[..., Awaitable[list[Any]]]
TRANSIT = 0.3


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "purging_template", make_purging)


async def make_purging(url: str) -> None:
    await make_catalog(url)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in (*create_outbox("public", ()), *create_purges("public", ())):
            await connection.execute(text(statement))
    await engine.dispose()


@dataclass
class PlayedEdge:
    """`url`: of its API."""

    url: str
    playing: Playing = field(default_factory=Playing)

    @property
    def edges(self) -> Edges:
        return Edges(Fastly(SERVICE, TOKEN, url=self.url), app="shop", transit=TRANSIT)

    def times(self, tag: str) -> int:
        """How often it has purged this tag."""
        return sum(f"shop.{tag}" in names for names in self.playing.purged)

    @property
    def names(self) -> set[str]:
        return {name.removeprefix("shop.") for names in self.playing.purged for name in names}


@asynccontextmanager
async def playing_edge() -> AsyncIterator[PlayedEdge]:
    playing = Playing()
    async with speaking(playing.fastly) as server:
        yield PlayedEdge(server.url, playing)


@pytest.fixture
async def edge() -> AsyncIterator[PlayedEdge]:
    async with playing_edge() as edge:
        yield edge


@asynccontextmanager
async def behind(
    ends: Endpoints, edge: PlayedEdge, settings: Settings | None = None
) -> AsyncIterator[Shop]:
    """A database whose commits purge this edge, all its nodes in the rotation."""
    given = settings or Settings(topology=QUICK)
    repositories: Any = REPOSITORIES
    async with open_shop(ends, given, repositories, edges=edge.edges) as shop:
        await in_rotation(shop)
        yield shop


@pytest.fixture
async def shop(repocache_endpoints: Endpoints, edge: PlayedEdge) -> AsyncIterator[Shop]:
    async with behind(repocache_endpoints, edge) as shop:
        yield shop


@pytest.fixture
async def engine(repocache_endpoints: Endpoints) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(repocache_endpoints.primary)
    yield engine
    await engine.dispose()


@pytest.fixture
def sql(engine: AsyncEngine) -> Sql:
    """Another program's SQL, each call a transaction."""

    async def run(statement: str) -> list[Any]:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return list(result) if result.returns_rows else []

    return run


async def rows_left(sql: Sql) -> int:
    """Of what edges have still to purge."""
    [(left,)] = await sql("SELECT count(*) FROM repocache_purges")
    return int(left)
