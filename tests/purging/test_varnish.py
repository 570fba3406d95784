"""A real Varnish in front of the site: its pages are those of the last commit, but for the moment
that a purge takes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from repocache.events import EdgePurged
from repocache.testing import Endpoints, Servers
from tests.edges.servers import needs_varnish
from tests.pages.site import Site
from tests.purging.conftest import Sql, rows_left
from tests.purging.fronts import Behind, behind_varnish, hit
from tests.shop import until

pytestmark = needs_varnish


@pytest.fixture
async def behind(repocache_endpoints: Endpoints) -> AsyncIterator[Behind]:
    async with behind_varnish(repocache_endpoints) as behind:
        yield behind


async def test_a_commit_anywhere_takes_the_page_away(behind: Behind) -> None:
    async with behind.browser() as client:
        page = await hit(client, "/products/1")
        assert "n1" in page.text
        assert "xkey" not in page.headers, "tags are between the service and its edge"
        await hit(client, "/products/2")
        async with behind.other.client() as elsewhere:
            await elsewhere.post("/rename/1/new")

        async def new() -> bool:
            return "new" in (await client.get("/products/1")).text

        await until(new, "the page is purged")
        untouched = await client.get("/products/2")
        assert "hit" in untouched.headers["cache-status"], "it was of other rows"


async def test_a_list_is_purged_when_a_row_comes_in(behind: Behind) -> None:
    async with behind.browser() as client:
        assert "n2" in (await hit(client, "/category/0")).text
        async with behind.other.client() as elsewhere:
            await elsewhere.post("/rename/2/second")

        async def new() -> bool:
            return "second" in (await client.get("/category/0")).text

        await until(new, "the list is purged")


async def test_who_writes_sees_it_through_the_edge_at_once(behind: Behind) -> None:
    async with behind.browser() as writer, behind.browser() as reader:
        for number in range(20):
            await hit(reader, "/products/3")
            posted = await writer.post(f"/rename/3/v{number}")
            assert "repocache-fresh=1" in str(posted.headers.get_list("set-cookie"))
            assert f"v{number}" in (await writer.get("/products/3")).text


async def test_what_is_one_s_own_is_never_another_s(behind: Behind) -> None:
    async with behind.browser() as ada, behind.browser() as eve:
        ada.cookies.set("user", "ada")
        for _ in range(3):
            mine = await ada.get("/me")
            assert mine.json() == "ada"
            assert "hit" not in mine.headers["cache-status"]
            assert (await eve.get("/me")).json() == "nobody"


async def test_a_page_that_was_on_its_way_is_purged_again(behind: Behind) -> None:
    """1. A page is looked at, and sent; 2. a commit is told, and purged; 3. the page arrives, and
    is kept. The second purge takes it away."""
    door = behind.door
    async with behind.browser() as client, behind.other.client() as elsewhere:
        await hit(client, "/products/1")
        await elsewhere.post("/rename/1/first")
        await until(lambda: _purges(behind) >= 1, "purged")
        door.held = asyncio.Event()
        asked = asyncio.create_task(client.get("/products/4"))
        await door.waiting.wait()
        before = _purges(behind)
        await elsewhere.post("/rename/4/new")
        await until(lambda: _purges(behind) > before, "purged once")
        door.held.set()
        door.held = None
        assert "n4" in (await asked).text, "it was on its way"
        stale = await client.get("/products/4")
        assert "n4" in stale.text, "Varnish keeps it"

        async def new() -> bool:
            return "new" in (await client.get("/products/4")).text

        await until(new, "purged again")


def _purges(behind: Behind) -> int:
    return len(behind.other.shop.seen.of(EdgePurged))


async def test_storm(behind: Behind, sql: Sql, repocache_controls: Servers) -> None:
    """Readers, writers in both processes, replicas that stop replaying, a Redis that is away for a
    moment. A read that begins when a purge of a commit was acknowledged for the second time shows
    that commit; and when all is quiet every page is right."""
    done = asyncio.Event()
    final: dict[int, list[tuple[float, int]]] = {id: [] for id in range(1, 7)}
    committed: dict[int, int] = dict.fromkeys(range(1, 7), 0)
    seen = behind.site.shop.seen, behind.other.shop.seen
    faults: list[str] = []
    reads = 0

    async def write(site: Site, ids: list[int]) -> None:
        draw = random.Random(ids[0])  # a storm
        async with site.client() as client:
            while not done.is_set():
                id = draw.choice(ids)
                number = committed[id] + 1
                await client.post(f"/rename/{id}/v{number}x")
                committed[id] = number
                final[id].append((time.monotonic(), number))
                await asyncio.sleep(draw.random() * 0.3)

    async def read() -> None:
        nonlocal reads
        async with behind.browser() as client:
            while not done.is_set():
                id = random.randrange(1, 7)  # a storm
                began = time.monotonic()
                text = (await client.get(f"/products/{id}")).text
                reads += 1
                shown = int(text[5 : text.index("x</h1>")]) if "<h1>v" in text else 0
                old = max((n for at, n in final[id] if at < began - 15.0), default=0)
                if shown < old:
                    faults.append(f"product {id}: {shown}, and {old} was committed 15 s before")

    async def disturb() -> None:
        replicas = repocache_controls.replicas
        for replica in replicas:
            await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_pause()")
            await asyncio.sleep(2.0)
            await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_resume()")
        repocache_controls.redis.freeze()
        await asyncio.sleep(1.5)
        repocache_controls.redis.thaw()
        await asyncio.sleep(4.0)
        done.set()

    await asyncio.gather(
        write(behind.site, [1, 2, 3]),
        write(behind.other, [4, 5, 6]),
        *(read() for _ in range(4)),
        disturb(),
    )
    assert not faults
    assert reads > 100

    async def quiet() -> bool:
        return await rows_left(sql) == 0

    await until(quiet, "all was purged", seconds=60)
    await asyncio.sleep(3.0)
    async with behind.browser() as client:
        for id, number in committed.items():
            text = (await client.get(f"/products/{id}")).text
            assert number == 0 or f"<h1>v{number}x</h1>" in text, (id, number, text)
    assert all(each.of(EdgePurged) for each in seen)
