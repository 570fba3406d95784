"""What is given while the database is slow or away, to whom, and that it is told."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import delete

from repocache import DatabaseUnavailable, Freshness, Uncached
from repocache.testing import Endpoints, Servers
from tests.policies.aged import (
    ASIDE,
    FRESH,
    age,
    aged_users,
    answers,
    behind_a_door,
    filled,
    lives,
    lose,
    name_of,
    opened,
    users_under,
)
from tests.policies.kinds import ended
from tests.shop import Shop, User, until


async def rename(shop: Shop, users: type, name: str) -> None:
    async with shop.db.unit_of_work() as work:
        (await work[users].require(7)).name = name
        await work.commit()


async def test_a_row_long_past_its_time_is_given_while_the_database_is_away(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        age(repocache_servers, 7, ASIDE - 1)
        async with shop.db.causal_session() as session:
            await filled(shop, users, 8)
            await lose(door)
            assert (await shop.db[users].require(7)).name == "n07"
            assert session.stale == {"aged:7"}
            assert list(await shop.db[users].get_many([7, 8])) == [7, 8]
        assert {tier for tier, _ in answers(shop)} == {"aside", "l2"}
        with pytest.raises(DatabaseUnavailable):
            await shop.db[users].get(9)


async def test_while_the_database_answers_it_is_read(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with opened(repocache_endpoints, users) as shop:
        await filled(shop, users, 7)
        age(repocache_servers, 7, ASIDE - 1)
        assert (await shop.db[users].require(7)).name == "n07"
        await ended(shop)
        assert answers(shop) == [("database", "")]
        assert lives(repocache_servers, 7) > ASIDE
        assert name_of(repocache_servers, 7, "~") is None


async def test_what_an_invalidation_took_away_is_given_to_others_alone(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        async with shop.db.causal_session() as writer:
            await rename(shop, users, "new")
            assert name_of(repocache_servers, 7) is None
            assert 0 < lives(repocache_servers, 7, "!") <= ASIDE
            await lose(door)
            with pytest.raises(DatabaseUnavailable):
                await shop.db[users].get(7)
            assert writer.stale == set()
            carried = writer.bookmark.encode()
            life = writer.bookmark.expires - writer.bookmark.made
        assert life >= ASIDE
        async with shop.db.causal_session() as reader:
            assert (await shop.db[users].require(7)).name == "n07"
            assert reader.stale == {"aged:7"}
        assert (await shop.db[users].require(7)).name == "n07"
        assert {tier for tier, _ in answers(shop)} == {"aside"}
        async with shop.db.causal_session(carried):
            with pytest.raises(DatabaseUnavailable):
                await shop.db[users].get(7)


async def test_who_waits_for_another_s_load_is_looked_at_by_himself(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """The writer and somebody else wait for one load, which fails."""
    users = aged_users()
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)

        async def read(bookmark: str | None) -> User | BaseException | None:
            async with shop.db.causal_session(bookmark):
                try:
                    return await shop.db[users].get(7)
                except DatabaseUnavailable as error:
                    return error

        async with shop.db.causal_session() as writer:
            await rename(shop, users, "new")
            carried = writer.bookmark.encode()
        await lose(door)
        his, others = await asyncio.gather(read(carried), read(None))
        assert isinstance(his, DatabaseUnavailable)
        assert isinstance(others, User)
        assert others.name == "n07"


async def test_once_the_row_is_read_again_nothing_older_is_kept(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        await rename(shop, users, "new")
        assert name_of(repocache_servers, 7, "!") is not None
        await filled(shop, users, 7)
        assert name_of(repocache_servers, 7, "!") is None
        age(repocache_servers, 7, ASIDE - 1)
        await lose(door)
        assert (await shop.db[users].require(7)).name == "new"


async def test_that_there_was_no_row_is_not_kept_aside(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users()
    async with opened(repocache_endpoints, users) as shop:
        await filled(shop, users, 100)
        assert 0 < lives(repocache_servers, 100) <= 5
        async with shop.db.unit_of_work() as work:
            work.add(User(id=100, name="new", age=1))
            await work.commit()
        assert name_of(repocache_servers, 100, "!") is None
        async with shop.db.unit_of_work() as work:
            await work.session.execute(delete(User).where(User.id == 100))
            await work.commit()


async def test_without_fail_safe_nothing_is_kept_aside(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users(Freshness(stale_while_revalidate=60))
    async with opened(repocache_endpoints, users) as shop:
        await filled(shop, users, 7)
        await rename(shop, users, "new")
        assert name_of(repocache_servers, 7, "!") is None


async def test_who_has_waited_for_the_soft_timeout_is_given_what_is_there(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users(Freshness(fail_safe=ASIDE, soft_timeout=0.05))
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        age(repocache_servers, 7, ASIDE - 1)
        door.freeze()
        async with asyncio.timeout(10), shop.db.causal_session() as session:
            assert (await shop.db[users].require(7)).name == "n07"
        assert session.stale == {"aged:7"}
        assert answers(shop) == [("aside", "")]
        door.thaw()
        await ended(shop)
        assert lives(repocache_servers, 7) > ASIDE


async def test_a_soft_timeout_gives_nobody_what_was_invalidated(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    """He waits: the database is slow, and not away."""
    users = aged_users(Freshness(fail_safe=ASIDE, soft_timeout=0.02))
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        await rename(shop, users, "new")
        door.delay = 0.1
        assert (await shop.db[users].require(7)).name == "new"
        assert answers(shop) == [("database", "")]


@pytest.mark.parametrize("kept", [True, False])
async def test_who_has_waited_for_the_hard_timeout_waits_no_more(
    repocache_endpoints: Endpoints, repocache_servers: Servers, kept: bool
) -> None:
    """He is given what was taken away, or an error. The load goes on, and fills."""
    users = aged_users(Freshness(fail_safe=ASIDE if kept else 0, hard_timeout=0.1))
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        await rename(shop, users, "new")
        door.freeze()
        async with asyncio.timeout(10):
            if kept:
                assert (await shop.db[users].require(7)).name == "n07"
            else:
                with pytest.raises(DatabaseUnavailable, match="the load goes on"):
                    await shop.db[users].require(7)
        door.thaw()
        await ended(shop)
        await until(lambda: name_of(repocache_servers, 7) is not None, "it is filled")
        assert (await shop.db[users].require(7)).name == "new"


async def test_reads_past_all_caches_have_a_hard_timeout_too(
    repocache_endpoints: Endpoints,
) -> None:
    users = users_under(Uncached(freshness=Freshness(hard_timeout=0.1)))
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        assert (await shop.db[users].require(7)).name == "n07"
        door.freeze()
        async with asyncio.timeout(10):
            with pytest.raises(DatabaseUnavailable, match="the load goes on"):
                await shop.db[users].get_many([7, 8])
        door.thaw()


async def test_with_redis_away_too_the_error_is_the_database_s(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = aged_users(FRESH)
    async with behind_a_door(repocache_endpoints, users) as (shop, door):
        await filled(shop, users, 7)
        await rename(shop, users, "new")
        await lose(door)
        shop.db._started.cache.shared.views.down()
        with pytest.raises(DatabaseUnavailable):
            await shop.db[users].get(8)
