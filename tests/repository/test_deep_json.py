"""JSON that is deep, and that the driver's side can still read: nobody's recursion ends at it."""

from __future__ import annotations

import json
from typing import Any

from repocache import CacheMode, WriteThrough
from repocache.events import CacheFailed, Served, ValueRefused
from repocache.testing import Endpoints, Servers
from tests.papers import MAKE, Paper, Papers, open_desk, run, under
from tests.shop import until

DEPTHS = (100, 450, 600, 800, 900)


def depth_of(value: Any) -> int:
    depth = 0
    while value:
        [value] = value.values() if isinstance(value, dict) else value
        depth += 1
    return depth


def nested(depth: int) -> str:
    """Lists and objects in turn."""
    opened = "".join('{"a": ' if at % 2 else "[" for at in range(depth))
    closed = "".join("}" if at % 2 else "]" for at in reversed(range(depth)))
    return f"{opened}0{closed}"


async def make(endpoints: Endpoints, servers: Servers) -> list[str]:
    rows = (
        f"INSERT INTO papers (id, body) VALUES ('d{depth}', CAST($${nested(depth)}$$ AS json))"
        for depth in DEPTHS
    )
    await run(endpoints, *MAKE, *rows)
    servers.catch_up()
    return [f"d{depth}" for depth in DEPTHS]


def check(paper: Paper | None) -> None:
    assert paper is not None
    assert depth_of(paper.body) == int(paper.id[1:])


async def test_deep_json_is_read_everywhere(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    ids = await make(repocache_endpoints, repocache_servers)
    async with open_desk(repocache_endpoints) as desk:
        for _ in range(3):
            for id in ids:
                check(await desk.papers.get(id))
        for papers in (desk.papers, desk.papers.on_primary()):
            for paper in (await papers.get_many(ids)).values():
                check(paper)
            for paper in await papers.find(Paper.id.in_(ids)):
                check(paper)
        desk.db.switch(Papers, CacheMode.SHADOW)
        for id in ids:
            check(await desk.papers.get(id))
        async with desk.db.unit_of_work() as work:
            for id in ids:
                check(await work[Papers].get(id))
        assert not desk.seen.of(CacheFailed)


async def test_copies_of_deep_json_share_nothing(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    await make(repocache_endpoints, repocache_servers)
    async with open_desk(repocache_endpoints) as desk:
        first, second = await desk.papers.require("d600"), await desk.papers.require("d600")
        inner = first.body
        for _ in range(599):
            [inner] = inner.values() if isinstance(inner, dict) else inner
        inner["a"] = "spoilt"
        check(second)
        assert json.dumps(second.body) == nested(600)


async def test_a_commit_of_deep_json_under_write_through(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    ids = await make(repocache_endpoints, repocache_servers)
    papers: Any = under(WriteThrough())
    async with open_desk(repocache_endpoints, papers) as desk:
        for id in ids:
            async with desk.db.unit_of_work() as work:
                (await work[papers].require(id)).title = "new"
                await work.commit()
            paper = await desk.papers.require(id)
            assert paper.title == "new"
            check(paper)


async def test_what_no_cache_can_keep_is_served_by_the_database(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """Half of a surrogate pair is JSON to PostgreSQL, and in no encoding of Unicode."""
    body = nested(900).replace("0", '"\\ud800"')
    await run(
        repocache_endpoints,
        *MAKE,
        f"INSERT INTO papers (id, body) VALUES ('d900', CAST($${body}$$ AS json))",
    )
    repocache_servers.catch_up()
    async with open_desk(repocache_endpoints) as desk:
        for _ in range(2):
            paper = await desk.papers.require("d900")
            assert json.dumps(paper.body) == body
            await until(lambda: bool(desk.seen.of(ValueRefused)), "the value is refused")
        assert {event.tier for event in desk.seen.of(Served)} == {"database"}
