"""A database with one row, and what is seen of the topology over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.events import Event
from repocache.nodes.reading import NodeRead
from repocache.nodes.selection import ANYTHING, ReadRequirement
from repocache.nodes.topology import Topology
from repocache.nodes.wal import PrimaryPosition
from repocache.testing import Endpoints, Servers

E = TypeVar("E", bound=Event)
QUICK = TopologySettings(sample_every=0.02, probe_timeout=0.5, max_lag=5.0, connect_timeout=1.0)
STILL = TopologySettings(sample_every=600.0, max_lag=6000.0)
"""Nothing is polled unless somebody asks: what a stale sample would do can be seen."""


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = 30
) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s in vain until {what}") from None


@dataclass
class Watched:
    """A topology with all of its events."""

    topology: Topology
    events: list[Event] = field(default_factory=list)

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def write(self, value: int) -> PrimaryPosition:
        """Set the row's value; the position after the commit."""
        async with self.topology.write_engine.begin() as connection:
            await connection.execute(text("UPDATE item SET value = :value"), {"value": value})
        position = await self.topology.position()
        assert position is not None
        return position

    async def read(self, need: ReadRequirement = ANYTHING) -> NodeRead[int]:
        return await self.topology.read(need, value_of)

    def out(self, name: str) -> str:
        (status,) = [node for node in self.topology.nodes if node.name == name]
        return status.out

    async def all_in(self) -> None:
        await until(
            lambda: not any(node.out for node in self.topology.nodes),
            "all nodes are in the rotation",
        )


async def value_of(connection: AsyncConnection) -> int:
    value: int = (await connection.execute(text("SELECT value FROM item"))).scalar_one()
    return value


def needed(position: PrimaryPosition) -> ReadRequirement:
    return ReadRequirement(position.history, position.flush)


@pytest.fixture
def database(repocache_endpoints: Endpoints) -> str:
    return repocache_endpoints.primary.rpartition("/")[2]


@pytest.fixture
def item(repocache_servers: Servers, database: str) -> None:
    """A table with one row of the value 0, on all servers."""
    repocache_servers.primary.sql(
        "CREATE TABLE item (id int PRIMARY KEY, value int); INSERT INTO item VALUES (1, 0);"
        "ALTER TABLE item OWNER TO app",
        database,
    )
    repocache_servers.catch_up()


@asynccontextmanager
async def watching(
    primary: str, replicas: tuple[str, ...] | list[Replica], settings: TopologySettings = QUICK
) -> AsyncIterator[Watched]:
    events: list[Event] = []
    async with Topology(primary, replicas, settings, events.append) as topology:
        yield Watched(topology, events)
