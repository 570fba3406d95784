"""Behind PgBouncer, which gives each transaction another connection: values go with theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import select

from repocache import Settings, TopologySettings
from repocache.testing import Endpoints
from tests.nodes.bouncer import bouncing, find_bouncer
from tests.scopes.papers_of import Paper, Papers, open_papers
from tests.shop import Shop, in_rotation

SETTINGS = Settings(topology=TopologySettings(sample_every=0.05, max_lag=5.0, probe_timeout=5.0))
TITLES = {"a": ["t1", "t2"], "b": ["t3", "t4"]}


@pytest.fixture
def pooled(repocache_endpoints: Endpoints) -> Iterator[Endpoints]:
    program = find_bouncer()
    if program is None:
        pytest.skip("no pgbouncer is installed (Debian's package: pgbouncer)")
    urls = (repocache_endpoints.primary, *repocache_endpoints.replicas)
    with ExitStack() as stack:
        one, *others = [
            stack.enter_context(
                bouncing(program, url, "pool_mode = transaction", "default_pool_size = 2")
            )
            for url in urls
        ]
        yield Endpoints(one, tuple(others), repocache_endpoints.redis)


async def read(shop: Shop, value: str) -> list[str]:
    async with shop.db.scoped(tenant=value):
        papers = shop.db[Papers]
        found = sorted(each.title for each in (await papers.get_many([1, 2, 3, 4])).values())
        with shop.db.bypass():
            assert await papers.titles() == found
        async with shop.db.unit_of_work() as work:
            assert sorted(await work.session.scalars(select(Paper.title))) == found
            await work.commit()
        return found


async def test_values_go_with_their_transactions(pooled: Endpoints) -> None:
    async with open_papers(pooled, SETTINGS) as shop:
        await in_rotation(shop)
        for _ in range(3):
            values = ["ab"[turn % 2] for turn in range(12)]
            found = await asyncio.gather(*(read(shop, value) for value in values))
            assert found == [TITLES[value] for value in values]
            async with shop.db.reading() as session:
                assert list(await session.scalars(select(Paper.title))) == []
            async with shop.db.unit_of_work() as work:
                assert list(await work.session.scalars(select(Paper.title))) == []
