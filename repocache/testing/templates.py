"""A database with the application's own tables, made once, which tests get copies of."""

import asyncio
import inspect
import secrets
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateSchema

from repocache.testing.postgres import MAINTENANCE
from repocache.testing.topology import Servers

MakeTables = Callable[[str], Awaitable[None] | None]
"""Fills the empty database at this URL, of asyncpg and the role `app`: plain or async."""


@contextmanager
def template_database(servers: Servers, tables: MetaData | MakeTables) -> Iterator[str]:
    """The name of a new database with these tables; dropped at the end. Blocks.

    `tables`: your metadata, whose schemas are made too, or a function of a URL, as
    `lambda url: upgrade(url)` for migrations and rows. It runs in a thread, and may use
    `asyncio.run`. Raises ServerError, and what `tables` raises.
    """
    primary, name = servers.primary, f"repocache_template_{secrets.token_hex(6)}"
    primary.create_database(name)
    try:
        with ThreadPoolExecutor(1) as thread:  # the caller's may have a loop
            thread.submit(_make, tables, primary.url(database=name)).result()
        # Nobody may be connected to a database that is copied.
        primary.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "  # noqa: S608  # ours
            f"datname = '{name}' AND backend_type = 'client backend'",
            MAINTENANCE,
        )
        yield name
    finally:
        primary.drop_database(name)


def _make(tables: MetaData | MakeTables, url: str) -> None:
    made = _create_all(tables, url) if isinstance(tables, MetaData) else tables(url)
    if inspect.isawaitable(made):
        asyncio.run(_awaited(made))


async def _awaited(made: Awaitable[None]) -> None:
    await made


async def _create_all(metadata: MetaData, url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for schema in {table.schema for table in metadata.tables.values()} - {None}:
            await connection.execute(CreateSchema(str(schema), if_not_exists=True))
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
