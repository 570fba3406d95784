"""Servers with a fresh database and an empty Redis, and what fills them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from benchmarks._shop import USERS, Base, plain_engine
from benchmarks._writers import make_outbox
from repocache.testing import Endpoints, Servers
from repocache.testing.topology import fresh_endpoints

Statement = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where an axis is measured."""

    running: Servers
    ends: Endpoints

    async def make_tables(self, kinds: type[Any] = Base) -> None:
        """Those of a mapping's registry, and the outbox."""
        async with plain_engine(self.ends) as engine, engine.begin() as connection:
            await connection.run_sync(kinds.metadata.create_all)
        await make_outbox(self.ends)

    async def add_users(self, first: int, last: int) -> None:
        """Rows of these ids."""
        await self.execute([(USERS, {"first": first, "last": last})])

    async def execute(self, statements: Iterable[Statement]) -> None:
        """All, and then until every replica has them."""
        async with plain_engine(self.ends) as engine:
            async with engine.begin() as connection:
                for statement, values in statements:
                    await connection.execute(text(statement), values)
            async with engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.execute(text("ANALYZE"))
        await asyncio.to_thread(self.running.catch_up)


@contextmanager
def ground(running: Servers) -> Iterator[Ground]:
    with fresh_endpoints(running) as ends:
        yield Ground(running, ends)
