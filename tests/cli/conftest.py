"""An application of every kind of owner, on real servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import Database, Settings, TopologySettings
from repocache.alembic_ops.ddl import create_outbox, create_write_behind
from repocache.testing import Endpoints, Servers
from tests.cli.shop_of_all import EVERYTHING, Base
from tests.shop import template

Make = Callable[..., Database]


async def make_shop_of_all(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for statement in (*create_outbox("public", ()), *create_write_behind("public", ())):
            await connection.execute(text(statement.replace(":", "\\:")))
        for n in range(1, 6):
            row = {"n": n, "email": f"{n}@x"}
            await connection.execute(
                text("INSERT INTO authors VALUES (:n, :email, 'hunter2')"), row
            )
            await connection.execute(text("INSERT INTO posts VALUES (:n, 1)"), {"n": n})
    await engine.dispose()


@pytest.fixture
def shop_of_all(repocache_servers: Servers) -> str:
    """The name of a database with its tables."""
    return template(repocache_servers, "shop_of_all_template", make_shop_of_all)


@pytest.fixture
def opened(repocache_servers: Servers, shop_of_all: str) -> Make:
    """Makes databases on a copy of it, each as a process would."""
    servers = repocache_servers
    name = "shop_of_all_copy"
    servers.redis.clear()
    servers.primary.drop_database(name)
    servers.primary.create_database(name, shop_of_all)
    servers.catch_up()
    ends: Endpoints = servers.endpoints(name)

    def make(*secrets: str) -> Database:
        return Database(
            ends.primary,
            replicas=ends.replicas,
            redis=ends.redis,
            repositories=EVERYTHING,
            settings=Settings(secrets=secrets, topology=TopologySettings(sample_every=0.05)),
        )

    return make
