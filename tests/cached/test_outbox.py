"""A process that dies between COMMIT and publication: the relay tells the tags that it would have
told, and all of the table where a select is of a form that it did not know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.alembic_ops.ddl import create_outbox
from repocache.publication.publisher import CommitPublisher
from repocache.testing import Endpoints
from repocache.transactions.unit_of_work import NOT_PUBLISHED
from tests.cached.library import Books, open_library
from tests.cached.test_cached import rename, settled, statements
from tests.shop import Shop, until


@pytest.fixture
async def library(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        for statement in create_outbox("public", ()):
            await connection.execute(text(statement))
    await engine.dispose()
    async with open_library(repocache_endpoints) as shop:
        assert shop.db.is_durable
        yield shop


@pytest.mark.parametrize("knows", [True, False], ids=["knows the select", "does not"])
async def test_what_nobody_published_is_told_by_the_relay(
    library: Shop, other: Shop, monkeypatch: pytest.MonkeyPatch, knows: bool
) -> None:
    async def dies(self: Any, transaction: Any, outcome: Any) -> None:
        transaction.bookmark = NOT_PUBLISHED

    for author in (1, 2):
        await settled(other, lambda author=author: other.db[Books].of(author))
    if knows:
        await settled(library, lambda: library.db[Books].of(1))
    with monkeypatch.context() as dead:
        dead.setattr(CommitPublisher, "committed", dies)
        await rename(library, 11, "z1")

    async def is_new() -> bool:
        return await other.db[Books].of(1) == ["b1", "z1"]

    await until(is_new, "the relay has told it")
    before = statements(other)
    assert await other.db[Books].of(2) == ["a2", "b2"]
    assert statements(other) == before + (not knows)
