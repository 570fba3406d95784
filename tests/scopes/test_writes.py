"""A write tells the key of whom the row belongs to, and belonged to, whoever writes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, insert, text, update

from repocache import UnitOfWork
from tests.scopes.papers_of import Paper, Papers
from tests.shop import Shop

Write = Callable[[UnitOfWork], Awaitable[object]]
Told = set[str] | None
papers: Any = Paper.__table__


async def told(shop: Shop, work: UnitOfWork) -> Told:
    """The keys of papers that the transaction has changed so far; None: all."""
    await work.session.flush()
    connection = (await work.session.connection()).sync_connection
    assert connection is not None
    changes: Any = shop.db._started.watch.transaction_of(connection).changes
    return None if "paper" in changes.whole else set(changes.keys.get("paper", ()))


async def _entity(work: UnitOfWork) -> None:
    (await work[Papers].require(1)).title = "new"


async def _added(work: UnitOfWork) -> None:
    work.add(Paper(id=9, tenant="a", slug="s9", title="t9"))


async def _deleted(work: UnitOfWork) -> None:
    await work.delete(await work[Papers].require(1))


async def _declared(work: UnitOfWork) -> None:
    await work.session.execute(text("UPDATE papers SET title = 'new' WHERE id = 1"))
    work.changes(Papers, ids=[1])


def core(statement: Any, *parameters: Any) -> Write:
    async def write(work: UnitOfWork) -> None:
        await (await work.session.connection()).execute(statement, *parameters)

    return write


ROW = {"id": 9, "tenant": "a", "slug": "s9", "title": "t9"}
LIST = [{"key": 1, "title": "x"}, {"key": 2, "title": "y"}]
WRITES: dict[str, tuple[Write, Told]] = {
    "an entity": (_entity, {"paper:a:1"}),
    "added": (_added, {"paper:a:9"}),
    "added for another": (core(insert(papers).values({**ROW, "tenant": "b"})), {"paper:b:9"}),
    "deleted": (_deleted, {"paper:a:1"}),
    "by id": (core(update(papers).where(papers.c.id == 1).values(title="x")), {"paper:a:1"}),
    "all": (core(update(papers).values(title="x")), None),
    "another's": (core(update(papers).where(papers.c.id == 3).values(title="x")), set()),
    "by other columns": (
        core(update(papers).where(papers.c.slug == "s1").values(title="x")),
        {"paper:a:1"},
    ),
    "a list": (core(update(papers).where(papers.c.id == bindparam("key")), LIST), None),
    "deleted by other columns": (core(delete(papers).where(papers.c.slug == "s1")), {"paper:a:1"}),
}


@pytest.mark.parametrize("name", WRITES)
async def test_what_a_write_tells(shop: Shop, name: str) -> None:
    write, expected = WRITES[name]
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        try:
            await write(work)
            found = await told(shop, work)
        finally:
            await work.rollback()
    assert found is None or found == expected


@pytest.mark.parametrize("name", WRITES)
async def test_nobody_reads_what_is_no_more(shop: Shop, other: Shop, name: str) -> None:
    """Every caller, in both processes, reads what the database has."""
    for each in (shop, other):
        await everything(each)
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        await WRITES[name][0](work)
        bookmark = await work.commit()
    for each in (shop, other):
        async with each.db.causal_session(bookmark):
            cached = await everything(each)
            with each.db.bypass():
                assert cached == await everything(each), name


async def everything(shop: Shop) -> dict[tuple[str, object], object]:
    found: dict[tuple[str, object], object] = {}
    papers = shop.db[Papers]
    for value in ("a", "b"):
        async with shop.db.scoped(tenant=value):
            for id in (1, 2, 3, 4, 9):
                paper = await papers.get(id)
                found[value, id] = paper and (paper.tenant, paper.slug, paper.title)
            for slug in ("s0", "s1", "s9"):
                paper = await papers.by_slug.get(slug)
                found[value, slug] = paper and (paper.id, paper.title)
    return found
