"""A real nginx in front of the site, whose cache files a commit unlinks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repocache.testing import Endpoints
from tests.edges.servers import needs_nginx
from tests.purging.fronts import Behind, behind_nginx, hit
from tests.shop import until

pytestmark = needs_nginx


@pytest.fixture
async def behind(repocache_endpoints: Endpoints) -> AsyncIterator[Behind]:
    async with behind_nginx(repocache_endpoints) as behind:
        yield behind


async def test_a_commit_anywhere_takes_the_page_away(behind: Behind) -> None:
    async with behind.browser() as client:
        page = await hit(client, "/products/1")
        assert "n1" in page.text
        assert "xkey" not in page.headers
        await hit(client, "/products/2")
        async with behind.other.client() as elsewhere:
            await elsewhere.post("/rename/1/new")

        async def new() -> bool:
            return "new" in (await client.get("/products/1")).text

        await until(new, "the page is purged")
        untouched = await client.get("/products/2")
        assert "; hit" in untouched.headers["cache-status"].rpartition(",")[2]


async def test_a_list_is_purged_when_a_row_of_it_changes(behind: Behind) -> None:
    async with behind.browser() as client:
        assert "n2" in (await hit(client, "/category/0")).text
        async with behind.other.client() as elsewhere:
            await elsewhere.post("/rename/2/second")

        async def new() -> bool:
            return "second" in (await client.get("/category/0")).text

        await until(new, "the list is purged")


async def test_who_writes_sees_it_through_the_edge_at_once(behind: Behind) -> None:
    async with behind.browser() as writer, behind.browser() as reader:
        for number in range(10):
            await hit(reader, "/products/3")
            await writer.post(f"/rename/3/v{number}")
            assert f"v{number}" in (await writer.get("/products/3")).text


async def test_what_is_one_s_own_is_never_another_s(behind: Behind) -> None:
    async with behind.browser() as ada, behind.browser() as eve:
        ada.cookies.set("user", "ada")
        for _ in range(3):
            assert (await ada.get("/me")).json() == "ada"
            assert (await eve.get("/me")).json() == "nobody"
