"""Servers as an operator would wish them, and an application that uses all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import Database, Settings, TopologySettings
from repocache.alembic_ops.ddl import (
    create_outbox,
    create_purges,
    create_trigger,
    create_write_behind,
)
from repocache.doctor.examination import findings_of, gather
from repocache.doctor.finding import Finding, Severity
from repocache.doctor.setup import SetupFacts
from repocache.edges.declared import Edges
from repocache.testing import Endpoints, Layout, Servers, embedded_servers
from repocache.testing.given import are_given
from repocache.testing.topology import fresh_endpoints
from tests.cli.shop_of_all import EVERYTHING, Base
from tests.shop import template

TABLES = {"authors": ("id",), "posts": ("id",), "hits": ("id",)}


LAYOUT = Layout(
    postgres={"hot_standby_feedback": "on", "max_standby_streaming_delay": "4s"},
    redis=("maxmemory 256mb", "maxmemory-policy noeviction", "appendonly yes"),
)


@pytest.fixture(scope="session")
def well_servers() -> Iterator[Servers]:
    """Their own: those of the whole run have no such settings."""
    if are_given(os.environ):
        pytest.skip("servers that are given have settings of their own")
    with embedded_servers(LAYOUT) as servers:
        yield servers


async def make(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        statements = [
            *create_outbox("public", ()),
            *create_purges("public", ()),
            *create_write_behind("public", ()),
        ]
        for table, ids in TABLES.items():
            statements += create_trigger(table, "public", "public", ids)
        for statement in statements:
            await connection.execute(text(statement.replace(":", "\\:")))
    await engine.dispose()


@dataclass
class Ground:
    """One set-up."""

    servers: Servers
    ends: Endpoints
    settings: Settings = field(
        default_factory=lambda: Settings(
            secrets=("a" * 32,), topology=TopologySettings(sample_every=0.05)
        )
    )
    repositories: Any = EVERYTHING
    edges: Edges | None = None

    @property
    def database(self) -> str:
        return self.ends.primary.rpartition("/")[2]

    def sql(self, script: str) -> Any:
        """As the superuser, in the application's database."""
        return self.servers.primary.sql(script, self.database)

    def redis(self, *words: str | int) -> Any:
        return self.servers.redis.command(*words)

    def at(self, **changed: Any) -> None:
        """Other addresses."""
        self.ends = replace(self.ends, **changed)

    async def setup(
        self, *, processes: int = 1, clock: Callable[[], float] = time.time
    ) -> SetupFacts:
        db = Database(
            self.ends.primary,
            replicas=self.ends.replicas,
            redis=self.ends.redis or None,
            repositories=self.repositories,
            settings=self.settings,
            edges=self.edges,
        )
        return await gather(db.plan, db.unguarded, processes=processes, clock=clock)

    async def findings(self, **how: Any) -> tuple[Finding, ...]:
        return findings_of(await self.setup(**how))

    async def found(self, **how: Any) -> dict[str, Severity]:
        return {each.what: each.severity for each in await self.findings(**how)}


@pytest.fixture
def ground(well_servers: Servers) -> Iterator[Ground]:
    name = template(well_servers, "well_template", make)
    with fresh_endpoints(well_servers, name) as ends:
        yield Ground(well_servers, ends)
