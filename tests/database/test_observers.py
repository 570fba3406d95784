"""An observer that raises is logged, and disturbs nobody: not a read, not a commit, not what runs beside them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import pytest

from repocache import CacheSettings, Changed, ChangedAll, ConfigurationError, Database, Settings
from repocache.cache.switch import CacheMode
from repocache.events import Event, Filled, Observers, Published, Routed, Served, Switched, TaskFailed, Verified
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


def made(endpoints: Endpoints, observer: Fragile) -> Database:
    return Database(
        endpoints.primary,
        replicas=endpoints.replicas,
        redis=endpoints.redis or None,
        repositories=REPOSITORIES,
        settings=dataclasses.replace(LOUD, observe=observer),
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
        await until(lambda: users._near(7) is not None, "it is in L1")
        assert (await users.require(7)).name == "n07"
        async with db.causal_session() as session:
            async with db.unit_of_work() as work:
                (await work[Users].require(7)).name = "Ada"
                bookmark = await work.commit()
            assert bookmark.covered, "its invalidation was delivered, whatever the observer thinks of it"
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
    assert all(map(fragile.has, (Served, Routed, Filled, Published, Switched, Verified)))
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
        await until(lambda: db._caching.shared.views.alive, "the link is up")
        await until(lambda: not len(db._caching.undelivered), "nothing is undelivered")
        assert (await db[Users].require(7)).name == "Grace"
    assert not fragile.has(TaskFailed)


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
    assert "an observer failed on Switched(owner='user', mode='off')" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_async_observer_is_refused() -> None:
    async def observe(event: Event) -> None:
        """Nobody would await it."""

    with pytest.raises(ConfigurationError, match="no async one: nobody would await it"):
        Settings(observe=observe)  # type: ignore[arg-type]
