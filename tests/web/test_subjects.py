"""Redis keeps a subject's bookmark: never lowered, never silently lost, and never an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from repocache import ConfigurationError, UsageError
from repocache.bookmark import Bookmark
from repocache.events import BookmarkRefused, CacheFailed
from repocache.http import Scope, Subject
from repocache.http.asgi import Receive, Send
from repocache.records import Nonces
from repocache.subjects import SubjectState
from repocache.subjects.subjects import _digest, _drawer_of
from repocache.testing import Endpoints, Servers
from tests.shop import Shop, in_rotation, open_shop, until
from tests.tcp_proxy import TcpProxy
from tests.web.conftest import SETTINGS
from tests.web.serving import (
    Spoken,
    answers,
    client,
    drawer_of,
    old_enough,
    pause,
    scope,
    user_of,
    web,
)


async def put(shop: Shop, name: str, subject: str = "7", id: int = 7) -> None:
    async with client(web(shop, Subject(user_of)), **{"x-user": subject}) as browser:
        answer = await browser.put(f"/{id}/{name}")
        assert answer.status_code == 200


async def get(shop: Shop, subject: str = "7", id: int = 7) -> str:
    async with client(web(shop, Subject(user_of)), **{"x-user": subject}) as browser:
        answer = await browser.get(f"/{id}")
        assert answer.status_code == 200
        return str(answer.json())


async def position(shop: Shop, subject: str = "7") -> int | None:
    """Of the one bookmark that is known of."""
    (mark,) = (await shop.db.subjects.load(subject)).bookmarks
    return mark.position


def lost(state: SubjectState) -> bool:
    return any(mark.position is None and mark.wrote is None for mark in state.bookmarks)


async def test_the_earlier_of_two_devices_does_not_lower_the_later(
    repocache_controls: Servers, shop: Shop, other: Shop
) -> None:
    """1. Both begin; 2. the phone commits, then the tablet; 3. the tablet stores, then the
    phone."""
    await old_enough(shop)
    await pause(repocache_controls)
    phone, tablet = await shop.db.subjects.load("7"), await other.db.subjects.load("7")
    assert phone.bookmarks == tablet.bookmarks == ()
    async with shop.db.causal_session() as early:
        await shop.rename(7, "Ada")
    async with other.db.causal_session() as late:
        await other.rename(8, "Grace")
    await other.db.subjects.store(tablet, late)
    await shop.db.subjects.store(phone, early)
    assert await position(shop) == late.bookmark.position
    assert (early.bookmark.position or 0) < (late.bookmark.position or 0)
    (mark,) = (await shop.db.subjects.load("7")).bookmarks
    assert set(mark.buckets) == set(early.bookmark.buckets) | set(late.bookmark.buckets)
    assert (await get(other, id=7), await get(shop, id=8)) == ("Ada", "Grace")


async def test_many_devices_at_once_lose_none(shop: Shop, other: Shop) -> None:
    await old_enough(shop)
    await asyncio.gather(
        *(put(each, f"x{n}", id=n) for n in range(1, 11) for each in [(shop, other)[n % 2]])
    )
    (mark,) = (await shop.db.subjects.load("7")).bookmarks
    polled = await shop.db._topology.position()
    assert polled is not None
    async with shop.db.causal_session() as session:
        await shop.rename(20, "last")
    assert mark.position is not None
    assert 0 < mark.position < (session.bookmark.position or 0)
    assert len(mark.buckets) == 10


async def test_a_session_that_nobody_overtook_settles_what_was_not_known(shop: Shop) -> None:
    """What was stored without a position does not stay so for as long as its user writes."""
    await old_enough(shop)
    state = await shop.db.subjects.load("7")
    unknown = Bookmark("", None, {}, covered=True, expires=4e9)
    async with shop.db.causal_session() as session:
        session.advance(unknown)
    state = await shop.db.subjects.store(state, session)
    assert await position(shop) is None
    await put(shop, "Ada")
    assert await position(shop)


async def test_one_that_is_kept_nowhere_else_is_merged_into_a_login(
    repocache_controls: Servers, shop: Shop, other: Shop
) -> None:
    """Who somebody is may be known only once his session has begun."""
    await old_enough(shop)
    await pause(repocache_controls)
    await put(other, "Grace", id=8)
    async with shop.db.causal_session() as session:
        await shop.rename(7, "Ada")
    await shop.db.subjects.store(SubjectState("7"), session)
    assert (await get(other), await get(other, id=8)) == ("Ada", "Grace")


LOSSES = ["flushed", "restarted", "an old snapshot", "evicted", "broken", "garbage", "of the value"]


async def lose(how: str, redis: Any, shop: Shop) -> None:
    drawer = drawer_of(shop, "7")
    if how == "flushed":
        await asyncio.to_thread(redis.command, "FLUSHALL")
    elif how == "evicted":
        await asyncio.to_thread(redis.command, "DEL", drawer)
    elif how == "broken":
        await asyncio.to_thread(redis.command, "SET", drawer, "no hash")
    elif how == "garbage":
        await asyncio.to_thread(redis.command, "HSET", drawer, f"s:{_digest('7')}", "99:garbage")
    elif how == "of the value":
        await asyncio.to_thread(redis.command, "HSET", drawer, f"s:{_digest('7')}", "9" * 10_000)
    else:
        await asyncio.to_thread(redis.kill)
        await asyncio.to_thread(redis.start)
        await until(lambda: alive(shop), "Redis is back")


@pytest.mark.parametrize("how", LOSSES)
async def test_what_is_lost_with_redis_means_the_primary(
    repocache_controls: Servers, shop: Shop, other: Shop, how: str
) -> None:
    redis = repocache_controls.redis
    await old_enough(shop)
    await put(shop, "Grace")
    await asyncio.to_thread(repocache_controls.catch_up)
    if how == "an old snapshot":
        await asyncio.to_thread(redis.snapshot)
    await pause(repocache_controls)
    await put(shop, "Ada")
    await lose(how, redis, shop)
    await until(lambda: alive(other), "its link is there")
    # As in a process that was started just now: it knows by the drawer alone.
    other.db.subjects._back_since = None
    assert await get(other) == "Ada"
    assert await get(other) == "Ada", "and again: for a window"
    state = await other.db.subjects.load("7")
    assert lost(state)
    now = other.db._topology.now()
    assert now < state.bookmarks[0].expires <= now + other.db.settings.window
    await put(other, "Grace", id=8)
    assert await get(other) == "Ada", "what is stored now does not hide what was lost"
    await old_enough(other)
    assert not lost(await other.db.subjects.load("7")), "it ends"


async def test_who_has_never_written_is_read_anywhere(
    repocache_controls: Servers, shop: Shop
) -> None:
    """Once the drawer is old enough to be believed; before, nobody knows what it had."""
    await pause(repocache_controls)
    await shop.rename(7, "Ada")
    assert await get(shop) == "Ada", "born just now"
    await old_enough(shop)
    assert await get(shop) == "n07"


@pytest.mark.parametrize("how", ["kill", "freeze", "stop"])
async def test_a_redis_that_is_away_means_the_primary_and_no_error(
    repocache_controls: Servers, shop: Shop, how: str
) -> None:
    await old_enough(shop)
    await put(shop, "Grace")
    await pause(repocache_controls)
    await asyncio.to_thread(getattr(repocache_controls.redis, how))
    await put(shop, "Ada")
    assert await get(shop) == "Ada"
    assert [event.what for event in shop.seen.of(CacheFailed) if event.what == "subject"]


async def test_a_commit_that_redis_was_not_told_of_is_not_forgotten(
    repocache_controls: Servers, repocache_endpoints: Endpoints, shop: Shop
) -> None:
    """1. Two processes lose Redis, which loses nothing; 2. one of them commits; 3. the other is
    back first, and finds the subject's bookmark of before; 4. then the one that committed."""
    async with (
        TcpProxy(repocache_endpoints.redis) as first_way,
        TcpProxy(repocache_endpoints.redis) as second_way,
        open_shop(_by(repocache_endpoints, first_way), SETTINGS) as first,
        open_shop(_by(repocache_endpoints, second_way), SETTINGS) as second,
    ):
        await in_rotation(first)
        await in_rotation(second)
        await old_enough(shop)
        await put(first, "Grace")
        assert not lost(await second.db.subjects.load("7"))
        await asyncio.to_thread(repocache_controls.catch_up)
        await pause(repocache_controls)
        for way, each in ((first_way, first), (second_way, second)):
            way.lead_to("redis://127.0.0.1:1/0")
            await way.cut()
            await until(lambda each=each: not alive(each), "its link is lost")  # type: ignore[misc]
        await put(first, "Ada")
        second_way.lead_to(repocache_endpoints.redis)
        await until(lambda: alive(second), "the second is back")
        assert await get(second) == "Ada", "by its own loss of Redis"
        first_way.lead_to(repocache_endpoints.redis)
        await until(lambda: alive(first), "the first is back")
        await until(lambda: not first.db.subjects.unsaid, "Redis was told")
        assert lost(await shop.db.subjects.load("7")), "and whoever never lost it knows, too"
        assert await get(shop) == "Ada"


