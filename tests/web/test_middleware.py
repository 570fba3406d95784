"""The next request reads its own writes, whatever carries the bookmark; nothing else happens."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from repocache import ConfigurationError, Database, Settings
from repocache.bookmark import Bookmark
from repocache.events import BookmarkRefused
from repocache.http import CausalMiddleware, Cookie, Header, Scope, Subject
from repocache.http.asgi import Receive, Send
from repocache.routing.around import current_session
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, Shop, Users, open_shop, until
from tests.web.serving import (
    Spoken,
    answers,
    application,
    client,
    in_session,
    old_enough,
    pause,
    scope,
    user_of,
    web,
)

CARRIERS = {"header": Header(), "cookie": Cookie(), "subject": Subject(user_of)}


async def put_then_get(writes: Any, reads: Any, between: Callable[[], Any] | None = None) -> str:
    """One client, two processes; the header is carried as a program would."""
    async with client(writes, **{"x-user": "7"}) as first:
        answered = await first.put("/7/Ada")
        assert answered.status_code == 200
        cookies = first.cookies
    if between is not None:
        await between()
    carried = {"bookmark": text} if (text := answered.headers.get("bookmark")) else {}
    async with client(reads, **{"x-user": "7"}, **carried) as second:
        second.cookies = cookies
        found = await second.get("/7")
        assert found.status_code == 200
        return str(found.json())


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
async def test_the_next_request_reads_its_own_write(
    repocache_controls: Servers, shop: Shop, other: Shop, carrier: Any
) -> None:
    await old_enough(shop)
    await pause(repocache_controls)
    assert await put_then_get(web(shop, carrier), web(other, carrier)) == "Ada"
    async with client(web(other, carrier)) as stranger:
        assert (await stranger.get("/7")).json() == "n07", "who carries nothing sees what is there"


@pytest.mark.parametrize("leaving", [None, *CARRIERS])
async def test_several_carriers_are_merged(
    repocache_controls: Servers, shop: Shop, other: Shop, leaving: str | None
) -> None:
    """Any one of them will do."""
    await old_enough(shop)
    await pause(repocache_controls)
    left = [each for name, each in CARRIERS.items() if name != leaving]
    assert await put_then_get(web(shop, list(CARRIERS.values())), web(other, left)) == "Ada"


async def test_the_merged_bookmark_holds_what_each_of_them_says(
    repocache_controls: Servers, shop: Shop, other: Shop
) -> None:
    """1. A write, which replicas have; 2. another one, which they have not; 3. whatever comes
    first, and whatever last."""
    async with client(web(shop, Header())) as browser:
        first = (await browser.put("/7/Ada")).headers["bookmark"]
        await asyncio.to_thread(repocache_controls.catch_up)
        await pause(repocache_controls)
        last = (await browser.put("/7/Grace")).headers["bookmark"]
    for order in ((first, last), (last, first)):
        lines = [(b"bookmark", text.encode()) for text in order]
        spoken = Spoken()
        await web(other, Header())(scope(path="/7", headers=lines), spoken.receive, spoken.send)
        assert spoken.said[-1]["body"] == b'"Grace"'


async def test_it_is_sent_only_when_it_moved(shop: Shop) -> None:
    async with client(web(shop, [Header(), Cookie()])) as browser:
        first = await browser.get("/7")
        written = await browser.put("/7/Ada")
        carried = {"bookmark": written.headers["bookmark"]}
        again = await browser.get("/7", headers=carried)
    for answer in (first, again):
        assert "bookmark" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert "cache-control" not in answer.headers
        assert "vary" not in answer.headers
    assert written.headers["cache-control"] == "private"
    assert written.headers["vary"] == "Bookmark"
    assert written.headers["set-cookie"].startswith("bookmark=")


async def test_the_attributes_of_a_cookie(shop: Shop) -> None:
    carrier = Cookie("__Host-b", same_site="strict", max_age=60)
    async with client(web(shop, carrier)) as browser:
        written = await browser.put("/7/Ada")
    value, *attributes = written.headers["set-cookie"].split("; ")
    assert value.startswith("__Host-b=")
    assert attributes == ["Path=/", "Max-Age=60", "HttpOnly", "Secure", "SameSite=Strict"]
    assert "vary" not in written.headers
    assert shop.db._routing.signer is not None
    assert shop.db._routing.signer.unsign(value.partition("=")[2]) is not None


async def test_the_answers_own_header_is_kept(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await shop.rename(7, "Ada")
        await answers(
            send,
            "done",
            (b"Cache-Control", b'public, max-age=60, s-maxage=600, ext="a, public"'),
            (b"vary", b"Accept"),
            (b"Vary", b"accept-language, bookmark"),
            (b"set-cookie", b"own=1"),
            (b"Bookmark", b"of an upstream service"),
        )

    async with client(web(shop, [Header(), Cookie()], endpoint)) as browser:
        answer = await browser.get("/")
    assert answer.headers.get_list("cache-control") == ['private, max-age=60, ext="a, public"']
    assert answer.headers["vary"] == "Accept, accept-language, bookmark"
    assert [each.partition("=")[0] for each in answer.headers.get_list("set-cookie")] == [
        "own",
        "bookmark",
    ]
    assert answer.headers.get_list("bookmark") != ["of an upstream service"]
    assert len(answer.headers.get_list("bookmark")) == 1


async def test_it_is_as_late_as_the_beginning_of_the_answer(shop: Shop) -> None:
    """What a stream or a background task commits is too late for a header, but not for a
    subject."""

    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await shop.rename(7, "in the stream")
        await send({"type": "http.response.body", "body": b"2", "more_body": True})
        told.append(await shop.db.subjects.load("7"))
        await send({"type": "http.response.body", "body": b""})
        await shop.rename(8, "in the background")

    told: list[Any] = []
    await old_enough(shop)
    spoken = Spoken()
    app = web(shop, [Header(), Subject(user_of)], endpoint)
    await app(scope(headers=[(b"x-user", b"7")]), spoken.receive, spoken.send)
    assert "headers" not in spoken.said[0], "the answer's own message"
    (mark,) = told[0].bookmarks
    (last,) = (await shop.db.subjects.load("7")).bookmarks
    assert 0 < mark.position < last.position


async def test_an_error_leaves_nothing_behind(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        assert in_session()
        await shop.rename(7, "Ada")
        raise ZeroDivisionError

    await old_enough(shop)
    app, spoken = web(shop, [Header(), Subject(user_of)], endpoint), Spoken()
    with pytest.raises(ZeroDivisionError):
        await app(scope(headers=[(b"x-user", b"7")]), spoken.receive, spoken.send)
    assert not in_session()
    assert spoken.said == []
    (mark,) = (await shop.db.subjects.load("7")).bookmarks
    assert mark.position, "its commit stands, and is the subject's"


async def test_who_is_cancelled_loses_no_bookmark(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await shop.rename(7, "Ada")
        committed.set()
        await asyncio.Event().wait()

    await old_enough(shop)
    committed, spoken = asyncio.Event(), Spoken()
    app = web(shop, Subject(user_of), endpoint)
    working = asyncio.create_task(
        app(scope(headers=[(b"x-user", b"7")]), spoken.receive, spoken.send)
    )
    await committed.wait()
    working.cancel()
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working

    async def stored() -> bool:
        return bool((await shop.db.subjects.load("7")).bookmarks)

    await until(stored, "it is stored")


async def test_other_scopes_pass_through(shop: Shop) -> None:
    spoken = Spoken()
    await web(shop, Header())({"type": "lifespan"}, spoken.receive, spoken.send)
    assert spoken.said == [{"type": "lifespan.startup.complete"}]


async def test_a_head_request(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "HEAD"
        await shop.rename(7, "Ada")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with client(web(shop, Header(), endpoint)) as browser:
        answer = await browser.head("/")
    assert answer.headers["bookmark"]
    assert answer.content == b""


ODD: list[Any] = [
    b"",
    b"x",
    b"AAAA",
    "é".encode(),
    b"\xff\xfe\0",
    b"a" * 100_000,
    b'"',
    b"{}",
    b".",
    "a text",
    "é",
    "\udc80",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_whatever_is_carried_is_no_error(shop: Shop, odd: Any) -> None:
    as_pair = odd if isinstance(odd, bytes) else odd.encode("latin-1", "replace")
    lines = [
        ("bookmark", odd),
        (b"BOOKMARK", odd),
        (b"cookie", b"bookmark=" + as_pair),
        (b"Cookie", b";;=; bookmark ; bookmark=" + as_pair + b'; bookmark="x"'),
        *[(b"bookmark", b"%d" % number) for number in range(100)],
        *[(b"cookie", b"bookmark=%d" % number) for number in range(100)],
    ]
    spoken = Spoken()
    app = web(shop, [Header(), Cookie(), Subject(user_of)])
    await app(scope(path="/7", headers=lines), spoken.receive, spoken.send)
    assert spoken.said[0]["status"] == 200
    assert len(shop.seen.of(BookmarkRefused)) <= 8, "no more of each are looked at"
    assert shop.seen.of(BookmarkRefused)


async def test_a_forged_one_is_refused(
    repocache_endpoints: Endpoints, shop: Shop, other: Shop
) -> None:
    forged = Bookmark("", None, {}, covered=True, expires=4e9).encode().encode()
    spoken = Spoken()
    lines = [(b"cookie", b"bookmark=" + forged)]
    await web(shop, Cookie())(scope(path="/7", headers=lines), spoken.receive, spoken.send)
    assert [event.why for event in shop.seen.of(BookmarkRefused)] == ["signature"]


@pytest.mark.parametrize("client_of", [lambda scope: scope["client"][0], lambda scope: None])
async def test_the_client_is_named(shop: Shop, client_of: Any) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        session = current_session()
        assert session is not None
        seen.append(session.client)
        await answers(send, "")

    seen: list[object] = []
    spoken = Spoken()
    app = web(shop, Header(), endpoint, client=client_of)
    await app(scope(client=("203.0.113.7", 5)), spoken.receive, spoken.send)
    assert (seen == ["203.0.113.7"]) is (client_of(scope(client=("203.0.113.7", 5))) is not None)


async def test_a_context_of_its_own_loses_the_session(shop: Shop) -> None:
    """What a middleware would do that runs the application in another context: it is seen here."""

    def apart(app: Any) -> Any:
        async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
            running = app(scope, receive, send)
            await asyncio.create_task(running, context=contextvars.Context())

        return elsewhere

    async with client(CausalMiddleware(apart(application(shop)), shop.db)) as browser:
        assert "bookmark" not in (await browser.put("/7/Ada")).headers
    async with client(apart(web(shop, Header()))) as browser:
        assert "bookmark" in (await browser.put("/7/Grace")).headers, "outside it does no harm"


async def test_tasks_of_the_request_are_in_its_session(shop: Shop) -> None:
    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.create_task(shop.rename(7, "Ada"))
        await answers(send, "")

    async with client(web(shop, Header(), endpoint)) as browser:
        assert "bookmark" in (await browser.get("/")).headers


async def test_two_requests_at_once_have_each_their_own(shop: Shop) -> None:
    async with client(web(shop, Header())) as browser:
        answered = await asyncio.gather(
            *(browser.put(f"/7/Ada{n}") if n % 2 else browser.get("/8") for n in range(10))
        )
    assert ["bookmark" in answer.headers for answer in answered] == [bool(n % 2) for n in range(10)]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"carrier": Cookie()}, "secrets"),
    ({"carrier": ()}, "give a carrier"),
    ({"carrier": Header}, "give a carrier"),
    ({"carrier": [Header]}, "no carrier"),
    ({"carrier": 7}, "give a carrier"),
    ({"carrier": "Bookmark"}, "no carrier"),
    ({"carrier": Subject(user_of)}, "Redis"),
    ({"client": "127.0.0.1"}, "function of the scope"),
    ({"bypass": "secret"}, "Bypass"),
    ({"db": None}, "Database"),
]


@pytest.mark.parametrize("wrong, words", WRONG)
def test_what_cannot_work_is_refused_when_it_is_made(wrong: dict[str, Any], words: str) -> None:
    db = Database("sqlite+aiosqlite:///x", repositories=[Users])

    async def app(*_: Any) -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError, match=words):
        CausalMiddleware(app, **{"db": db, **wrong})
    CausalMiddleware(app, db, Cookie(unsigned=True))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Header(""), "name"),
        (lambda: Header("a b"), "name"),
        (lambda: Header("é"), "name"),
        (lambda: Cookie("a;b"), "name"),
        (lambda: Cookie("a=b"), "name"),
        (lambda: Cookie(path="x"), "path"),
        (lambda: Cookie(path="/;a"), "path"),
        (lambda: Cookie(domain="a;b"), "domain"),
        (lambda: Cookie(domain=""), "domain"),
        (lambda: Cookie(same_site="None"), "same_site"),  # type: ignore[arg-type]
        (lambda: Cookie(same_site="none", secure=False), "secure"),
        (lambda: Cookie(max_age=0), "max_age"),
        (lambda: Cookie("__Host-a", path="/a"), "__Host-"),
        (lambda: Cookie("__Secure-a", secure=False), "secure"),
        (lambda: Subject("7"), "function"),  # type: ignore[arg-type]
    ],
)
def test_a_carrier_that_cannot_work_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make()


async def test_a_cookie_that_nobody_signs_is_taken_where_that_is_said(
    repocache_controls: Servers, repocache_endpoints: Endpoints
) -> None:
    async with open_shop(repocache_endpoints, Settings(topology=QUICK)) as shop:
        await pause(repocache_controls)
        async with client(web(shop, Cookie(unsigned=True))) as browser:
            await browser.put("/7/Ada")
            assert (await browser.get("/7")).json() == "Ada"
