"""Alembic environments on a database of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from repocache.testing import Endpoints

ROOT = Path(__file__).parents[2]
Sql = Callable[[str], list[Any]]
ENVIRONMENT = """
import asyncio
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from repocache.alembic_ops import declare

metadata = MetaData()
Table("users", metadata, Column("id", Integer, primary_key=True), Column("email", Text))
Table("odd name", metadata, Column("Key", Integer, primary_key=True), schema="odd schema")
DECLARED

def run(connection):
    context.configure(connection=connection, target_metadata=metadata, include_schemas=True)
    with context.begin_transaction():
        context.run_migrations()

async def online():
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url"),
        poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

if context.is_offline_mode():
    context.configure(url="postgresql://", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(online())
"""


@pytest.fixture
def sql(repocache_endpoints: Endpoints) -> Sql:
    """Each call is a transaction of a program that knows nothing of the library."""

    async def run(statements: str) -> list[Any]:
        engine = create_async_engine(repocache_endpoints.primary, poolclass=NullPool)
        async with engine.begin() as connection:
            rows: list[Any] = []
            for statement in statements.split(";"):
                result = await connection.execute(text(statement))
                rows = list(result) if result.returns_rows else []
        await engine.dispose()
        return rows

    return lambda statements: asyncio.run(run(statements))


@pytest.fixture
def ours(repocache_endpoints: Endpoints) -> Config:
    """The library's own environment."""
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", repocache_endpoints.primary.replace("%", "%%"))
    return config


@pytest.fixture
def theirs(repocache_endpoints: Endpoints, tmp_path: Path, sql: Sql) -> Callable[[str], Config]:
    """An application's: with this line in its `env.py`, and its two tables in the database
    already."""
    sql('CREATE TABLE users (id int PRIMARY KEY, email text); CREATE SCHEMA "odd schema";'
        'CREATE TABLE "odd schema"."odd name" ("Key" int PRIMARY KEY)')  # fmt: skip
    (tmp_path / "versions").mkdir()
    (tmp_path / "script.py.mako").write_text((ROOT / "migrations" / "script.py.mako").read_text())

    def make(declared: str) -> Config:
        (tmp_path / "env.py").write_text(ENVIRONMENT.replace("DECLARED", declared))
        config = Config()
        config.set_main_option("script_location", str(tmp_path))
        config.set_main_option("sqlalchemy.url", repocache_endpoints.primary.replace("%", "%%"))
        return config

    return make
