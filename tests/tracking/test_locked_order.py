"""In which order a question locks rows: that of their keys, as Python compares them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import CHAR, Column, Enum, Integer, MetaData, String, Table, Text, insert
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.types import TypeEngine

from repocache.testing import Endpoints
from repocache.tracking.locked import _question

# SQLAlchemy's own, of its DOMAIN.
pytestmark = pytest.mark.filterwarnings("ignore:Type object .*DOMAIN")


@pytest.fixture
async def connection(repocache_endpoints: Endpoints) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


@pytest.mark.parametrize(
    "kind", [String(), DOMAIN("word", Text()), DOMAIN("outer", DOMAIN("inner", CHAR(1)))], ids=repr
)
def test_texts_are_locked_by_their_characters(kind: TypeEngine[Any]) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    question = _question([table_of(kind).c.id], [], dialect)
    assert str(question.compile(dialect=dialect)).endswith(
        'ORDER BY thing.id COLLATE "C" FOR NO KEY UPDATE'
    )


@pytest.mark.parametrize(
    "kind, values",
    [(Enum("b", "a", name="letter"), ["b", "a"]), (DOMAIN("number", Integer()), [1, 2])],
    ids=repr,
)
async def test_what_has_no_collation_is_given_none(
    connection: AsyncConnection, kind: TypeEngine[Any], values: list[Any]
) -> None:
    assert await locked(connection, kind, values) == values


async def locked(
    connection: AsyncConnection, kind: TypeEngine[Any], values: list[Any]
) -> list[Any]:
    """The keys in the order of the question."""
    table = table_of(kind)
    await connection.run_sync(table.metadata.create_all)
    await connection.execute(insert(table), [{"id": each} for each in reversed(values)])
    question = _question([table.c.id], [], connection.dialect)
    return list(await connection.scalars(question, {"ids": values}))


def table_of(kind: TypeEngine[Any]) -> Table:
    return Table("thing", MetaData(), Column("id", kind, primary_key=True))
