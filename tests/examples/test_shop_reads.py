"""What `/_reads` of the shop knows of a request, and what it does not say."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from examples.shop.app import HOSTS, Site, make_app
from examples.shop.reads import REQUESTS, Read, Seen, Trail, shown_key
from examples.shop.repositories import REPOSITORIES
from examples.shop.seed import prepare
from repocache import Database, Settings
from repocache.events import EdgePurged, Event, HitSampled, Published, ResponseKept, Served, ignore
from repocache.http import PageCache
from repocache.testing import Endpoints, Servers
from tests.examples.shop import NORTH, Process, process, sign_in
from tests.shop import template, until

FROM_REPLICA = Served("product", "database", "replica1", "caught up")


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "shops_template", prepare)


@pytest.fixture
async def alone(repocache_endpoints: Endpoints) -> AsyncIterator[Process]:
    async with process(repocache_endpoints, None) as alone:
        yield alone


def owners(seen: Seen, tier: str) -> set[str]:
    return {read.owner for read in seen.reads if read.tier == tier}


async def test_each_read_has_its_tier_and_its_node(alone: Process) -> None:
    lantern = await alone.id("lantern")
    nodes = {each.name for each in alone.db.nodes}
    async with alone.visitor() as client:
        await client.get("/products/lantern")
        first = alone.trail.requests[0]
        assert (first.method, first.where, first.status) == (
            "GET",
            f"{NORTH}/products/lantern",
            200,
        )
        assert first.cache_control == "public, max-age=0, s-maxage=600"
        assert first.cache_status == "repocache; fwd=uri-miss; stored"
        assert {"review", "category", "notice"} <= owners(first, "database")
        assert {read.node for read in first.reads if read.tier == "database"} <= nodes

        async def from_l1() -> bool:
            await client.get("/products/lantern")
            seen = alone.trail.requests[0]
            own = {"page", "product", "review", "notice"} <= owners(seen, "l1")
            return own and seen.kept == "hit" and not owners(seen, "database")

        await until(from_l1, "the page is kept, and at hand")
        tiers: list[set[str]] = []

        async def from_redis() -> bool:
            await client.get(f"/prices/{lantern}")
            price = alone.trail.requests[0]
            tiers.append(owners(price, "l1"))
            return owners(price, "l2") == {"price"}

        await until(from_redis, "Redis has the price")
        assert not any("price" in each for each in tiers), "no process keeps it"


async def test_a_write_is_told_with_who_wrote(alone: Process) -> None:
    lantern = await alone.id("lantern")
    async with alone.visitor() as client:
        await sign_in(client)
        await client.post("/admin/name", data={"product": lantern, "name": "Storm lantern"})
        page = await client.get("/_reads")
    told = {(each.what, each.by) for each in alone.trail.changes}
    assert ("Published", f"POST {NORTH}/admin/name") in told
    details = [each.detail for each in alone.trail.changes if each.what == "Invalidated"]
    assert any(f"product:{lantern}" in each for each in details)
    assert "session:…" in page.text
    assert client.cookies["session"] not in page.text


async def test_what_anybody_sends_is_escaped(alone: Process) -> None:
    script = "<script>alert(1)</script>"
    async with alone.visitor() as client:
        await client.get(f"/products/{script}?secret=1")
        await client.get("/", headers={"host": "<img src=x>"})
        page = (await client.get("/_reads")).text
    assert script not in page
    assert "&lt;script&gt;" in page
    assert "<img src=x>" not in page
    assert "secret=1" not in page


async def test_it_is_there_if_it_was_asked_for(repocache_endpoints: Endpoints) -> None:
    db = Database(
        repocache_endpoints.primary,
        redis=repocache_endpoints.redis,
        repositories=REPOSITORIES,
        settings=Settings(secrets=("of the tests, signs nothing",), observe=ignore),
        pages=PageCache(),
    )
    app = make_app(db, Site(HOSTS, trail=None))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"http://{NORTH}") as client,
    ):
        assert (await client.get("/_reads")).status_code == 404


def test_an_event_belongs_to_the_request_around_it() -> None:
    trail = Trail(ignore)
    one, two = Seen(0.0, "GET", "one"), Seen(0.0, "GET", "two")
    trail(FROM_REPLICA)
    with trail.following(one):
        trail(FROM_REPLICA)
        with trail.following(two):
            trail(ResponseKept("rendered", "a strict price"))
            trail(HitSampled("product", "product:1", 64, 2.5))
    trail(FROM_REPLICA)
    assert one.reads == [Read("product", "database", "replica1", "caught up", 1, 0.0)]
    assert (two.reads, two.ages) == ([], {"product": 2.5})
    assert two.kept == "rendered; a strict price"


def test_reads_of_one_kind_are_one() -> None:
    trail = Trail(ignore)
    seen = Seen(0.0, "GET", "one")
    with trail.following(seen):
        for _ in range(32):
            trail(Served("tag--", "l1", "", "at hand"))
    assert seen.reads == [Read("tag--", "l1", "", "at hand", 32, None)]


def test_only_the_last_are_remembered_and_another_observer_hears_all() -> None:
    heard: list[Event] = []
    trail = Trail(heard.append)
    for number in range(REQUESTS + 5):
        with trail.following(Seen(0.0, "GET", str(number))):
            trail(FROM_REPLICA)
    assert len(trail.requests) == REQUESTS
    assert trail.requests[0].where == str(REQUESTS + 4)
    assert len(heard) == REQUESTS + 5


def test_purges_are_nobody_s() -> None:
    trail = Trail(ignore)
    with trail.following(Seen(0.0, "POST", "one")):
        trail(Published(3, 2, None, 1, 0.002))
    trail(EdgePurged("varnish", 3, 0.004, 1, final=False))
    purged, published = trail.changes
    assert (purged.by, purged.detail) == ("", "varnish, tags: 3; 4 ms after they were told")
    assert published.by == "POST one"


@pytest.mark.parametrize(
    "key, shown",
    [
        ("product:3", "product:3"),
        ("session:north:1f", "session:…"),
        ("customer-by_name:north:ada", "customer-by_name:…"),
        ("cart:north:1f", "cart:…"),
    ],
)
def test_persons_keys_are_not_shown(key: str, shown: str) -> None:
    assert shown_key(key) == shown
