"""A WebSocket is one session, from its handshake on."""

from __future__ import annotations

from typing import Any

from repocache.http import Cookie, Header, Scope, Subject
from repocache.http.asgi import Receive, Send
from repocache.testing import Servers
from tests.shop import Shop, User
from tests.web.serving import Spoken, client, old_enough, pause, scope, user_of, web

EVERY = [Header(), Cookie(), Subject(user_of)]


async def test_it_begins_with_the_handshakes_bookmark(
    repocache_controls: Servers, shop: Shop, other: Shop
) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        found = await shop.users.find(User.id == 7)
        await send({"type": "websocket.send", "text": found[0].name})

    await old_enough(shop, "7", "8")
    await pause(repocache_controls)
    async with client(web(shop, EVERY), **{"x-user": "7"}) as browser:
        written = await browser.put("/7/Ada")
    pair = written.headers["set-cookie"].partition(";")[0].encode()
    for line in (
        (b"bookmark", written.headers["bookmark"].encode()),
        (b"cookie", b"a=b; " + pair),
        (b"x-user", b"7"),
    ):
        spoken = Spoken()
        asked = scope("websocket", headers=[line])
        await web(other, EVERY, endpoint)(asked, spoken.receive, spoken.send)
        assert spoken.said[-1]["text"] == "Ada"
        assert "headers" not in spoken.said[0], "nothing moved"
    spoken = Spoken()
    asked = scope("websocket", headers=[(b"x-user", b"8")])
    await web(other, EVERY, endpoint)(asked, spoken.receive, spoken.send)
    assert spoken.said[-1]["text"] == "n07"


async def test_the_accept_message_carries_what_moved_before(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await shop.rename(7, "Ada")
        await send({"type": "websocket.accept", "subprotocol": None, "headers": [(b"a", b"b")]})

    spoken = Spoken()
    await web(shop, EVERY, endpoint)(scope("websocket"), spoken.receive, spoken.send)
    names = [name for name, _ in spoken.said[0]["headers"]]
    assert names == [b"a", b"cache-control", b"vary", b"bookmark", b"set-cookie"]


async def test_a_subject_is_told_before_each_message(shop: Shop) -> None:
    """Who hears of a write by a message may ask at once, by another request."""
    known: list[Any] = []

    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        for number in range(3):
            await shop.rename(7, f"x{number}")
            await send({"type": "websocket.send", "text": str(number)})
        await shop.rename(7, "after the last")

    async def note(message: Any) -> None:
        (mark,) = (await shop.db.subjects.load("7")).bookmarks or (None,)
        known.append(mark and mark.position)

    await old_enough(shop)
    asked = scope("websocket", headers=[(b"x-user", b"7")])
    await web(shop, EVERY, endpoint)(asked, Spoken().receive, note)
    await note(None)
    assert known[0] is None
    assert known[1:] == sorted(set(known[1:]))
    assert len(known) == 5


async def test_a_handshake_that_is_denied_with_an_answer(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await shop.rename(7, "Ada")
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})

    spoken = Spoken()
    await web(shop, EVERY, endpoint)(scope("websocket"), spoken.receive, spoken.send)
    assert spoken.lines("websocket.http.response.start", b"bookmark")
