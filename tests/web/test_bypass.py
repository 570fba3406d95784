"""Past every cache, and within the session's promises."""

from __future__ import annotations

import asyncio

import pytest

from repocache import ConfigurationError
from repocache.bookmark import Bookmark
from repocache.events import Filled, Served
from repocache.http import Bypass, Header, Scope
from repocache.http.asgi import Receive, Send
from repocache.routing.around import current_session
from repocache.testing import Servers
from tests.shop import Shop, until
from tests.web.serving import Spoken, answers, client, pause, scope, web

SECRET = "known to operators"


async def cached(shop: Shop) -> None:
    """User 7 in both tiers."""
    await shop.users.require(7)
    await until(lambda: bool(shop.seen.of(Filled)), "it is filled")
    await until(lambda: not len(shop.db._started.cache.shared.inflight), "the load has ended")
    shop.seen.clear()
    await shop.users.require(7)
    assert not shop.seen.of(Served), "from L1"


def tiers(shop: Shop) -> list[str]:
    found = [event.tier for event in shop.seen.of(Served)]
    shop.seen.clear()
    return found


@pytest.mark.parametrize("how", ["entity", "view", "many", "views"])
@pytest.mark.parametrize("tier", ["l1", "l2"])
async def test_reads_go_past_every_cache(shop: Shop, how: str, tier: str) -> None:
    async def read() -> None:
        users = shop.users
        if how == "entity":
            await users.require(7)
        elif how == "view":
            assert await users.card.get(7)
        elif how == "many":
            assert len(await users.get_many([7, 7])) == 1
        else:
            assert await users.card.get_many([7])

    await cached(shop)
    if tier == "l2":
        shop.db._started.cache.shared.local.clear()
    with shop.db.bypass():
        await read()
        assert tiers(shop) == ["database"]
        await read()
        assert tiers(shop) == ["database"], "nor does it fill"
    assert not shop.seen.of(Filled)
    await read()
    assert tiers(shop) == ([] if tier == "l1" else ["l2"]), "as it was before"


async def test_within_a_session_and_around_one(shop: Shop) -> None:
    await cached(shop)
    async with shop.db.causal_session():
        with shop.db.bypass():
            await shop.users.require(7)
            assert tiers(shop) == ["database"]
            with shop.db.bypass():
                await asyncio.create_task(_read(shop))
                assert tiers(shop) == ["database"]
            async with shop.db.causal_session():
                await shop.users.require(7)
                assert tiers(shop) == ["database"], "sessions begun there go past them, too"
        await shop.users.require(7)
        assert tiers(shop) == []
    assert current_session() is None


async def _read(shop: Shop) -> None:
    await shop.users.require(7)


async def test_the_sessions_promises_hold(
    repocache_controls: Servers, shop: Shop, other: Shop
) -> None:
    """And what is written there is the session's, at once."""
    await pause(repocache_controls)
    async with shop.db.causal_session() as session:
        with shop.db.bypass():
            await shop.rename(7, "Ada")
            assert session.bookmark.position, "not only when the block is left"
            assert (await shop.users.require(7)).name == "Ada"
            inner = current_session()
            assert inner is not None
            assert inner.encode() == session.encode()
            assert session.bookmark.takes_cached, "no other service reads past its caches for it"
        with shop.db.bypass():
            assert (await shop.users.require(7)).name == "Ada"
        text = session.encode()
    async with other.db.causal_session(text):
        with other.db.bypass():
            assert (await other.users.require(7)).name == "Ada"
    with other.db.bypass():
        assert (await other.users.require(7)).name == "n07", "without a session: any node"


async def test_a_bookmark_that_ended_asks_nothing_of_a_node(shop: Shop) -> None:
    async with shop.db.causal_session() as session:
        session.begin_with(Bookmark("", None, {}, covered=True, expires=1.0))
        with shop.db.bypass():
            await shop.users.require(7)
    assert [event.node for event in shop.seen.of(Served)] != ["primary"]


async def test_a_header_that_knows_the_secret(shop: Shop) -> None:
    await cached(shop)
    app = web(shop, Header(), bypass=Bypass(secret=SECRET))
    for value, expected in ((SECRET, ["database"]), ("wrong", []), (SECRET + "x", []), ("", [])):
        async with client(app, **{"X-Repocache-Bypass": value}) as browser:
            assert (await browser.get("/get/7")).json() == "n07"
        assert tiers(shop) == expected
    async with client(app) as browser:
        await browser.get("/get/7")
    assert tiers(shop) == []
    async with client(web(shop, Header()), **{"X-Repocache-Bypass": SECRET}) as browser:
        await browser.get("/get/7")
    assert tiers(shop) == [], "nobody may, where none was given"


async def test_what_is_written_past_the_caches_is_told(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await shop.rename(7, "Ada")
        await answers(send, "")

    app, spoken = web(shop, Header(), endpoint, bypass=Bypass(secret=SECRET)), Spoken()
    lines = [(b"x-repocache-bypass", SECRET.encode())]
    await app(scope(headers=lines), spoken.receive, spoken.send)
    assert spoken.lines("http.response.start", b"bookmark")


@pytest.mark.parametrize("secret", ["", "short", None, b"bytes of some length"])
def test_a_secret_is_long(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="16 bytes"):
        Bypass(secret=secret)
    assert "operators" not in repr(Bypass(secret=SECRET))
