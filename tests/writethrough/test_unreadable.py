"""Rows that cannot be read, and DDL, under write-through: nothing is stored, and the commit
stands."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import update

from repocache import Bookmark, WriteThrough
from repocache.events import CacheFailed, Stored
from repocache.testing import Endpoints, Servers
from tests.papers import MAKE, UNREADABLE, Desk, Paper, open_desk, run, under

POLICIES = {"lazy": WriteThrough(), "strict": WriteThrough(strict=True)}
DDL = {
    "wider": ("ALTER TABLE papers ALTER COLUMN title TYPE varchar(80)",),
    "enum": (
        "ALTER TYPE paper_state RENAME TO paper_state_old",
        "CREATE TYPE paper_state AS ENUM ('signed', 'draft', 'newer')",
        "ALTER TABLE papers ALTER COLUMN state DROP DEFAULT",
        "ALTER TABLE papers ALTER COLUMN state TYPE paper_state USING state::text::paper_state",
        "DROP TYPE paper_state_old",
    ),
}
CASES = [(bad, True) for bad in UNREADABLE] + [
    (bad, False) for bad in UNREADABLE if bad != "server"
]


async def retitle(desk: Desk, title: str, *ids: str) -> Bookmark:
    async with desk.db.unit_of_work() as work:
        await work.session.execute(update(Paper).where(Paper.id.in_(ids)).values(title=title))
        return await work.commit()


def offered(desk: Desk) -> list[int]:
    """Values of each commit that offered some."""
    return [event.offered for event in desk.seen.of(Stored)]


@pytest.mark.parametrize("bad, computed", CASES)
@pytest.mark.parametrize("policy", POLICIES)
async def test_a_commit_that_touches_an_unreadable_row_stands(
    repocache_endpoints: Endpoints,
    repocache_servers: Servers,
    policy: str,
    bad: str,
    computed: bool,
) -> None:
    await run(repocache_endpoints, *MAKE)
    repocache_servers.catch_up()
    papers: Any = under(POLICIES[policy], computed=computed)
    async with (
        open_desk(repocache_endpoints, papers) as desk,
        open_desk(repocache_endpoints, papers) as other,
    ):
        for each in (desk, other):
            assert (await each.papers.require("p1")).title == "t"
        bookmark = await retitle(desk, "new", "p1", bad)
        assert offered(desk) == []
        [failed] = desk.seen.of(CacheFailed)
        assert failed.what == "write through"
        kind = "DivisionByZeroError" if bad == "server" else UNREADABLE[bad].partition(":")[0]
        shown = r" at [\w.]+:\d+|: maximum recursion.*"
        assert re.fullmatch(rf"paper: {kind}({shown})?", failed.why), "no word of the row"
        async with other.db.causal_session(bookmark):
            assert (await other.papers.require("p1")).title == "new"
        if policy == "strict":
            assert (await other.papers.require("p1")).title == "new"
        # The same process goes on storing.
        await retitle(desk, "newer", "p1", "p2")
        assert offered(desk) == [2]
        assert (await desk.papers.require("p1")).title == "newer"


@pytest.mark.parametrize("ddl", DDL)
@pytest.mark.parametrize("policy", POLICIES)
async def test_a_commit_after_ddl_that_any_read_has_met_stores(
    repocache_endpoints: Endpoints, repocache_servers: Servers, policy: str, ddl: str
) -> None:
    """The read may be another's, at another connection: all of the process prepare anew."""
    await run(repocache_endpoints, *MAKE)
    repocache_servers.catch_up()
    papers: Any = under(POLICIES[policy], computed=False)
    async with open_desk(repocache_endpoints, papers) as desk:
        await retitle(desk, "new", "p1")
        await desk.papers.on_primary().get("p1")
        desk.seen.clear()
        await run(repocache_endpoints, *DDL[ddl])
        repocache_servers.catch_up()
        assert await desk.papers.on_primary().get("p1") is not None
        await retitle(desk, "newer", "p1")
        assert offered(desk) == [1]
        async with desk.db.unit_of_work() as work:
            (await work[papers].require("p1")).title = "newest"
            await work.commit()
        assert offered(desk) == [1, 1]
        assert (await desk.papers.require("p1")).title == "newest"


@pytest.mark.parametrize("computed", [True, False])
@pytest.mark.parametrize("policy", POLICIES)
async def test_a_commit_that_is_the_first_to_meet_ddl_stands(
    repocache_endpoints: Endpoints, repocache_servers: Servers, policy: str, computed: bool
) -> None:
    await run(repocache_endpoints, *MAKE)
    repocache_servers.catch_up()
    papers: Any = under(POLICIES[policy], computed=computed)
    async with open_desk(repocache_endpoints, papers) as desk:
        await retitle(desk, "new", "p1")
        await run(repocache_endpoints, *DDL["wider"])
        await retitle(desk, "newer", "p1")
        assert (await desk.papers.on_primary().require("p1")).title == "newer"
        await retitle(desk, "newest", "p1")
        assert (await desk.papers.require("p1")).title == "newest"
