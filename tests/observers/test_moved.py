"""Each metric is moved by what it is named after, on real servers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import text

from repocache import (
    CachedQueries,
    CacheMode,
    CacheSettings,
    KeyOwner,
    Repository,
    Settings,
    WriteThrough,
)
from repocache.cache.owner_count import FIRST_TOLD
from repocache.errors import CommitOutcomeUnknown
from repocache.events import MeasureFailed, RedisMeasured, SerialReads, TaskFailed, ValueBig
from repocache.invalidation.outbox import TABLE
from repocache.observers import CATALOGUE, LiveFigures
from repocache.observers import catalogue as metrics
from repocache.observers.prometheus import PrometheusMetrics
from repocache.observers.readings import SIZED
from repocache.testing import Endpoints, Servers
from tests.behind.counters import PageView
from tests.known_defects.shops import heard, in_l1
from tests.known_defects.test_invalidations import NEIGHBOUR, lose_next_message
from tests.observers.watched import PageViews, watched
from tests.policies.aged import aged_users, behind_a_door, filled, lose
from tests.shop import QUICK, User, Users, in_rotation, until


async def test_reads_by_tier(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        await in_rotation(here)
        users = here.db[Users]
        await users.get(7)
        assert here(metrics.READS, "user", "database") == 1
        assert here(metrics.BATCH_KEYS, "user") == 1
        node = here.seen[-1]
        loads = here.figures.histograms(metrics.LOAD_SECONDS)
        assert sum(each.count for each in loads.values()) == 1, node
        await until(lambda: here(metrics.FILLS, "user", "landed") == 1, "it is filled")
        assert here(metrics.REDIS_WRITTEN, "user") > 10
        here.db.switch(Users, CacheMode.SHARED)
        for _ in range(SIZED):
            await users.get(7)
        await here.db.measure()
        assert here(metrics.READS, "user", "l2") == SIZED
        assert here(metrics.REDIS_READ, "user") == SIZED * here(metrics.REDIS_WRITTEN, "user")
        assert here(metrics.VALUE_SIZE, "user") == 2
        here.db.switch(Users, CacheMode.ON)
        await users.get(7)
        for _ in range(2 * FIRST_TOLD):
            await users.get(7)
        await here.db.measure()
        assert here(metrics.READS, "user", "l1") == 2 * FIRST_TOLD
        assert here(metrics.L1_MISSES, "user") >= 1
        assert here(metrics.L1_AGE, "user") >= 1
        assert here(metrics.L1_ENTRIES, "user") == 1
        assert here(metrics.L1_MEMORY, "user") > 500
        assert here(metrics.KEYS_DISTINCT, "user") == 1
        assert here(metrics.OWNER_INFO, "user", "cache-aside") == 1
        await users.get(7)
        await here.db.measure()
        assert here(metrics.READS, "user", "l1") == 2 * FIRST_TOLD + 1, "a total is told once"
        routed = here.figures.values(metrics.ROUTES)
        assert sum(routed.values()) >= 1
        assert {reason for _, reason in routed} <= {"asked", "floor unknown", "replica"}


async def test_callers_of_one_load(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        await asyncio.gather(*(here.db[Users].get(7) for _ in range(10)))
        await here.db.measure()
        assert here(metrics.READS, "user", "database") == 1
        assert here(metrics.READS, "user", "joined") == 9


async def test_what_becomes_of_entries(repocache_endpoints: Endpoints) -> None:
    small = Settings(topology=QUICK, local_entries=5)
    async with watched(repocache_endpoints, settings=small) as here:
        users = here.db[Users]
        await users.get_many(range(1, 21))
        await here.db.measure()
        await until(lambda: here(metrics.FILLS, "user", "landed") == 20, "all are filled")
        await here.db.measure()
        assert here(metrics.L1_EVICTIONS, "user") == 15
        [kept] = [each for each in range(1, 21) if users._peek(each) is not None][:1]
        await here.rename(kept, "Ada")
        await here.db.measure()
        assert here(metrics.L1_INVALIDATIONS, "user") == 1
        local = here.db._started.cache.shared.local
        now = local.clock()
        local.clock = lambda: now + 1_000
        local.get(("user", next(iter(local.shelf("user").entries))))
        await here.db.measure()
        assert here(metrics.L1_EXPIRATIONS, "user") == 1


async def test_commits_and_what_they_tell(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here, watched(repocache_endpoints) as other:
        await here.rename(7, "Ada")
        assert here(metrics.INVALIDATIONS_SENT) == 1
        assert here(metrics.PUBLISH_SECONDS) == 1
        await until(lambda: here(metrics.INVALIDATIONS_APPLIED, "own") == 1, "heard here")
        await until(lambda: other(metrics.INVALIDATIONS_APPLIED, "others") == 1, "and there")
        async with here.db.unit_of_work() as work:
            await work.session.execute(text("UPDATE users SET age = age"))
            await work.commit()
        assert here(metrics.UNDECLARED_WRITES) == 1

        async def fail() -> None:
            raise ZeroDivisionError

        async with here.db.unit_of_work() as work:
            work.after_commit(fail)
            await work.commit()
        assert here(metrics.HOOK_FAILURES) == 1


async def test_a_fill_that_came_too_late(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        leases = here.db._started.readers[Users].caches[0]._loader._leases
        store = leases.store

        async def store_late(*given: object) -> object:
            await here.rename(7, "Ada")
            return await store(*given)  # type: ignore[arg-type]  # as they came

        leases.store = store_late  # type: ignore[method-assign, assignment]
        await here.db[Users].get(7)
        await until(lambda: here(metrics.FILLS, "user", "fenced") == 1, "the fence is at work")


async def test_write_through_and_cached_selects(repocache_endpoints: Endpoints) -> None:
    class Stored(Repository[User, int]):
        owner = KeyOwner("user")
        policy = WriteThrough(ttl=300, local_ttl=60)
        queries = CachedQueries(ttl=60, local_ttl=5)

    async with watched(repocache_endpoints, (Stored,)) as here:
        await in_rotation(here)
        people = here.db[Stored]
        assert len(await people.find(User.age < 11)) == 10
        assert len(await people.find(User.age < 11)) == 10
        async with here.db.unit_of_work() as work:
            (await work[Stored].require(7)).age = 90
            await work.commit()
        assert here(metrics.STORES, "landed") + here(metrics.STORES, "fenced") == 1
        assert here(metrics.QUERY_INVALIDATIONS) >= 1
        await here.db.measure()
        patterns = set(here.figures.values(metrics.OWNER_INFO))
        assert ("user", "write-through") in patterns
        assert {pattern for _, pattern in patterns} >= {"selects", "tags"}


async def test_how_the_servers_are(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        await in_rotation(here)
        await here.db.measure()
        for node in here.db.nodes:
            assert here(metrics.NODE_UP, node.name) == 1
            assert here(metrics.NODE_READS, node.name) == 0
        lags = here.figures.values(metrics.REPLICA_LAG)
        assert len(lags) == len(repocache_endpoints.replicas)
        assert len(here.figures.values(metrics.REPLICA_BEHIND)) == len(lags)
        await here.db[Users].get(7)
        await until(lambda: here(metrics.FILLS, "user", "landed") == 1, "it is filled")
        await here.db.measure()
        assert here(metrics.MAX_LAG) == QUICK.max_lag
        assert here(metrics.PRIMARY_PLACES) == QUICK.primary_reads
        assert (here(metrics.PRIMARY_READS), here(metrics.PRIMARY_WAITING)) == (0, 0)
        assert here(metrics.CHANNEL_UP) == 1
        assert here(metrics.LINK_RESTING) == 0
        assert here(metrics.CHANNEL_SECONDS) == 2
        assert here(metrics.REDIS_MEMORY) > 100_000
        assert here(metrics.REDIS_KEYS) >= 1
        measured = here.seen.of(RedisMeasured)[-1]
        for metric, value in (
            (metrics.REDIS_LIMIT, measured.maxmemory),
            (metrics.REDIS_EVICTED, measured.evicted),
            (metrics.REDIS_EXPIRED, measured.expired),
        ):
            assert here(metric) == value


async def test_a_replica_that_is_taken_out_alarms_nobody(repocache_endpoints: Endpoints) -> None:
    registry = CollectorRegistry()
    exported = PrometheusMetrics(registry)
    async with watched(repocache_endpoints, beside=exported) as here:
        await in_rotation(here)
        await here.db.measure()
        first, second = (each.name for each in here.db.nodes[1:])
        text = generate_latest(registry).decode()
        assert f'repocache_node_up{{node="{first}"}} 1.0' in text
        here.db.replicas = [repocache_endpoints.replicas[1]]
        await here.db.measure()
        assert (first,) not in here.figures.values(metrics.NODE_UP)
        assert (first,) not in here.figures.values(metrics.REPLICA_LAG)
        assert here(metrics.NODE_UP, second) == 1
        text = generate_latest(registry).decode()
        gauges = [line for line in text.splitlines() if f'node="{first}"' in line]
        assert not [line for line in gauges if "_node_" in line or "_replica_" in line]
        here.db.replicas = list(repocache_endpoints.replicas)
        await in_rotation(here)
        await here.db.measure()
        assert here(metrics.NODE_UP, first) == 1, "it is there again"


async def test_redis_that_is_full_and_whose_keys_end(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    redis = repocache_controls.redis
    async with watched(repocache_endpoints) as here:
        link = here.db._started.cache.link
        assert link is not None
        await link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        await link.call("SET", "soon", "over", "PX", "1")
        await asyncio.sleep(0.01)
        await link.call("GET", "soon")
        await here.db.measure()
        expired = here(metrics.REDIS_EXPIRED)
        assert expired >= 1
        used = int(here(metrics.REDIS_MEMORY))
        await link.call("CONFIG", "SET", "maxmemory", str(used + 200_000))
        for number in range(400):
            await link.call("SET", f"filler{number}", "x" * 1_000)
        await here.db.measure()
        assert here(metrics.REDIS_LIMIT) == used + 200_000
        assert here(metrics.REDIS_EVICTED) > 0
        await link.call("CONFIG", "SET", "maxmemory", "0")
        await link.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert redis is not None


async def test_redis_that_is_away_and_a_replica(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    async with watched(repocache_endpoints) as here:
        await in_rotation(here)
        await asyncio.to_thread(repocache_controls.redis.kill)
        await asyncio.to_thread(repocache_controls.replicas[0].kill)
        await until(lambda: here(metrics.CHANNEL_UP) == 0, "the channel is down")
        assert here(metrics.CHANNEL_LOSSES) == 1
        await here.db[Users].get(7)
        assert sum(here.figures.values(metrics.CACHE_FAILURES).values()) >= 1
        async with here.db.unit_of_work() as work:
            (await work[Users].require(7)).name = "Ada"
            assert not (await work.commit()).covered
        assert here(metrics.PUBLISH_FAILURES) >= 1
        lost = here.db.nodes[1].name
        await until(lambda: here(metrics.NODE_UP, lost) == 0, "the replica is out")
        assert sum(here.figures.values(metrics.NODE_OUTS).values()) >= 1
        link = here.db._started.cache.link
        assert link is not None
        await until(lambda: link.resting, "the breaker is open")
        await here.db.measure()
        assert here(metrics.LINK_RESTING) == 1
        assert here(metrics.CHANNEL_UP) == 0
        await asyncio.to_thread(repocache_controls.redis.start)
        await asyncio.to_thread(repocache_controls.replicas[0].start)
        await until(lambda: here(metrics.CHANNEL_UP) == 1, "the channel is back")
        await here.db.measure()
        assert here(metrics.LINK_RESTING) == 0


async def test_servers_that_say_nothing_hold_up_no_other_figure(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """Frozen, with open connections: each part is given up, and the others are told."""
    frozen = (repocache_controls.redis, repocache_controls.primary)
    async with watched(repocache_endpoints) as here:
        await in_rotation(here)
        await here.db[Users].get(7)
        for server in frozen:
            await asyncio.to_thread(server.freeze)
        try:
            async with asyncio.timeout(20):
                await here.db.measure()
            failed = {each.what for each in here.seen.of(MeasureFailed)}
            assert failed == {"redis", "outbox"}
            assert here(metrics.L1_MISSES, "user") >= 1, "L1 needs no server"
            leaving = asyncio.create_task(here.db.measure())
            await asyncio.sleep(0.05)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        finally:
            for server in frozen:
                await asyncio.to_thread(server.thaw)


async def test_a_message_that_was_lost(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here, watched(repocache_endpoints) as other:
        async with here.db.unit_of_work() as work:
            work.add(User(id=NEIGHBOUR, name="neighbour", age=1))
            await work.commit()
        await in_l1(here, 7, NEIGHBOUR)
        lose_next_message(here)
        await other.rename(7, "Ada")
        await heard(here)
        before = here(metrics.GAPS)
        await other.rename(NEIGHBOUR, "Bob")
        await heard(here)
        assert here(metrics.GAPS) == before + 1


async def test_the_outbox(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        await here.db.measure()
        assert here(metrics.OUTBOX_ROWS, "waiting") == 0
        held = here.db.outbox
        async with here.db.engine.connect() as connection:
            place = TABLE
            columns = "notices, due, since"
            later = "clock_timestamp() + interval '1 hour', clock_timestamp() - interval '9 s'"
            await connection.execute(
                text(f"INSERT INTO {place} ({columns}) VALUES ('[]'::jsonb, {later})")
            )
            await connection.execute(
                text(
                    f"INSERT INTO {place} ({columns}) "
                    "VALUES ('[]'::jsonb, 'infinity', clock_timestamp())"
                )
            )
            await connection.commit()
        await here.db.measure()
        assert here(metrics.OUTBOX_ROWS, "waiting") == 2
        assert here(metrics.OUTBOX_ROWS, "aside") == 1
        assert 9 <= here(metrics.OUTBOX_AGE) < 60
        assert (await held.count()).aside == 1
        async with here.db.engine.connect() as connection:
            due = "clock_timestamp() - interval '1 s'"
            key = '[{"k": ["user:7"], "o": []}]'
            await connection.execute(
                text(f"INSERT INTO {place} (notices, due) VALUES ('{key}'::jsonb, {due})")
            )
            await connection.commit()
        await until(lambda: here(metrics.RELAYED) >= 1, "the relay delivers it")
        async with here.db.engine.connect() as connection:
            await connection.execute(text(f"ALTER TABLE {place} RENAME TO elsewhere"))
            await connection.commit()
        await until(lambda: here(metrics.RELAY_FAILURES) >= 1, "the relay has no table")
        await here.db.measure()
        assert here(metrics.MEASURE_FAILURES) >= 1


async def test_what_is_written_behind(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints, (PageViews,)) as here:
        views = here.db[PageViews]
        await views.add(7, hits=3)
        await views.add(8, hits=1)
        await here.db.measure()
        waiting = here(metrics.BEHIND_CHANGES, "pageview")
        await views.flushed()
        flushed = here(metrics.FLUSHED_CHANGES, "pageview")
        assert flushed == 2
        assert waiting in (0, 1, 2)
        assert here(metrics.BEHIND_AGE, "pageview") >= 0
        assert here(metrics.FLUSHED_ROWS, "pageview") == 2
        assert here(metrics.FLUSH_LAG, "pageview") >= 1
        await views.add(7, hits=2_000_000_000)
        await views.flushed()
        assert here(metrics.DEAD_LETTERS, "pageview") == 1
        async with here.db.engine.connect() as connection:
            await connection.execute(text(f"ALTER TABLE {PageView.__tablename__} RENAME TO gone"))
            await connection.commit()
        await views.add(9, hits=1)
        await until(lambda: here(metrics.FLUSH_FAILURES, "pageview") >= 1, "there is no table")
        async with here.db.engine.connect() as connection:
            await connection.execute(text(f"ALTER TABLE gone RENAME TO {PageView.__tablename__}"))
            await connection.commit()
        await views.flushed()


async def test_backlog_is_seen(repocache_endpoints: Endpoints) -> None:
    from tests.behind.counters import PageViews as Rarely  # noqa: PLC0415

    async with watched(repocache_endpoints, (Rarely,)) as here:
        await here.db[Rarely].add(7, hits=3)
        await asyncio.sleep(0.02)
        await here.db.measure()
        assert here(metrics.BEHIND_CHANGES, "pageview") == 1
        assert here(metrics.BEHIND_AGE, "pageview") > 0


async def test_what_is_refused(repocache_endpoints: Endpoints) -> None:
    tight = Settings(topology=QUICK, cache=CacheSettings(max_value=8))
    async with watched(repocache_endpoints, settings=tight) as here:
        async with here.db.causal_session("garbage"):
            await here.db[Users].get(7)
        assert here(metrics.BOOKMARKS_REFUSED) == 1
        await until(lambda: here(metrics.VALUES_REFUSED) >= 1, "it is too large to be kept")
        await until(lambda: here(metrics.FILLS, "user", "not kept") == 1, "which is no fence")
        assert here(metrics.FILLS, "user", "fenced") == 0
        assert here(metrics.REDIS_WRITTEN, "user") == 0


async def test_shadow_mode_and_verification(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        await here.db[Users].get_many([7, 8])
        await until(lambda: here(metrics.FILLS, "user", "landed") == 2, "they are filled")
        async with here.db.engine.connect() as past_the_library:
            driver = (await past_the_library.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.execute("UPDATE users SET name = 'Ada' WHERE id = 7")
        verification = await here.db.verify(samples=20, within=0.05)
        assert verification.wrong
        assert here(metrics.VERIFIED, "wrong") == verification.wrong
        assert here(metrics.VERIFIED, "right") >= 1
        assert here(metrics.VERIFIED, "late") == 0
        async with here.db.engine.connect() as past_the_library:
            driver = (await past_the_library.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.execute("UPDATE users SET name = 'Ada' WHERE id = 8")
        here.db.switch(Users, CacheMode.SHADOW)
        await here.db[Users].on_primary().get(8)
        await here.db[Users].get(8)
        await until(
            lambda: sum(here.figures.values(metrics.SHADOWED).values()) >= 1, "it is compared", 30
        )


async def test_rows_that_were_kept_for_when_the_database_is_away(
    repocache_endpoints: Endpoints,
) -> None:
    repository, figures = aged_users(), LiveFigures()
    async with behind_a_door(repocache_endpoints, repository) as (shop, door):
        await filled(shop, repository, 7)
        async with shop.db.unit_of_work() as work:
            (await work[repository].require(7)).name = "new"
            await work.commit()
        await lose(door)
        await shop.db[repository].get(7)
        for event in shop.seen:
            figures(event)
        assert figures.value(metrics.READS, "aged", "aside") == 1


async def test_a_lease_of_another_process(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here, watched(repocache_endpoints) as other:
        async with here.db.engine.connect() as connection:
            await connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
            first = asyncio.create_task(other.db[Users].on_primary().get(7))
            loads = [asyncio.create_task(each.db[Users].get(7)) for each in (other, here)]
            await asyncio.sleep(0.2)
        await asyncio.gather(first, *loads)
        await here.db.measure()
        await other.db.measure()
        assert here(metrics.LEASE_WAITS, "user") + other(metrics.LEASE_WAITS, "user") == 1


async def test_a_commit_of_unknown_outcome(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        watch = here.db._started.watch
        commit = watch._commit

        def lost(connection: object) -> None:
            commit(connection)  # type: ignore[arg-type]
            raise here.db._topology.write_engine.dialect.loaded_dbapi.OperationalError("lost")

        watch._commit = lost  # type: ignore[assignment]
        with pytest.raises(CommitOutcomeUnknown):
            await here.rename(7, "Ada")
        assert here(metrics.COMMITS_UNKNOWN) == 1


async def test_reads_one_after_another(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        users = here.db[Users]
        async with here.db.causal_session():
            await asyncio.gather(*map(users.get, range(1, 21)))
            assert here(metrics.SERIAL_READS, "user") == 0, "they were together"
            for id in range(21, 41):
                await users.get(id)
            assert here(metrics.SERIAL_READS, "user") == 1, "it is told once"
        [told] = here.seen.of(SerialReads)
        assert re.fullmatch(r"test_moved.py:\d+ in test_reads_one_after_another", told.place)
        assert "get_many" in told.remedy


async def test_a_value_far_beyond_the_others(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:
        await here.db[Users].get_many(range(1, 41))
        await until(lambda: here(metrics.FILLS, "user", "landed") == 40, "they are filled")
        async with here.db.unit_of_work() as work:
            (await work[Users].require(50)).settings = {"all": "x" * 50_000}
            await work.commit()
        await here.db[Users].get(50)
        await until(lambda: here(metrics.FILLS, "user", "landed") == 41, "it is filled")
        assert here(metrics.VALUES_BIG, "user") == 1
        [told] = here.seen.of(ValueBig)
        assert (told.key, told.size > 50_000, told.usual < 1_000) == ("user:50", True, True)


async def test_a_task_that_died(repocache_endpoints: Endpoints) -> None:
    async with watched(repocache_endpoints) as here:

        async def die() -> None:
            raise ZeroDivisionError

        here.db._started.cache.tasks.spawn(die())
        await until(lambda: bool(here.seen.of(TaskFailed)), "it is told")
        assert here(metrics.TASK_FAILURES) == 1


def test_all_metrics_are_here() -> None:
    """Each in an assertion of this file, or of those of its own."""
    texts = "".join(each.read_text() for each in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r"metrics\.([A-Z0-9_]+)", texts))
    known = {name for name, each in vars(metrics).items() if each in CATALOGUE and name.isupper()}
    assert known - named == set()
