"""What a caller reads is of the value that counts for it, from every tier and by every way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import func, select, text

from repocache import Scope, Settings, UsageError
from repocache.errors import ScopeMissing
from repocache.events import Served
from repocache.testing import Endpoints, Servers
from tests.scopes.papers_of import Folder, Folders, Paper, Papers, Sheet, Sheets, open_papers
from tests.shop import QUICK, Shop, in_rotation


async def test_each_sees_its_own_rows_in_every_tier(shop: Shop, other: Shop) -> None:
    for reader, tier in ((shop, "database"), (shop, "l1"), (other, "l2")):
        papers = reader.db[Papers]
        told = len(reader.seen.of(Served))
        for value, own, foreign in (("a", 1, 3), ("b", 3, 1)):
            mine = [own, own + 1]
            async with reader.db.scoped(tenant=value):
                assert (await papers.require(own)).tenant == value
                assert await papers.get(foreign) is None
                assert list(await papers.get_many([1, 2, 3, 4])) == mine
                assert await papers.titled.get(foreign) is None
                assert (await papers.by_slug.require("s1")).id == own
        tiers = {event.tier for event in reader.seen.of(Served)[told:]} or {"l1"}
        assert tier in tiers
        assert tier == "database" or "database" not in tiers


async def test_lists_counts_and_sessions_are_scoped(shop: Shop) -> None:
    await in_rotation(shop)
    papers = shop.db[Papers]
    for value, titles in (("a", ["t1", "t2"]), ("b", ["t3", "t4"])):
        async with shop.db.scoped(tenant=value):
            assert await papers.titles() == titles
            assert await papers.on_primary().titles() == titles
            assert await papers.on_replica().titles() == titles
            assert await papers.count() == 2
            assert not await papers.exists(Paper.tenant != value)
            assert [tuple(row) for row in await papers.rows(select(func.count(Sheet.id)))] == [(2,)]
            page = await papers.page(order_by=[Paper.title], limit=1, total=True)
            assert (page.total, [each.title for each in page.items]) == (2, titles[:1])
            async with shop.db.reading() as session:
                assert sorted(await session.scalars(select(Paper.title))) == titles
            async with shop.db.snapshot() as connection:
                assert sorted(await connection.scalars(text("SELECT title FROM papers"))) == titles
            async with shop.db.unit_of_work() as work:
                assert sorted(await work.session.scalars(select(Paper.title))) == titles
                assert sorted(await work[Papers].get_many([1, 2, 3, 4])) == sorted(
                    int(title[1:]) for title in titles
                )
                assert (await work[Papers].by_slug.require("s1")).title == titles[0]
            async with shop.db.sessionmaker() as session:
                assert sorted(await session.scalars(select(Paper.title))) == titles


async def test_nothing_stays_on_a_connection(shop: Shop) -> None:
    """The next reader by the same connection has no value, or its own."""
    await in_rotation(shop)
    async with shop.db.scoped(tenant="a"):
        await asyncio.gather(*(shop.db[Papers].titles() for _ in range(20)))
        async with shop.db.unit_of_work() as work:
            (await work[Papers].require(1)).title = "t1"
            work.add(Paper(id=9, tenant="a", slug="s9", title="t9"))
            await work.commit()
    async with shop.db.reading() as session:
        assert list(await session.scalars(select(Paper.title))) == []
    async with shop.db.unit_of_work() as work:
        assert list(await work.session.scalars(select(Paper.title))) == []


async def test_ddl_under_a_running_process_is_not_noticed(
    shop: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    papers, database = shop.db[Papers], repocache_endpoints.primary.rpartition("/")[2]

    async def read() -> object:
        async with shop.db.scoped(tenant="a"):
            with shop.db.bypass():
                found = await asyncio.gather(*(papers.get_many([1, 2]) for _ in range(6)))
                lists = await asyncio.gather(*(papers.find(Paper.id == 1) for _ in range(6)))
        return [[each.title for each in some.values()] for some in found], [
            [each.title for each in some] for some in lists
        ]

    before = await read()
    for kind in ("varchar(80)", "text"):
        ddl = f"ALTER TABLE papers ALTER COLUMN title TYPE {kind}"
        await asyncio.to_thread(repocache_servers.primary.sql, ddl, database)
        assert await read() == before


async def test_many_scopes_at_once_share_no_statement(shop: Shop) -> None:
    async def read(value: str) -> list[int]:
        async with shop.db.scoped(tenant=value):
            return sorted(await shop.db[Papers].get_many([1, 2, 3, 4]))

    found = await asyncio.gather(*(read("ab"[n % 2]) for n in range(40)))
    assert found == [[1, 2], [3, 4]] * 20


async def test_relationships_come_along(shop: Shop) -> None:
    async with shop.db.scoped(tenant="a"):
        paper = await shop.db[Papers].require(1, load=[Paper.sheets])
        assert [sheet.id for sheet in paper.sheets] == [10]
        sheet = await shop.db[Sheets].require(20, load=[Sheet.paper])
        assert sheet.paper.title == "t2"


async def test_a_scope_s_column_may_be_part_of_the_key(shop: Shop) -> None:
    folders = shop.db[Folders]
    async with shop.db.scoped(tenant="a"):
        assert (await folders.require(("a", 1))).name == "t1"
        assert await folders.get(("b", 3)) is None
    async with shop.db.scoped(tenant="b"):
        assert await folders.get(("a", 1)) is None
        assert [each.name for each in await folders.find(Folder.number > 3)] == ["t4"]


async def test_without_a_value_nothing_is_read(shop: Shop) -> None:
    papers = shop.db[Papers]
    reads: list[Callable[[], Awaitable[object]]] = [
        lambda: papers.get(1),
        lambda: papers.get_many([1]),
        lambda: papers.titled.get(1),
        lambda: papers.by_slug.get("s1"),
        papers.find,
        papers.count,
        lambda: papers.rows(select(Paper.id)),
        lambda: papers.page(limit=1),
        lambda: papers.on_primary().get(1),
    ]
    for read in reads:
        with pytest.raises(ScopeMissing, match=r"Papers .*'tenant'.*db\.scoped\(tenant=\.\.\.\)"):
            await read()
    async with shop.db.unit_of_work() as work:
        with pytest.raises(ScopeMissing):
            await work[Papers].by_slug.get("s1")
        with pytest.raises(ScopeMissing):
            work.changes(Papers, ids=[1])
        work.changes(Papers)
        await work.rollback()


@pytest.mark.parametrize("value", [1, 1 << 70, None, "", "a\0", "\ud800", True, b"a"])
async def test_a_value_that_no_row_has_is_refused(shop: Shop, value: object) -> None:
    with pytest.raises(UsageError, match=r"scoped\(tenant="):
        shop.db.scoped(tenant=value)  # type: ignore[arg-type]


async def test_a_scope_that_nobody_has_is_refused(shop: Shop) -> None:
    with pytest.raises(UsageError, match=r"scoped\(user=\.\.\.\).*there is tenant"):
        shop.db.scoped(user="a")


async def test_blocks_may_be_nested_and_tasks_inherit(shop: Shop) -> None:
    papers = shop.db[Papers]
    async with shop.db.scoped(tenant="a"), shop.db.causal_session(None):
        task = asyncio.create_task(papers.titles())
        async with shop.db.scoped(tenant="b"):
            assert await papers.titles() == ["t3", "t4"]
        assert await papers.titles() == await task == ["t1", "t2"]
        with shop.db.bypass():
            assert await papers.get(3) is None


def test_two_columns_of_one_scope_are_one() -> None:
    assert Scope("tenant", "app.tenant", "owner") == Scope("tenant", "app.tenant")


async def test_in_monotonic_sessions(repocache_endpoints: Endpoints) -> None:
    settings = Settings(topology=QUICK, monotonic=True)
    async with (
        open_papers(repocache_endpoints, settings) as shop,
        shop.db.causal_session(None),
        shop.db.scoped(tenant="a"),
    ):
        papers = shop.db[Papers]
        assert await papers.titles() == ["t1", "t2"]
        assert await papers.get(3) is None
        assert (await papers.require(1)).title == "t1"
        async with shop.db.reading() as session:
            assert sorted(await session.scalars(select(Paper.title))) == ["t1", "t2"]
