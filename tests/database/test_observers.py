"""An observer that raises is logged, and disturbs nobody: not a read, not a commit, not what runs
beside them."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import re
from types import CoroutineType, FrameType
from typing import Any

import pytest
from sqlalchemy import text

from repocache import (
    CacheSettings,
    Changed,
    ChangedAll,
    ConfigurationError,
    Database,
    LoggingObserver,
    Misuse,
    Settings,
)
from repocache.cache.switch import CacheMode
from repocache.events import (
    BookmarkRefused,
    CachedEntityChanged,
    CacheFailed,
    ChannelDown,
    ChannelUp,
    Degraded,
    Event,
    Filled,
    HookFailed,
    Invalidated,
    NodeBack,
    NodeOut,
    Observers,
    Published,
    PublishFailed,
    Routed,
    Sampled,
    Served,
    Switched,
    TaskFailed,
    UndeclaredWrite,
    Unguarded,
    Verified,
)
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, REPOSITORIES, Orders, User, Users, until

LOUD = Settings(topology=QUICK, cache=CacheSettings(observe_hits=True))


class Fragile:
    """Sees everything, and bears nothing."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        raise ZeroDivisionError(type(event).__name__)

    def has(self, kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for event in self.events)


def made(endpoints: Endpoints, observer: Fragile, settings: Settings = LOUD) -> Database:
    return Database(
        endpoints.primary,
        replicas=endpoints.replicas,
        redis=endpoints.redis or None,
        repositories=REPOSITORIES,
        settings=dataclasses.replace(settings, observe=observer),
    )


