"""Whatever tenants read and write, in whatever order, by whichever process: nobody is given what is
another's, and nobody misses what it wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from repocache import CacheAside, KeyOwner, Lookup, Repository, WriteThrough
from repocache.testing import Endpoints, Servers
from tests.scopes.papers_of import Paper, Papers, open_papers, tenant
from tests.shop import Shop

IDS = (1, 2, 3, 4, 5)


class Stored(Repository[Paper, int]):
    owner = KeyOwner("paper", scope=tenant)
    policy = WriteThrough(ttl=300, local_ttl=60, negative_ttl=30)
    by_slug = Lookup(Paper.slug)


class Shared(Repository[Paper, int]):
    """No L1."""

    owner = KeyOwner("paper", scope=tenant)
    policy = CacheAside(ttl=300, local_ttl=0, negative_ttl=30)
    by_slug = Lookup(Paper.slug)


AnyPapers = type[Papers] | type[Stored] | type[Shared]
POLICIES: dict[str, AnyPapers] = {"both tiers": Papers, "write-through": Stored, "L2": Shared}


class Step(NamedTuple):
    """`what`: "get", "many", "slug", "list", "title", "add" or "delete"; `process`: 0 or 1."""

    what: str
    process: int
    value: str
    id: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["get", "many", "slug", "list", "title", "add", "delete"]),
        st.integers(0, 1),
        st.sampled_from(["a", "b"]),
        st.sampled_from(IDS),
    ),
    min_size=4,
    max_size=25,
)

Rows = dict[int, tuple[str, str]]
"""The truth: tenant and title of each paper."""


async def act(shop: Shop, papers: AnyPapers, step: Step, truth: Rows, number: int) -> None:
    """Take a step in the session in scope, and compare what it shows with the truth."""
    own = {id: title for id, (value, title) in truth.items() if value == step.value}
    reader = shop.db[papers]
    if step.what == "get":
        paper = await reader.get(step.id)
        assert (paper and paper.title) == own.get(step.id)
    elif step.what == "many":
        found = await reader.get_many(IDS)
        assert {id: paper.title for id, paper in found.items()} == own
    elif step.what == "slug":
        paper = await reader.by_slug.get(f"n{step.id}")
        assert (paper and paper.title) == own.get(step.id)
    elif step.what == "list":
        assert {paper.id: paper.title for paper in await reader.find()} == own
    else:
        await write(shop, papers, step, truth, f"t{number}")


async def write(shop: Shop, papers: AnyPapers, step: Step, truth: Rows, title: str) -> None:
    async with shop.db.unit_of_work() as work:
        paper = await work[papers].get(step.id)
        is_own = step.id in truth and truth[step.id][0] == step.value
        assert (paper is not None) == is_own, "a transaction sees its own rows"
        if step.what == "add" and step.id not in truth:
            work.add(Paper(id=step.id, tenant=step.value, slug=f"n{step.id}", title=title))
            truth[step.id] = (step.value, title)
        elif paper is not None and step.what == "title":
            paper.title, truth[step.id] = title, (step.value, title)
        elif paper is not None and step.what == "delete":
            await work.delete(paper)
            del truth[step.id]
        await work.commit()


# The databases, in their own thread, draw random numbers while steps are drawn in this one.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.parametrize("policy", POLICIES)
async def test_nobody_is_given_what_is_another_s(
    repocache_endpoints: Endpoints, repocache_servers: Servers, policy: str
) -> None:
    papers = POLICIES[policy]
    loop = asyncio.get_running_loop()
    database = repocache_endpoints.primary.rpartition("/")[2]

    async def run(shops: Sequence[Shop], taken: Sequence[Step]) -> None:
        await asyncio.to_thread(repocache_servers.primary.sql, "DELETE FROM papers", database)
        for each in shops:
            async with each.db.unit_of_work() as work:
                await work.session.execute(text("SELECT 1"))
                work.changes(papers)
                await work.commit()
        truth: Rows = {}
        async with shops[0].db.causal_session(None) as session:
            for number, step in enumerate(taken):
                async with (
                    shops[step.process].db.causal_session(session.bookmark) as inner,
                    shops[step.process].db.scoped(tenant=step.value),
                ):
                    await act(shops[step.process], papers, step, truth, number)
                session.absorb(inner.did)

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps)
    def check(taken: list[Step]) -> None:
        asyncio.run_coroutine_threadsafe(run(shops, taken), loop).result(120)

    async with (
        open_papers(repocache_endpoints, repositories=[papers]) as one,
        open_papers(repocache_endpoints, repositories=[papers]) as two,
    ):
        shops = (one, two)
        await asyncio.to_thread(check)
