"""The third example, through a real Varnish: what each route does, and who is never shown what."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from examples.shop.models import Order
from examples.shop.repositories import Orders, Prices, Views
from examples.shop.seed import prepare
from repocache.testing import Endpoints, Servers
from tests.edges.servers import needs_varnish
from tests.examples.service import paused_replicas
from tests.examples.shop import (
    NORTH,
    SOUTH,
    Process,
    Shops,
    all_hits,
    hit,
    is_hit,
    kept_as,
    open_shops,
    sign_in,
)
from tests.shop import template, until

PUBLIC = "public, max-age=0, s-maxage=600"
ONE_S_OWN = "private, no-cache"


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "shops_template", prepare)


@pytest.fixture
async def shops(repocache_endpoints: Endpoints) -> AsyncIterator[Shops]:
    async with open_shops(repocache_endpoints) as shops:
        yield shops


async def admin_post(where: Process, path: str, host: str = NORTH, **sent: object) -> None:
    """By an admin, in this process."""
    async with where.visitor(host) as admin:
        await sign_in(admin)
        answer = await admin.post(f"/admin/{path}", data=sent)
        assert answer.status_code == 200, answer.text


@needs_varnish
async def test_pages_are_hits_at_the_edge_and_the_rest_is_not(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with shops.browser() as client:
        for path, words in (
            ("/", "Lamps"),
            ("/categories/lamps", "Lantern"),
            ("/products/lantern", "As it should be."),
        ):
            page = await hit(client, path)
            assert words in page.text
            assert page.headers["cache-control"] == PUBLIC
            assert "xkey" not in page.headers
            assert not page.headers.get_list("set-cookie")
        for path, said in (
            (f"/prices/{lantern}", "no-store"),
            (f"/views/{lantern}", "no-store"),
            ("/login", "no-store"),
            ("/_reads", "no-store"),
            ("/cart", ONE_S_OWN),
        ):
            for _ in range(3):
                answer = await client.get(path)
                assert answer.status_code == 200
                assert not is_hit(answer), path
                assert answer.headers["cache-control"] == said, path


@needs_varnish
async def test_cookies_reach_no_public_page(shops: Shops) -> None:
    async with shops.browser() as client, shops.browser() as stranger:
        await sign_in(client)
        client.cookies.delete("repocache-fresh")
        await hit(stranger, "/products/stool")
        mine = await client.get("/products/stool")
        assert is_hit(mine), "a bookmark and a session are no hindrance"
        assert "ada" not in mine.text


@needs_varnish
async def test_assets_are_kept_for_ever_and_other_versions_are_not(shops: Shops) -> None:
    path = shops.site.app.state.assets.path("shop.css")
    async with shops.browser() as client:
        style = await hit(client, path)
        assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
        older = await client.get("/assets/0123456789abcdef/shop.css")
        assert (older.status_code, older.headers["cache-control"]) == (404, "no-store")


@needs_varnish
async def test_a_price_counts_at_once_and_the_page_stays(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with shops.browser() as client:
        page = await hit(client, "/products/lantern")
        assert "27.50" not in page.text, "no price is in a page that is kept"
        for cents in range(100, 120):
            where = (shops.site, shops.other)[cents % 2]
            async with where.db.unit_of_work() as work:
                (await work[Prices].require(lantern)).cents = cents
                await work.commit()
            assert (await client.get(f"/prices/{lantern}")).json()["cents"] == cents
            assert is_hit(await client.get("/products/lantern"))


@needs_varnish
async def test_while_redis_is_away_pages_are_there_and_no_price_is_set(
    shops: Shops, repocache_controls: Servers
) -> None:
    """Nobody could be told of it: strict write-through refuses."""
    lantern = await shops.site.id("lantern")
    async with shops.browser() as admin, shops.browser() as client:
        await sign_in(admin)
        await hit(client, "/products/lantern")
        await asyncio.to_thread(repocache_controls.redis.freeze)
        try:
            sent = {"product": lantern, "cents": 1}
            assert (await admin.post("/admin/price", data=sent)).status_code == 503
            assert is_hit(await client.get("/products/lantern"))
            assert (await client.get(f"/prices/{lantern}")).json()["cents"] == 2750
        finally:
            await asyncio.to_thread(repocache_controls.redis.thaw)

        async def is_set() -> bool:
            return (await admin.post("/admin/price", data={**sent, "cents": 2})).is_success

        await until(is_set, "Redis is back", 60)
        assert (await client.get(f"/prices/{lantern}")).json()["cents"] == 2


@needs_varnish
async def test_one_s_own_order_is_there_at_once(shops: Shops, repocache_controls: Servers) -> None:
    lantern = await shops.site.id("lantern")
    async with shops.browser() as ada:
        await sign_in(ada)

        async def order(number: int) -> None:
            await ada.post("/cart", data={"product": lantern, "quantity": number})
            assert f'<td class="number">{number}</td>' in (await ada.get("/cart")).text
            placed = await ada.post("/orders")
            assert placed.url.path == "/orders"
            assert f"{number} Lantern" in placed.text
            assert "It is empty." in (await ada.get("/cart")).text

        for number in range(11, 16):
            await order(number)
        with paused_replicas(repocache_controls):
            await order(17)


@needs_varnish
async def test_orders_are_read_on_replicas(shops: Shops) -> None:
    async with shops.browser() as ada:
        await sign_in(ada)
        nodes: set[str] = set()

        async def by_a_replica() -> bool:
            await ada.get("/orders")
            seen = shops.site.trail.requests[0]
            nodes.update(read.node for read in seen.reads if read.owner == "order")
            return bool(nodes - {"primary", ""})

        await until(by_a_replica, "a replica has what she wrote")


@needs_varnish
async def test_a_cart_is_nobody_else_s(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with shops.browser() as one, shops.browser() as two, shops.browser(SOUTH) as south:
        await one.post("/cart", data={"product": lantern, "quantity": 3})
        south.cookies.update(one.cookies)
        for _ in range(3):
            mine = await one.get("/cart")
            assert "Lantern" in mine.text
            assert not is_hit(mine)
            assert "It is empty." in (await two.get("/cart")).text
            assert "It is empty." in (await south.get("/cart")).text, "nor with its cookie"


@needs_varnish
async def test_a_cart_that_is_as_it_was_is_a_304(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with shops.browser() as client:
        await client.post("/cart", data={"product": lantern, "quantity": 1})
        etag = (await client.get("/cart")).headers["etag"]
        same = await client.get("/cart", headers={"if-none-match": etag})
        assert same.status_code == 304
        await client.post("/cart", data={"product": lantern, "quantity": 1})
        other = await client.get("/cart", headers={"if-none-match": etag})
        assert other.status_code == 200


@needs_varnish
async def test_a_shop_sees_nothing_of_the_other(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    tea = await shops.site.id("mint", "south")
    async with shops.browser() as north, shops.browser(SOUTH) as south:
        await sign_in(north, "bob")
        await north.post("/cart", data={"product": lantern, "quantity": 1})
        await north.post("/orders")
        for _ in range(3):
            for client, own, not_own in (
                (north, ("Lamps", "Free delivery"), ("Tea", "harvest")),
                (south, ("Tea", "New harvest"), ("Lamps", "delivery")),
            ):
                page = (await client.get("/")).text
                assert all(words in page for words in own)
                assert not any(words in page for words in not_own)
            for client, slug, id in ((north, "mint", tea), (south, "lantern", lantern)):
                for path in (f"/products/{slug}", f"/prices/{id}", f"/views/{id}"):
                    assert (await client.get(path)).status_code == 404, path
                assert (await client.post(f"/views/{id}")).status_code == 404
                sent = {"product": id, "quantity": 1}
                assert (await client.post("/cart", data=sent)).status_code == 404
        await sign_in(south, "bob")
        assert "None yet." in (await south.get("/orders")).text, "another Bob"
        async with shops.site.db.scoped(tenant="south"):
            assert await shops.site.db[Orders].find() == []
        async with shops.site.db.scoped(tenant="north"):
            [order] = await shops.site.db[Orders].find(Order.tenant == "north")
        async with shops.site.db.scoped(tenant="south"):
            assert await shops.site.db[Orders].get(order.id) is None


@needs_varnish
async def test_a_new_name_purges_its_product_and_its_category_and_nothing_else(
    shops: Shops,
) -> None:
    """Once the process that writes knows what Redis lists: until then it purges all lists of the
    table."""
    lantern = await shops.site.id("lantern")
    shown = ("/products/lantern", "/categories/lamps")
    by_id = ("/", "/products/stool", "/products/floor-lamp")
    async with shops.browser() as client, shops.browser(SOUTH) as south:
        first = await all_hits(client, *by_id)
        south_s = await all_hits(south, "/", "/products/mint")

        async def others_stay() -> bool:
            lists = await all_hits(client, *shown, "/categories/chairs")
            name = f"Lantern <{lists['/products/lantern']}>"
            await admin_post(shops.other, "name", product=lantern, name=name)
            for path in shown:

                async def is_new(path: str = path) -> bool:
                    return html.escape(name) in (await client.get(path)).text

                await until(is_new, f"{path} is made anew")
            await asyncio.sleep(1.0)  # a second purge goes after
            chairs = await client.get("/categories/chairs")
            return kept_as(chairs) == lists["/categories/chairs"]

        await until(others_stay, "other lists stay", 60)
        assert await all_hits(client, *by_id) == first
        assert await all_hits(south, "/", "/products/mint") == south_s


@needs_varnish
async def test_a_review_purges_its_product_alone(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with shops.browser() as client:
        await all_hits(client, "/products/lantern", "/categories/lamps")
        await admin_post(shops.other, "review", product=lantern, stars=5, text="Bright & warm")

        async def is_there() -> bool:
            return "Bright &amp; warm" in (await client.get("/products/lantern")).text

        await until(is_there, "the page is made anew")
        assert is_hit(await client.get("/categories/lamps"))


@needs_varnish
async def test_an_admin_can_have_pages_made_anew(shops: Shops) -> None:
    lantern = await shops.site.id("lantern")
    async with shops.browser() as client:
        await all_hits(client, "/products/lantern", "/products/stool")
        before = kept_as(await client.get("/products/lantern"))
        await admin_post(shops.other, "anew", product=lantern)

        async def another() -> bool:
            return kept_as(await client.get("/products/lantern")) not in (before, "")

        await until(another, "Varnish has another one")
        assert is_hit(await client.get("/products/stool"))


@needs_varnish
async def test_an_admin_sees_what_he_wrote_through_the_edge(shops: Shops) -> None:
    stool = await shops.site.id("stool")
    async with shops.browser() as admin, shops.browser() as reader:
        await sign_in(admin)
        for number in range(10):
            await hit(reader, "/products/stool")
            await admin.post("/admin/name", data={"product": stool, "name": f"Stool {number}"})
            assert f"Stool {number}" in (await admin.get("/products/stool")).text


@needs_varnish
async def test_views_come_in(shops: Shops) -> None:
    mint = await shops.site.id("mint", "south")
    async with shops.browser(SOUTH) as client, shops.other.visitor(SOUTH) as elsewhere:
        for _ in range(10):
            await asyncio.gather(
                *(each.post(f"/views/{mint}") for each in (client, client, elsewhere))
            )
        for each in (client, elsewhere):
            assert (await each.get(f"/views/{mint}")).json() == {"views": 30}
    async with asyncio.timeout(30):
        await shops.site.db[Views].flushed()
    async with shops.site.db.sessionmaker() as session:
        statement = text("SELECT views FROM product_views WHERE product_id = :id")
        assert (await session.execute(statement, {"id": mint})).scalar() == 30


@needs_varnish
async def test_who_logged_out_is_nobody_in_each_process(shops: Shops) -> None:
    async with shops.browser() as ada, shops.other.visitor() as elsewhere:
        await sign_in(ada)
        kept = dict(ada.cookies)
        elsewhere.cookies.update(kept)
        assert "Orders of ada" in (await elsewhere.get("/orders")).text
        out = await ada.post("/logout", follow_redirects=False)
        assert out.headers["clear-site-data"] == '"cache"'
        assert out.headers["cache-control"] in ("private, no-store", "no-store")
        assert (await ada.get("/orders")).url.path == "/login"
        with_bookmark = {**kept, "bookmark": ada.cookies["bookmark"]}
        for client in (ada, elsewhere):
            client.cookies.clear()
            client.cookies.update(with_bookmark)
            assert (await client.get("/orders")).url.path == "/login", "the token is worth nothing"