def alive(shop: Shop) -> bool:
    return shop.db._started.cache.shared.views.alive


def _by(endpoints: Endpoints, way: TcpProxy) -> Endpoints:
    return Endpoints(endpoints.primary, endpoints.replicas, way.url)


async def test_what_has_ended_goes(shop: Shop) -> None:
    """A drawer is bounded by those who have written lately."""
    subjects, known = shop.db.subjects, []
    first = next(_names(Nonces(), None))
    names = _names(Nonces(), _drawer_of(first))
    await old_enough(shop, first)
    for number in range(40):
        name = next(names)
        async with shop.db.causal_session() as session:
            session.advance(
                Bookmark("", None, {}, covered=True, expires=2.0 if number < 39 else 4e9)
            )
        known.append(name)
        await subjects.store(await subjects.load(name), session)
    link = shop.db._started.cache.link
    assert link is not None
    assert await link.call("HLEN", drawer_of(shop, first)) < 20
    assert (await subjects.load(known[-1])).bookmarks


def _names(nonces: Nonces, drawer: int | None) -> Iterator[str]:
    """Subjects of one drawer."""
    while True:
        name = nonces()
        if drawer is None or _drawer_of(name) == drawer:
            yield name


async def test_no_name_of_a_subject_is_in_redis(
    repocache_servers: Servers, repocache_endpoints: Endpoints, shop: Shop
) -> None:
    await put(shop, "Ada", subject="ada@example.com")
    redis = repocache_servers.redis
    names = redis.command("KEYS", "*:{s*}")
    assert isinstance(names, list)
    assert names
    for name in names:
        assert "ada@example.com" not in str(redis.command("HGETALL", str(name)))


