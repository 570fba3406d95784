"""Write-around: an insert says nothing to Redis, an update and a delete invalidate, and nobody
keeps that there is no such row."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.dialects import postgresql

from repocache import ConfigurationError, WriteAround
from repocache.events import Invalidated
from repocache.testing import Endpoints, Servers
from tests.lookups.accounts import Account, Player
from tests.policies.kinds import (
    Accounts,
    Players,
    Teams,
    Trail,
    Untouched,
    ended,
    keys_of,
    messages,
    open_kinds,
    scripts_run,
    tiers,
)
from tests.shop import Document, Order, OrderId, Shop, document_id, until

NEW = OrderId(9, 9)


def told(shop: Shop) -> list[str]:
    return [key for event in shop.seen.of(Invalidated) for key in event.keys]


async def test_an_insert_says_nothing_to_redis(shop: Shop, repocache_servers: Servers) -> None:
    before = scripts_run(repocache_servers)
    async with shop.db.unit_of_work() as work:
        work.add(Order(tenant=9, number=9, total=1))
        await work.commit()
    async with shop.db.unit_of_work() as work:
        await work.session.execute(
            insert(Order), [{"tenant": 9, "number": n, "total": 1} for n in (7, 8)]
        )
        await work.commit()
    assert scripts_run(repocache_servers) == before
    assert told(shop) == []
    assert shop.db[Trail].owner.prefix == "trail"


async def test_the_session_that_inserted_reads_it_and_so_does_the_next_request(
    shop: Shop, other: Shop
) -> None:
    assert await other.db[Trail].get(NEW) is None
    async with shop.db.causal_session() as session:
        async with shop.db.unit_of_work() as work:
            work.add(Order(tenant=9, number=9, total=1))
            await work.commit()
        assert (await shop.db[Trail].require(NEW)).total == 1
        carried = session.bookmark.encode()
    async with other.db.causal_session(carried):
        assert (await other.db[Trail].require(NEW)).total == 1


async def test_that_there_is_no_such_row_is_kept_nowhere(
    shop: Shop, repocache_servers: Servers
) -> None:
    for _ in range(2):
        assert await shop.db[Trail].get(NEW) is None
        await ended(shop)
        assert tiers(shop) == ["database"]
    assert keys_of(repocache_servers, "trail") == []


async def test_one_that_another_release_kept_is_not_believed(
    shop: Shop, repocache_servers: Servers
) -> None:
    trail = shop.db[Trail]
    await trail.get(OrderId(1, 1))
    await ended(shop)
    [name] = keys_of(repocache_servers, "trail")
    repocache_servers.redis.command("SET", name, "N", "PX", 60_000)
    shop.db._started.cache.shared.local.clear()
    assert (await trail.require(OrderId(1, 1))).total == 101


@pytest.mark.parametrize("how", ["entity", "update", "delete", "upsert", "sql"])
async def test_whatever_changes_a_row_that_is_there_invalidates(
    shop: Shop, other: Shop, how: str
) -> None:
    id = OrderId(1, 1)
    assert (await other.db[Trail].require(id)).total == 101
    one = (Order.tenant == 1) & (Order.number == 1)
    async with shop.db.unit_of_work() as work:
        if how == "entity":
            (await work[Trail].require(id)).total = 7
        elif how == "update":
            await work.session.execute(update(Order).where(one).values(total=7))
        elif how == "delete":
            await work.session.execute(delete(Order).where(one))
        elif how == "upsert":
            new = postgresql.insert(Order).values(tenant=1, number=1, total=7)
            key = ["tenant", "number"]
            await work.session.execute(
                new.on_conflict_do_update(index_elements=key, set_={"total": 7})
            )
        else:
            await work.session.execute(update(Order).values(total=7))
        await work.commit()

    async def is_new() -> bool:
        found = await other.db[Trail].get(id)
        return (found.total if found else None) == (None if how == "delete" else 7)

    await until(is_new, "the invalidation has arrived")


async def test_reads_that_do_not_fill_leave_nothing_anywhere(
    shop: Shop, repocache_servers: Servers
) -> None:
    before = scripts_run(repocache_servers)
    for _ in range(2):
        assert (await shop.db[Untouched].require(document_id(1))).title == "t1"
        await ended(shop)
        assert tiers(shop) == ["database"]
    assert scripts_run(repocache_servers) == before
    assert keys_of(repocache_servers, "untouched") == []


async def test_what_is_not_filled_is_told_all_the_same(shop: Shop, other: Shop) -> None:
    """For the processes that do fill it, and for feeds."""
    async with shop.db.unit_of_work() as work:
        await work.session.execute(
            update(Document).where(Document.id == document_id(1)).values(title="new")
        )
        await work.commit()
    await until(
        lambda: any(each.startswith("untouched:") for each in told(other)), "the other has heard"
    )


async def test_a_lookup_tells_inserts_no_more_than_its_rows(
    games: Shop, repocache_servers: Servers
) -> None:
    accounts = games.db[Accounts]
    assert await accounts.by_email.get("new@x") is None
    before = messages(repocache_servers)
    async with games.db.unit_of_work() as work:
        work.add(Account(id=100, email="new@x", name="new"))
        await work.commit()
    assert messages(repocache_servers) == before
    assert (await accounts.by_email.require("new@x")).id == 100


async def test_a_lookup_follows_the_row_that_changes(games: Shop) -> None:
    accounts = games.db[Accounts]
    assert (await accounts.by_email.require("1@x")).id == 1
    async with games.db.causal_session():
        async with games.db.unit_of_work() as work:
            (await work[Accounts].require(1)).email = "one@x"
            await work.commit()
        assert await accounts.by_email.get("1@x") is None
        assert (await accounts.by_email.require("one@x")).id == 1


async def test_counts_that_a_new_row_belongs_to_are_told(
    games: Shop, repocache_endpoints: Endpoints
) -> None:
    async with open_kinds(repocache_endpoints, (Accounts, Teams, Players)) as other:
        assert await other.db[Teams].size.get(1) == 3
        async with games.db.unit_of_work() as work:
            work.add(Player(id=50, team=1, nick="new"))
            await work.commit()

        async def counted() -> bool:
            return await other.db[Teams].size.get(1) == 4

        await until(counted, "the count has been told")
        assert told(games) == ["team-size:1"]


def test_a_time_for_what_is_not_kept_is_refused() -> None:
    with pytest.raises(TypeError, match="negative_ttl"):
        WriteAround(ttl=60, negative_ttl=5)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match=r"WriteAround\(ttl=0\)"):
        WriteAround(ttl=0)
