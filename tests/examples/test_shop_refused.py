"""What the shop refuses, whoever asks: forms that are none, other people's things, other hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from examples.shop.seed import PASSWORD, prepare
from repocache.testing import Endpoints, Servers
from tests.examples.shop import Process, process, sign_in
from tests.shop import template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "shops_template", prepare)


@pytest.fixture
async def alone(repocache_endpoints: Endpoints) -> AsyncIterator[Process]:
    """A process with no edge."""
    async with process(repocache_endpoints, None) as alone:
        yield alone


async def test_a_cart_comes_along_when_one_signs_in(alone: Process) -> None:
    lantern = await alone.id("lantern")
    async with alone.visitor() as client:
        await client.post("/cart", data={"product": lantern, "quantity": 2})
        before = client.cookies["session"]
        await sign_in(client, "bob")
        assert client.cookies["session"] != before, "who gave him a token knows this one not"
        assert "Lantern" in (await client.get("/cart")).text
        assert (await client.get("/orders")).headers["cache-control"] == "no-store"


REFUSED: list[tuple[str, dict[str, object], int]] = [
    ("/login", {"name": "ada", "password": "wrong"}, 401),
    ("/login", {"name": "nobody", "password": PASSWORD}, 401),
    ("/login", {"name": "ada"}, 422),
    ("/cart", {"product": "x", "quantity": 1}, 422),
    ("/cart", {"product": 10**8, "quantity": 1}, 404),
    ("/cart", {"product": 1, "quantity": 0}, 422),
    ("/cart", {"product": 1, "quantity": 100}, 422),
    ("/cart", {"product": 1, "quantity": "9" * 20_000}, 413),
]


@pytest.mark.parametrize("path, sent, status", REFUSED)
async def test_what_is_no_form_of_ours_is_refused(
    alone: Process, path: str, sent: dict[str, object], status: int
) -> None:
    async with alone.visitor() as client:
        answer = await client.post(path, data=sent)
        assert answer.status_code == status
        assert answer.headers["cache-control"] == "no-store"


async def test_json_is_no_form(alone: Process) -> None:
    async with alone.visitor() as client:
        assert (await client.post("/cart", json={"product": 1})).status_code == 415


async def test_the_back_office_is_its_admins(alone: Process) -> None:
    lantern, mint = await alone.id("lantern"), await alone.id("mint", "south")
    sent = {"product": lantern, "name": "mine"}
    async with alone.visitor() as client:
        assert (await client.post("/admin/name", data=sent)).url.path == "/login"
        await sign_in(client, "bob")
        assert (await client.get("/admin")).status_code == 403
        assert (await client.post("/admin/name", data=sent)).status_code == 403
    async with alone.visitor() as client:
        await sign_in(client)
        office = (await client.get("/admin")).text
        assert "lantern" in office
        assert "mint" not in office
        answer = await client.post("/admin/name", data={"product": mint, "name": "mine"})
        assert answer.status_code == 404, "another shop's"
        answer = await client.post("/admin/price", data={"product": lantern, "cents": 0})
        assert answer.status_code == 422


async def test_an_empty_cart_is_no_order(alone: Process) -> None:
    async with alone.visitor() as client:
        assert (await client.post("/orders")).url.path == "/login"
        await sign_in(client, "bob")
        assert (await client.post("/orders")).status_code == 422


@pytest.mark.parametrize("host", ["west.localhost", "", "north.localhost.evil.example"])
async def test_a_host_that_is_no_shop_s_has_no_page(alone: Process, host: str) -> None:
    transport = httpx.ASGITransport(alone.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/", headers={"host": host})
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
