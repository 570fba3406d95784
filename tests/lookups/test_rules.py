"""When a cached answer counts, where nothing is cached, and what is told from outside."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from repocache import CacheMode, KeyOwner, Lookup, Repository, Settings, WriteThrough
from repocache.alembic_ops.ddl import create_outbox, create_trigger
from repocache.events import Served
from repocache.invalidation.batch import Batch
from repocache.testing import Endpoints, Servers
from tests.lookups.accounts import Account, Accounts, Players, open_accounts
from tests.shop import QUICK, Shop, until


async def warm(shop: Shop, *emails: str) -> None:
    """Both the lookup's entries and the entities' are at hand."""
    accounts = shop.db[Accounts]
    ids = [each.id for each in (await accounts.by_email.get_many(emails)).values()]
    await until(
        lambda: (
            all(accounts.by_email._peek_id(each) for each in emails)
            and all(accounts._peek(id) for id in ids)
        ),
        "L1 has them",
    )


def served(shop: Shop, since: int) -> list[tuple[str, str]]:
    return [(e.owner, e.tier) for e in shop.seen[since:] if isinstance(e, Served)]


async def test_a_hit_counts_only_if_the_entity_still_has_the_value(
    shop: Shop, repocache_endpoints: Endpoints
) -> None:
    """1. "7@x" leads to 7; 2. row 7 becomes "eve@x", and the lookup is not told; 3. the entity's
    own entry is gone."""
    accounts = shop.db[Accounts]
    await warm(shop, "7@x", "8@x")
    async with outside(repocache_endpoints) as engine, engine.begin() as connection:
        await connection.execute(text("UPDATE accounts SET email = 'eve@x' WHERE id = 7"))
    await shop.db._started.cache.retry.deliver(Batch({"account": frozenset({"account:7"})}))
    assert accounts.by_email._peek_id("7@x") is not None
    async with shop.db.causal_session(None):
        async with shop.db.unit_of_work() as work:  # whose position is behind that of the change
            (await work[Accounts].require(1)).name = "another"
            await work.commit()
        assert await accounts.by_email.get("7@x") is None
        assert list(await accounts.by_email.get_many(["7@x", "8@x"])) == ["8@x"]
        assert not await accounts.by_email.exists("7@x")


async def test_an_entry_that_led_astray_is_forgotten_everywhere(
    shop: Shop, other: Shop, repocache_endpoints: Endpoints
) -> None:
    for each in (shop, other):
        await warm(each, "7@x")
    async with outside(repocache_endpoints) as engine, engine.begin() as connection:
        await connection.execute(text("DELETE FROM accounts WHERE id = 7"))
    await shop.db._started.cache.retry.deliver(Batch({"account": frozenset({"account:7"})}))
    await shop.db[Accounts].by_email.get("7@x")
    for each in (shop, other):
        peek = each.db[Accounts].by_email._peek_id
        await until(lambda peek=peek: peek("7@x") is None, "it is forgotten")  # type: ignore[misc]

    async def known_to_be_nobodys() -> bool:
        await shop.db[Accounts].by_email.get("7@x")
        known = shop.db[Accounts].by_email._peek_id("7@x")
        return known is not None and known.row is None

    await until(known_to_be_nobodys, "the next reads find that nobody has it, and keep that")


async def test_a_trigger_tells_by_key_if_it_carries_the_columns(
    repocache_endpoints: Endpoints,
) -> None:
    async with outside(repocache_endpoints) as engine:
        async with engine.begin() as connection:
            carried = ["email", "token"]
            for statement in [
                *create_outbox("public", ()),
                *create_trigger("accounts", "public", "public", carried),
                *create_trigger("players", "public", "public", ()),
            ]:
                await connection.execute(text(statement))
        async with open_accounts(repocache_endpoints) as shop:
            await warm(shop, "7@x", "8@x", "new@x")
            players = shop.db[Players]
            await players.by_nick.get_many(["p1", "p2"])
            await until(lambda: players.by_nick._peek_id("p2") is not None, "L1 has them")
            async with engine.begin() as connection:
                for statement in (
                    "UPDATE accounts SET email = 'new@x' WHERE id = 7",
                    "UPDATE accounts SET name = 'x' WHERE id = 10",  # whose email is NULL
                    "UPDATE players SET nick = 'q1' WHERE id = 1",
                ):
                    await connection.execute(text(statement))
            by_email, by_nick = shop.db[Accounts].by_email, players.by_nick
            await until(lambda: by_email._peek_id("7@x") is None, "the relay has told")
            await until(lambda: by_email._peek_id("new@x") is None, "the new value too")
            await until(lambda: by_nick._peek_id("p2") is None, "and all nicks")
            assert by_email._peek_id("8@x") is not None

            async def seen() -> bool:
                return await by_email.get("7@x") is None and await by_email.exists("new@x")

            await until(seen, "the truth is read")


async def test_textual_sql_alone_is_told_by_its_trigger_at_once(
    repocache_endpoints: Endpoints,
) -> None:
    """Nothing of it is declared, nor seen: what the trigger noticed is the commit's to publish."""
    async with outside(repocache_endpoints) as engine, engine.begin() as connection:
        for statement in [
            *create_outbox("public", ()),
            *create_trigger("accounts", "public", "public", ["email", "token"]),
        ]:
            await connection.execute(text(statement))
    async with open_accounts(repocache_endpoints) as shop:
        await warm(shop, "7@x", "new@x")
        async with shop.db.causal_session(None):
            async with shop.db.unit_of_work() as work:
                change = text("UPDATE accounts SET email = 'new@x' WHERE id = 7")
                await work.session.execute(change)
                bookmark = await work.commit()
            assert bookmark.position
            assert bookmark.wrote
            assert await shop.db[Accounts].by_email.get("7@x") is None
            assert (await shop.db[Accounts].by_email.require("new@x")).id == 7


