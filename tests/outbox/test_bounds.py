"""What waits is bounded: while Redis is away, for tables that nobody owns, and in what is delivered
together."""

from __future__ import annotations

import asyncio

import pytest

from repocache.errors import CacheUnavailable
from repocache.events import OutboxUnowned, Relayed, RelayFailed
from repocache.invalidation import relay
from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.outbox import TABLE
from repocache.invalidation.relay import Relay
from repocache.runtime.outbox import RunningOutbox
from repocache.testing import Servers
from tests.outbox.conftest import Sql, left, until_empty
from tests.shop import Shop, until

ALL = range(1, 61)
MANY = (
    f"INSERT INTO {TABLE} (notices) SELECT jsonb_build_array(jsonb_build_object("
    "'k', jsonb_build_array('user:' || n % 60 + 1), 'o', jsonb_build_array())) FROM "
    "generate_series(1, {rows}) n"
)


def relay_of(shop: Shop) -> Relay:
    assert isinstance(shop.db._started.outbox, RunningOutbox)
    return shop.db._started.outbox.relay


def relayed(shop: Shop) -> int:
    return sum(event.rows for event in shop.seen.of(Relayed))


async def test_many_rows_become_one_while_redis_is_away(
    shop: Shop, sql: Sql, repocache_controls: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "FOLD", 200)
    await shop.users.get_many(ALL)
    await asyncio.to_thread(repocache_controls.redis.kill)
    for _ in range(3):
        await sql(MANY.format(rows=1_000))

        async def few() -> bool:
            return await left(sql) < 200

        await until(few, "they are folded")
    await sql("UPDATE users SET name = 'new' WHERE id = 7")
    await asyncio.to_thread(repocache_controls.redis.start)
    await until_empty(sql)
    assert 0 < relayed(shop) < 200
    assert (await shop.users.require(7)).name == "new"


async def test_few_rows_are_left_as_they_are(
    shop: Shop, sql: Sql, repocache_controls: Servers
) -> None:
    await asyncio.to_thread(repocache_controls.redis.kill)
    await sql(MANY.format(rows=100))
    await until(lambda: len(shop.seen.of(RelayFailed)) >= 2, "the relay has tried")
    assert await left(sql) == 100
    await asyncio.to_thread(repocache_controls.redis.start)
    await until_empty(sql)
    assert relayed(shop) == 100


async def test_what_redis_does_not_take_in_time_is_tried_in_smaller_parts(
    shop: Shop, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch too large for its deadline would be tried for ever."""
    sizes: list[int] = []
    deliver = shop.db._started.cache.retry.deliver

    async def slow(batch: Batch) -> None:
        sizes.append(len(batch))
        if len(batch) > 10:
            raise CacheUnavailable("not in time")
        await deliver(batch)

    monkeypatch.setattr(relay, "FIRST_PAUSE", 0.01)
    relay_of(shop)._deliver = slow
    await sql(MANY.format(rows=60))
    await until_empty(sql)
    assert max(sizes) > 10
    assert relayed(shop) == 60


async def test_a_table_that_nobody_owns_becomes_one_row(
    shop: Shop, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "FOLD", 200)
    await sql(
        (
            f"INSERT INTO {TABLE} (source, notices) SELECT 'public.strange', '[]' FROM "
            "generate_series(1, 1000)"
        ),
        (
            f"INSERT INTO {TABLE} (source, notices) SELECT 'public.other', '[]' FROM "
            "generate_series(1, 100)"
        ),
    )
    relay_of(shop)._foreign_at = 0.0
    await until(lambda: bool(shop.seen.of(OutboxUnowned)), "it is told")
    assert shop.seen.of(OutboxUnowned) == [OutboxUnowned("public.strange", 1000)]
    rows = await sql(
        f"SELECT source, count(*), max(notices::text) FROM {TABLE} GROUP BY source ORDER BY source"
    )
    assert rows == [("public.other", 100, "[]"), ("public.strange", 1, '[{"t": "public.strange"}]')]


def test_merged() -> None:
    some = Batch({"user": frozenset({"user:1"}), "tag": frozenset()}, frozenset({"order"}))
    more = Batch({"user": frozenset({"user:2"}), "order": frozenset({"order:1"})})
    assert merged([some, more], 2) == Batch(
        {"user": frozenset({"user:1", "user:2"}), "tag": frozenset()}, some.owners
    )
    assert merged([some, more], 1) == Batch({}, frozenset({"order", "user"}))
    assert not merged([], 1)