async def test_what_was_written_in_redis_by_another_is_refused(
    repocache_servers: Servers, shop: Shop
) -> None:
    """It would be a bookmark that keeps a user at the primary, or leaves his writes out."""
    await old_enough(shop)
    forged = Bookmark("", None, {}, covered=True, expires=4e9).encode()
    repocache_servers.redis.command(
        "HSET", drawer_of(shop, "7"), f"s:{_digest('7')}", f"9999999999999:{forged}"
    )
    assert lost(await shop.db.subjects.load("7"))
    assert [event.why for event in shop.seen.of(BookmarkRefused)] == ["of a subject: signature"]
    await until(lambda: not shop.db.subjects.unsaid, "the drawer is gone")


@pytest.mark.parametrize("subject", ["", None, 7, b"7"])
async def test_a_subject_is_a_text(shop: Shop, subject: Any) -> None:
    with pytest.raises(UsageError, match="subject"):
        await shop.db.subjects.load(subject)
    with pytest.raises(UsageError, match="subject"):
        await shop.db.subjects.store(SubjectState(subject), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("subject", ["\udc80", "a" * 100_000, "é:{b1}\n\0"])
async def test_a_subject_is_any_text(shop: Shop, subject: str) -> None:
    await old_enough(shop, subject)
    async with shop.db.causal_session() as session:
        await shop.rename(7, "Ada")
    await shop.db.subjects.store(await shop.db.subjects.load(subject), session)
    assert await position(shop, subject) == session.bookmark.position


async def test_without_a_redis_there_are_none(still: Shop) -> None:
    assert not still.db.has_redis
    with pytest.raises(ConfigurationError, match="Redis"):
        _ = still.db.subjects


async def test_a_process_that_does_not_hear_the_primary_drops_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no time passes no bookmark ends; what was dropped would be taken for never written."""
    assert shop.db._routing.ended() > 0
    monkeypatch.setattr(shop.db._topology, "counts_until", lambda *_: float("inf"))
    assert shop.db._routing.ended() == 0


async def test_who_logs_in_or_out_by_a_request_keeps_what_it_did(shop: Shop) -> None:
    """The subject is asked for again once the session has moved."""
    known: list[str | None] = ["7", "8"]

    async def endpoint(shop: Shop, scope: Scope, receive: Receive, send: Send) -> None:
        await shop.rename(7, "Ada")
        known.pop(0)
        await answers(send, "")

    await old_enough(shop, "7", "8")
    spoken = Spoken()
    app = web(shop, Subject(lambda _: known[0]), endpoint)
    await app(scope(), spoken.receive, spoken.send)
    assert await position(shop, "7") == await position(shop, "8") != 0
