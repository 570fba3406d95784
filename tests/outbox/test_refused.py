"""Rows that cannot be delivered: they give way, are put aside, and hold up nobody; no commit fails
of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from repocache import Database, KeyOwner, Repository
from repocache.alembic_ops.ddl import create_trigger
from repocache.errors import CacheUnavailable
from repocache.events import OutboxPutAside, OutboxRefused, Relayed, RelayFailed, TaskFailed
from repocache.invalidation import relay
from repocache.invalidation.batch import Batch
from repocache.invalidation.notice import LONGEST
from repocache.invalidation.outbox import TABLE, Mark, Outbox
from repocache.invalidation.relay import Relay
from repocache.invalidation.taken import MOST_TRIES
from repocache.runtime.outbox import RunningOutbox
from repocache.testing import Endpoints, Servers
from tests.outbox.conftest import Sql, left, until_empty
from tests.outbox.test_taken import STRANGE
from tests.shop import Shop, User, Users, open_shop, until

GOOD = f'INSERT INTO {TABLE} (notices) VALUES (\'[{{"k": ["user:7"], "o": []}}]\')'
# 1e400 is a number like others once PostgreSQL has written it out.
IN_JSONB = [
    each
    for each in STRANGE
    if each and not any(n in each for n in ("NaN", "ud800", "[" * 9999, "1e400"))
]


def relay_of(shop: Shop) -> Relay:
    assert isinstance(shop.db._started.outbox, RunningOutbox)
    return shop.db._started.outbox.relay


def outbox_of(shop: Shop) -> Outbox:
    return relay_of(shop)._outbox


async def put(sql: Sql, notices: str, more: str = "", values: str = "") -> None:
    await sql(
        f"INSERT INTO {TABLE} (notices{more}) VALUES ($row${notices}$row${values})".replace(
            ":", "\\:"
        )
    )


async def test_rows_that_nobody_understands_hold_up_nobody(shop: Shop, sql: Sql) -> None:
    for notices in IN_JSONB:
        await put(sql, notices)
    for _ in range(5):
        await sql(GOOD)

    async def only_those() -> bool:
        return await left(sql) == len(IN_JSONB)

    await until(only_those, "the good ones are delivered")
    rows = await sql(
        f"SELECT tries > 0, why <> '', due > since + tries * interval '1 second' FROM {TABLE}"
    )
    assert set(rows) == {(True, True, True)}
    assert len({event.row for event in shop.seen.of(OutboxRefused)}) == len(IN_JSONB)
    assert shop.seen.of(RelayFailed) + shop.seen.of(TaskFailed) == []


async def test_after_some_tries_it_is_put_aside_and_may_be_tried_again(
    shop: Shop, sql: Sql
) -> None:
    last = MOST_TRIES - 1
    await put(sql, '[{"k": [], "o": [1, "a"]}]', ", tries", f", {last}")
    await until(lambda: bool(shop.seen.of(OutboxPutAside)), "it is told")
    [(id, tries, aside)] = await sql(f"SELECT id, tries, due = 'infinity' FROM {TABLE}")
    assert (tries, aside) == (MOST_TRIES, True)
    [told] = shop.seen.of(OutboxPutAside)
    assert told.rows == (id,)
    assert "Expected `str`, got `int`" in told.why

    held = shop.db.outbox
    assert await held.count() == (0, 1)
    [row] = await held.rows(10)
    assert row[:1] + row[2:] == (id, MOST_TRIES, True, told.why, "", '[{"k": [], "o": [1, "a"]}]')
    await sql(f'UPDATE {TABLE} SET notices = \'[{{"k": ["user\\:7"], "o": []}}]\'')
    assert await held.replay([id, 77]) == [id]
    await until_empty(sql)


async def test_of_a_watched_table_the_table_is_known(shop: Shop, sql: Sql) -> None:
    """A number of 400 digits, and JSON too deep to be read, are what its trigger may have seen."""
    await shop.users.get_many(range(1, 61))
    await until(lambda: shop.users._peek(60) is not None, "L1 has all")
    deep = f'[{{"t": "public.users", "rows": [{{"id": {"[" * 2000}{"]" * 2000}}}]}}]'
    await put(sql, deep, ", source", ", 'public.users'")
    await until_empty(sql)
    assert [shop.users._peek(id) for id in range(1, 61)] == [None] * 60
    [told] = shop.seen.of(OutboxRefused)
    assert "all of its table" in told.why


async def test_a_row_of_many_megabytes_is_not_loaded(
    shop: Shop, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    take = Outbox.take

    async def measured(self: Outbox, *given: Any) -> Any:
        rows = await take(self, *given)
        sizes.append(sum(len(row.notices or "") for row in rows))
        return rows

    monkeypatch.setattr(Outbox, "take", measured)
    much = "jsonb_build_array(jsonb_build_object('k', jsonb_build_array(%s), 'o', '[]'::jsonb))"
    packed, unpacked = "repeat('a', 50000000)", "string_agg(gen_random_uuid()::text, '')"
    await sql(f"INSERT INTO {TABLE} (notices) SELECT {much % packed}")
    await sql(
        f"INSERT INTO {TABLE} (notices) SELECT {much % unpacked} FROM generate_series(1, 1000000)"
    )
    near = f"'user:' || repeat('7', {LONGEST - 1000})"
    await sql(f"INSERT INTO {TABLE} (notices) SELECT {much % near} FROM generate_series(1, 12)")
    await sql(GOOD)

    async def only_those() -> bool:
        return await left(sql) == 2

    await until(only_those, "the others are delivered")
    assert LONGEST < max(sizes) <= 4 * LONGEST
    assert {why for (why,) in await sql(f"SELECT why FROM {TABLE}")} == {
        f"more than {LONGEST} bytes"
    }


class Refusing:
    """Redis takes everything but what names these keys, as if their records were beyond repair."""

    def __init__(self, shop: Shop, *keys: str) -> None:
        self._deliver = shop.db._started.cache.retry.deliver
        self._keys = frozenset(keys)
        self.asked = 0

    async def __call__(self, batch: Batch) -> None:
        self.asked += 1
        if self._keys.intersection(*batch.keys.values()) if batch.keys else False:
            raise CacheUnavailable("Redis: ERR Error running script")
        await self._deliver(batch)


async def test_rows_that_redis_alone_refuses_give_way(
    shop: Shop, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "FIRST_PAUSE", 0.01)
    bad = [13, 17, 59]
    relay_of(shop)._deliver = refusing = Refusing(shop, *(f"user:{id}" for id in bad))
    await sql(
        f"INSERT INTO {TABLE} (notices) SELECT jsonb_build_array(jsonb_build_object("
        "'k', jsonb_build_array('user:' || n), 'o', jsonb_build_array())) FROM generate_series(1, "
        "400) n"
    )

    async def only_those() -> bool:
        return await left(sql) == len(bad)

    await until(only_those, "the others are delivered")
    rows = await sql(f"SELECT notices->0->'k'->>0, tries > 0, why FROM {TABLE} ORDER BY id")
    assert rows == [(f"user:{id}", True, "Redis: ERR Error running script") for id in bad]
    assert refusing.asked < 400, "not one by one"
    assert {event.row for event in shop.seen.of(OutboxRefused)} == {
        id for (id,) in await sql(f"SELECT id FROM {TABLE}")
    }


async def test_bad_rows_alone_give_way_too(shop: Shop, sql: Sql) -> None:
    """There is no good one beside them that would show that Redis answers."""
    relay_of(shop)._deliver = Refusing(shop, "user:7")
    for _ in range(20):
        await sql(GOOD)

    async def all_waiting() -> bool:
        return await sql(f"SELECT min(tries) > 0 FROM {TABLE}") == [(True,)]

    await until(all_waiting, "each was tried")
    await sql(GOOD.replace("user:7", "user:8"))
    await until(lambda: bool(shop.seen.of(Relayed)), "what comes is delivered")


async def test_that_redis_is_away_is_no_row_s_fault(
    shop: Shop, sql: Sql, repocache_controls: Servers
) -> None:
    await asyncio.to_thread(repocache_controls.redis.kill)
    for _ in range(20):
        await sql(GOOD)
    await until(lambda: len(shop.seen.of(RelayFailed)) >= 6, "the relay has tried, one by one too")
    assert relay_of(shop)._most <= relay.ALONE
    assert await sql(f"SELECT DISTINCT tries, due <= clock_timestamp() FROM {TABLE}") == [(0, True)]
    await asyncio.to_thread(repocache_controls.redis.start)
    await until_empty(sql)
    assert shop.seen.of(OutboxRefused) == []


class Members(Repository[User, int]):
    owner = KeyOwner("member")


async def test_owners_whom_nobody_declares_leave_nothing_in_redis(
    shop: Shop, sql: Sql, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """And those who do declare one of them, in another service of the same outbox, are told all the
    same."""
    redis = repocache_servers.redis
    async with Database(
        repocache_endpoints.primary, redis=repocache_endpoints.redis, repositories=[Members]
    ) as other:
        await other[Members].get(7)
        await until(lambda: other[Members]._peek(7) is not None, "L1 has it")
        assert isinstance(other._started.outbox, RunningOutbox)
        other._started.outbox.relay._deliver = Refusing(shop)  # as if it did not look
        for first in range(0, 20_000, 5_000):
            owners = [f"x{n}" for n in range(first, first + 5_000)]
            await put(
                sql, json.dumps([{"k": [f"{owner}:1" for owner in owners[:99]], "o": owners}])
            )
        await put(sql, '[{"k": [], "o": ["member"]}]')
        await until_empty(sql)
        await until(lambda: other[Members]._peek(7) is None, "L1 has not")
    names = [str(name) for name in redis.command("KEYS", "*}")]  # type: ignore[union-attr]
    assert 0 < len(names) <= 2048
    fields = {str(field) for name in names for field in redis.command("HKEYS", name)}  # type: ignore[union-attr]
    assert {each for each in fields if each.startswith(("g:x", "p:x"))} == set()
    assert sum(event.rows for event in shop.seen.of(Relayed)) <= 5


async def test_names_without_bound_are_not_folded_into_one_row(
    shop: Shop, sql: Sql, repocache_controls: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "FOLD", 40)
    await asyncio.to_thread(repocache_controls.redis.kill)
    for n in range(30):
        await put(sql, json.dumps([{"k": [], "o": [f"x{n}"]}]))
        await sql(GOOD)

    async def folded() -> bool:
        return await left(sql) < 40

    await until(folded, "ours are one row")
    assert await sql(f"SELECT count(*) FROM {TABLE} WHERE notices->0->'o' <> '[]'") == [(30,)]
    await asyncio.to_thread(repocache_controls.redis.start)
    await until_empty(sql)


async def test_a_notice_that_cannot_be_read_fails_no_commit(
    sql: Sql, repocache_endpoints: Endpoints
) -> None:
    """It is the relays': the transaction publishes the rest."""
    await sql(
        "ALTER TABLE users ADD COLUMN big numeric DEFAULT 0, ADD COLUMN deep jsonb",
        *create_trigger("users", "public", "public", ("big", "deep")),
    )
    async with open_shop(repocache_endpoints) as shop:
        await shop.users.get_many(range(1, 61))
        await until(lambda: shop.users._peek(60) is not None, "L1 has all")
        for strange in ("big = 1e5000", f"deep = '{'[' * 3000}{']' * 3000}'"):
            async with shop.db.unit_of_work() as work:
                (await work[Users].require(3)).name = strange[:7]
                await work.session.execute(text(f"UPDATE users SET {strange} WHERE id = 4"))
                await work.commit()
            assert shop.users._peek(3) is None
            assert (await shop.users.require(3)).name == strange[:7]
        await until_empty(sql)
        assert shop.users._peek(4) is None, "the relay has told of the whole table"
        assert len(shop.seen.of(OutboxRefused)) >= 2