async def test_a_switched_repository_takes_its_lookups_along(shop: Shop) -> None:
    await warm(shop, "7@x")
    shop.db.switch(Accounts, CacheMode.OFF)
    before = len(shop.seen)
    assert await shop.db[Accounts].by_email.get("7@x") is not None
    assert served(shop, before) == [("account-by_email", "database"), ("account", "database")]


async def test_verification_knows_lookups(shop: Shop, repocache_endpoints: Endpoints) -> None:
    await warm(shop, "7@x", "8@x", "nobody@x")
    async with outside(repocache_endpoints) as engine, engine.begin() as connection:
        await connection.execute(text("UPDATE accounts SET email = 'eve@x' WHERE id = 7"))
    found = await shop.db.verify(within=0.2)
    by_owner = {(each.owner, each.tier): each for each in found.found}
    assert by_owner["account-by_email", "l1"].wrong == 1
    assert by_owner["account-by_email", "l1"].right == 2


async def test_monotonic_sessions_read_by_value(repocache_endpoints: Endpoints) -> None:
    settings = Settings(topology=QUICK, monotonic=True)
    async with (
        open_accounts(repocache_endpoints, settings) as shop,
        shop.db.causal_session(None),
    ):
        before = len(shop.seen)
        assert (await shop.db[Accounts].by_email.require("7@x")).id == 7
        assert await shop.db[Accounts].by_email.get("7@x")
        assert served(shop, before) == [("account", "database")] * 2


class Strictly(Repository[Account, int]):
    owner = KeyOwner("account")
    policy = WriteThrough(strict=True)
    by_email = Lookup(Account.email)


async def test_what_is_never_stale_is_read_on_the_primary(repocache_endpoints: Endpoints) -> None:
    async with open_accounts(repocache_endpoints, repositories=[Strictly]) as shop:
        before = len(shop.seen)
        for _ in range(2):
            assert (await shop.db[Strictly].by_email.require("7@x")).id == 7
        asked = [each for each in shop.seen[before:] if isinstance(each, Served)]
        assert [(each.tier, each.node) for each in asked] == [("database", "primary")] * 2


async def test_write_through_stores_the_row_and_tells_the_lookup(shop: Shop) -> None:
    players = shop.db[Players]
    assert await players.by_nick.exists("p1")
    async with shop.db.causal_session(None):
        async with shop.db.unit_of_work() as work:
            (await work[Players].require(1)).nick = "q1"
            await work.commit()
        assert (await players.by_nick.require("q1")).id == 1
        assert await players.by_nick.get("p1") is None


async def test_without_redis_s_answer_the_database_gives_it(
    shop: Shop, repocache_servers: Servers
) -> None:
    await warm(shop, "7@x")
    repocache_servers.redis.freeze()
    try:
        async with shop.db.causal_session(None):
            async with shop.db.unit_of_work() as work:
                (await work[Accounts].require(7)).email = "new@x"
                await work.commit()
            assert (await shop.db[Accounts].by_email.require("new@x")).id == 7
            assert await shop.db[Accounts].by_email.get("7@x") is None
    finally:
        repocache_servers.redis.thaw()


def outside(ends: Endpoints) -> Any:
    """An engine that the library knows nothing of."""
    return _Outside(ends.primary)


class _Outside:
    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url)

    async def __aenter__(self) -> AsyncEngine:
        return self._engine

    async def __aexit__(self, *_: object) -> None:
        await self._engine.dispose()