async def test_reads_commits_and_sessions_do_not_notice(
    repocache_endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    fragile = Fragile()
    caplog.set_level(logging.CRITICAL, "repocache")
    async with made(repocache_endpoints, fragile) as db, db.invalidations(Users) as changes:
        assert isinstance(await anext(changes), ChangedAll)
        users = db[Users]
        for _ in range(3):
            assert (await users.require(7)).name == "n07"
            assert set(await users.get_many([1, 2, 7, 1_000])) == {1, 2, 7}
            assert len(await users.find(User.age < 11)) == 10
        await until(lambda: users._peek(7) is not None, "it is in L1")
        assert (await users.require(7)).name == "n07"
        async with db.causal_session() as session:
            async with db.unit_of_work() as work:
                (await work[Users].require(7)).name = "Ada"
                bookmark = await work.commit()
            assert bookmark.covered, (
                "its invalidation was delivered, whatever the observer thinks of it"
            )
            assert bookmark.takes_cached
            assert (await users.require(7)).name == "Ada"
            assert session.bookmark.covered
        change = await anext(changes)
        while isinstance(change, ChangedAll):
            change = await anext(changes)
        assert isinstance(change, Changed)
        async with db.causal_session("garbage"):
            assert await users.get(8) is not None
        db.switch(Users, CacheMode.SHADOW)
        assert (await users.require(7)).name == "Ada"
        assert not (await db.verify(samples=20, within=0.1)).wrong
    assert all(
        fragile.has(each)
        for each in (Unguarded, Sampled, ChannelUp, Served, Routed, Filled, Published, Invalidated)
    )
    assert all(fragile.has(each) for each in (BookmarkRefused, Switched, Verified, ChannelDown))
    assert not fragile.has(TaskFailed)


async def test_what_fails_and_comes_back_does_so_all_the_same(
    repocache_endpoints: Endpoints, repocache_controls: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    fragile = Fragile()
    caplog.set_level(logging.CRITICAL, "repocache")
    async with made(repocache_endpoints, fragile) as db:
        await asyncio.to_thread(repocache_controls.redis.kill)
        await asyncio.to_thread(repocache_controls.replicas[0].kill)
        async with db.unit_of_work() as work:
            (await work[Users].require(7)).name = "Grace"
            assert not (await work.commit()).covered
        assert (await db[Users].on_primary().require(7)).name == "Grace"
        assert len(await db[Orders].find()) == 6
        await asyncio.to_thread(repocache_controls.redis.start)
        await asyncio.to_thread(repocache_controls.replicas[0].start)
        await until(lambda: not any(node.out for node in db.nodes), "all nodes are in the rotation")
        await until(lambda: db._started.cache.shared.views.alive, "the link is up")
        await until(lambda: not len(db._started.cache.retry), "nothing is undelivered")
        assert (await db[Users].require(7)).name == "Grace"
    assert all(
        fragile.has(each) for each in (ChannelDown, PublishFailed, NodeOut, NodeBack, ChannelUp)
    )
    assert not fragile.has(TaskFailed)


async def test_what_the_application_is_told_of_its_own_faults_is_all_that_it_gets(
    repocache_endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    fragile, settings = Fragile(), dataclasses.replace(LOUD, misuse=Misuse.TELL)
    caplog.set_level(logging.CRITICAL, "repocache")
    async with made(repocache_endpoints, fragile, settings) as db:
        (await db[Users].require(7)).name = "Ada"

        async def fail() -> None:
            raise ZeroDivisionError

        async with db.unit_of_work() as work:
            work.after_commit(fail)
            await work.session.execute(text("UPDATE users SET name = 'Grace' WHERE id = 7"))
            await work.commit()
        assert (await db[Users].on_primary().require(7)).name == "Grace"
    assert all(fragile.has(each) for each in (CachedEntityChanged, UndeclaredWrite, HookFailed))
    assert not fragile.has(TaskFailed)


async def test_it_starts_and_ends_without_a_redis_and_a_replica(
    repocache_endpoints: Endpoints, repocache_controls: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    fragile = Fragile()
    caplog.set_level(logging.CRITICAL, "repocache")
    await asyncio.to_thread(repocache_controls.redis.kill)
    await asyncio.to_thread(repocache_controls.replicas[0].kill)
    async with made(repocache_endpoints, fragile) as db:
        assert (await db[Users].require(7)).name == "n07"
    assert all(fragile.has(each) for each in (Unguarded, CacheFailed, NodeOut))
    alone = Fragile()
    async with made(Endpoints(repocache_endpoints.primary, (), ""), alone) as db:
        assert (await db[Users].require(7)).name == "n07"
    assert {event.what for event in alone.events if isinstance(event, Degraded)} == {
        "replicas",
        "redis",
    }


async def test_nobody_has_it_but_its_guard(repocache_endpoints: Endpoints) -> None:
    """So whoever emits has the guard: also those that no test here makes speak."""
    fragile = Fragile()
    db = made(repocache_endpoints, fragile)
    async with db, db.invalidations(Users), db.unit_of_work() as work:
        await work[Users].require(7)
        await db[Users].require(7)
        gc.collect()
        guard = db.settings.observe
        assert isinstance(guard, Observers)
        holders = [each for each in gc.get_referrers(fragile) if each is not guard.observers]
        assert all(isinstance(each, FrameType | CoroutineType) for each in holders), holders


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no space left on device")


async def test_a_log_that_raises_disturbs_nobody_either(repocache_endpoints: Endpoints) -> None:
    logger, broken = logging.getLogger("repocache"), Broken()
    logger.addHandler(broken)
    try:
        async with made(repocache_endpoints, Fragile()) as db:
            assert await db[Users].get(7) is not None
    finally:
        logger.removeHandler(broken)


def test_it_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    fragile, heard = Fragile(), list[Event]()
    Observers([fragile, heard.append])(Switched("user", "off"))
    assert heard == fragile.events == [Switched("user", "off")]
    assert "an observer failed on Switched(owner='user', mode='off'" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_async_observer_is_refused() -> None:
    async def observe(event: Event) -> None:
        """Nobody would await it."""

    with pytest.raises(ConfigurationError, match="no async one: nobody would await it"):
        Settings(observe=observe)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no async one: nobody would await it"):
        Observers([observe])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "given, told",
    [
        (LoggingObserver, "LoggingObserver is a class: give one of it, LoggingObserver()"),
        ("stdout", "str: give a function of one event"),
    ],
)
def test_what_observes_nothing_is_refused(given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        Settings(observe=given)
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        Observers([LoggingObserver(), given])
