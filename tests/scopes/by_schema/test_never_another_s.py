"""Whatever tenants read and write, in whatever order and at once, by whichever process: nobody is
given what is another's, and nobody misses what it wrote."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text, update
from sqlalchemy.exc import IntegrityError

from repocache import CacheAside, KeyOwner, Lookup, Repository, WriteThrough
from repocache.testing import Endpoints, Servers
from tests.scopes.by_schema.docs_of import TENANTS, Doc, Docs, open_docs, tenant
from tests.shop import Shop, in_rotation

IDS = (1, 2, 3)


class Stored(Repository[Doc, int]):
    owner = KeyOwner("doc", scope=tenant)
    policy = WriteThrough(ttl=300, local_ttl=60, negative_ttl=30)
    by_slug = Lookup(Doc.slug)


class Shared(Repository[Doc, int]):
    """No L1."""

    owner = KeyOwner("doc", scope=tenant)
    policy = CacheAside(ttl=300, local_ttl=0, negative_ttl=30)
    by_slug = Lookup(Doc.slug)


AnyDocs = type[Docs] | type[Stored] | type[Shared]
POLICIES: dict[str, AnyDocs] = {"both tiers": Docs, "write-through": Stored, "L2": Shared}


class Step(NamedTuple):
    """`process`: 0 or 1."""

    what: str
    process: int
    value: str
    id: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ["get", "many", "slug", "list", "title", "slug to", "add", "delete", "core", "text"]
        ),
        st.integers(0, 1),
        st.sampled_from(TENANTS),
        st.sampled_from(IDS),
    ),
    min_size=4,
    max_size=25,
)

Rows = dict[tuple[str, int], tuple[str, str]]
"""The truth: slug and title of each doc, by tenant and id."""


async def act(shop: Shop, docs: AnyDocs, step: Step, truth: Rows, number: int) -> None:
    """Take a step in the session in scope, and compare what it shows with the truth."""
    own = {id: row for (value, id), row in truth.items() if value == step.value}
    reader = shop.db[docs]
    if step.what == "get":
        doc = await reader.get(step.id)
        assert (doc and (doc.slug, doc.title)) == own.get(step.id)
    elif step.what == "many":
        found = await reader.get_many(IDS)
        assert {id: (doc.slug, doc.title) for id, doc in found.items()} == own
    elif step.what == "slug":
        doc = await reader.by_slug.get(f"n{step.id}")
        titles = [title for slug, title in own.values() if slug == f"n{step.id}"]
        assert (doc and [doc.title]) == (titles or None)
    elif step.what == "list":
        assert {doc.id: (doc.slug, doc.title) for doc in await reader.find()} == own
    else:
        await write(shop, docs, step, truth, f"t{number}")


async def write(shop: Shop, docs: AnyDocs, step: Step, truth: Rows, title: str) -> None:
    key = (step.value, step.id)
    async with shop.db.unit_of_work() as work:
        doc = await work[docs].get(step.id)
        assert (doc is not None) == (key in truth), "a transaction sees its own rows"
        if step.what == "add" and doc is None:
            work.add(Doc(id=step.id, slug=f"x{step.id}", title=title))
            truth[key] = (f"x{step.id}", title)
        elif doc is not None and step.what == "title":
            doc.title, truth[key] = title, (truth[key][0], title)
        elif doc is not None and step.what == "slug to":
            taken = f"n{step.id}" if truth[key][0] != f"n{step.id}" else f"x{step.id}"
            doc.slug, truth[key] = taken, (taken, truth[key][1])
        elif doc is not None and step.what == "delete":
            await work.session.execute(delete(Doc).where(Doc.slug == truth.pop(key)[0]))
        elif doc is not None and step.what == "core":
            connection = await work.session.connection()
            by_title = update(Doc.__table__).where(Doc.title == truth[key][1])  # type: ignore[arg-type]
            await connection.execute(by_title.values(title=title))
            for each, row in list(truth.items()):
                if each[0] == step.value and row[1] == truth[key][1] and each != key:
                    truth[each] = (row[0], title)
            truth[key] = (truth[key][0], title)
        elif doc is not None and step.what == "text":
            sql = f"UPDATE {step.value}.docs SET title = '{title}' WHERE id = {step.id}"
            await work.session.execute(text(sql))
            work.changes(docs, ids=[step.id])
            truth[key] = (truth[key][0], title)
        await work.commit()


# The databases, in their own thread, draw random numbers while steps are drawn in this one.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.parametrize("policy", POLICIES)
async def test_nobody_is_given_what_is_another_s(
    repocache_endpoints: Endpoints, repocache_servers: Servers, policy: str
) -> None:
    docs = POLICIES[policy]
    loop = asyncio.get_running_loop()
    database = repocache_endpoints.primary.rpartition("/")[2]

    async def run(shops: Sequence[Shop], taken: Sequence[Step]) -> None:
        for value in TENANTS:
            emptied = f"DELETE FROM {value}.docs"
            await asyncio.to_thread(repocache_servers.primary.sql, emptied, database)
        for each in shops:
            async with each.db.unit_of_work() as work:
                await work.session.execute(text("SELECT 1"))
                work.changes(docs)
                await work.commit()
        truth: Rows = {}
        async with shops[0].db.causal_session(None) as session:
            for number, step in enumerate(taken):
                async with (
                    shops[step.process].db.causal_session(session.bookmark) as inner,
                    shops[step.process].db.scoped(tenant=step.value),
                ):
                    await act(shops[step.process], docs, step, truth, number)
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
        open_docs(repocache_endpoints, repositories=[docs]) as one,
        open_docs(repocache_endpoints, repositories=[docs]) as two,
    ):
        shops = (one, two)
        await asyncio.to_thread(check)


async def test_many_tasks_of_both_tenants_at_once(shop: Shop, other: Shop) -> None:
    """Each title begins with its tenant's name, whoever writes it: no task sees another's, and each
    sees its own last write."""
    await in_rotation(shop)
    await in_rotation(other)

    async def work(number: int) -> None:
        value, draw = TENANTS[number % 2], random.Random(number)
        process = (shop, other)[number // 2 % 2]
        async with process.db.causal_session(None), process.db.scoped(tenant=value):
            docs = process.db[Docs]
            for turn in range(8):
                id = draw.choice((1, 2))
                if draw.random() < 0.4:
                    try:
                        async with process.db.unit_of_work() as unit:
                            doc = await unit[Docs].require(id)
                            doc.title = f"{value} of {number}, {turn}"
                            await unit.commit()
                    except IntegrityError as error:
                        raise AssertionError("nobody writes slugs") from error
                found = await docs.get_many([1, 2])
                slug = await docs.by_slug.require(f"s{id}")
                listed = await docs.find()
                for each in [*found.values(), slug, *listed]:
                    assert each.title.startswith(value), each.title

    await asyncio.gather(*(work(number) for number in range(24)))
    for process in (shop, other):
        for value in TENANTS:
            async with process.db.scoped(tenant=value), process.db.causal_session(None):
                with process.db.bypass():
                    wanted = [
                        doc.title for doc in (await process.db[Docs].get_many([1, 2])).values()
                    ]
                assert all(each.startswith(value) for each in wanted)