async def test_what_was_put_aside_does_not_stop_acknowledgements(shop: Shop, sql: Sql) -> None:
    await put(sql, "[]", ", due", ", 'infinity'")
    await put(sql, "[]", ", due", ", clock_timestamp() + interval '1 hour'")
    micros = "(extract(epoch FROM due) * 1000000)\\:\\:bigint"
    rows = await sql(f"SELECT id, CASE WHEN isfinite(due) THEN {micros} ELSE 7 END FROM {TABLE}")
    await outbox_of(shop).acknowledge([Mark(*row) for row in rows])
    assert await sql(f"SELECT due = 'infinity' FROM {TABLE}") == [(True,)]


async def test_a_flood_of_wakes_is_one_look_after_the_other(
    shop: Shop, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may NOTIFY."""
    looks: list[float] = []
    loop = asyncio.get_running_loop()
    take = Outbox.take

    async def counted(self: Outbox, *given: Any) -> Any:
        looks.append(loop.time())
        return await take(self, *given)

    monkeypatch.setattr(Outbox, "take", counted)
    flood = (
        f"DO $$ BEGIN FOR n IN 1..500 LOOP PERFORM pg_notify('{TABLE}', n\\:\\:text); END "
        "LOOP; END $$"
    )
    for _ in range(40):
        await sql(flood)
    await until(lambda: len(looks) >= 3, "it looks")
    assert len(looks) <= 1 + (looks[-1] - looks[0]) / relay.LEAST
    await sql(GOOD)
    await until_empty(sql)


async def test_a_notify_does_not_hasten_what_fails(
    shop: Shop, sql: Sql, repocache_controls: Servers
) -> None:
    await asyncio.to_thread(repocache_controls.redis.kill)
    await sql(GOOD)
    await until(lambda: len(shop.seen.of(RelayFailed)) >= 2, "it has failed")
    relay_of(shop)._wake.clear()
    relay_of(shop)._hear()
    assert not relay_of(shop)._wake.is_set()
    relay_of(shop).wake()
    assert relay_of(shop)._wake.is_set()
    await asyncio.to_thread(repocache_controls.redis.start)
    await until_empty(sql)
    relay_of(shop)._hear()
    assert relay_of(shop)._wake.is_set()


async def test_names_longer_than_a_table_s_are_not_folded(
    shop: Shop, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "FOLD", 20)
    await sql(
        (
            f"INSERT INTO {TABLE} (source, notices) SELECT 'public.strange', '[]' FROM "
            "generate_series(1, 30)"
        ),
        (
            f"INSERT INTO {TABLE} (source, notices) SELECT repeat('y', 2000), '[]' FROM "
            "generate_series(1, 30)"
        ),
    )
    relay_of(shop)._foreign_at = 0.0

    async def folded() -> bool:
        return await left(sql) == 31

    await until(folded, "those of a table are")
