"""What a read hands out: an entity that is one's own, as the database gave it, and that is never
written back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.attributes import set_committed_value

from repocache import CachedEntityRefused, KeyOwner, Repository
from repocache.events import Served
from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT, in_l1, loads
from tests.shop import Shop, User, Users, open_shop


class Base(DeclarativeBase):
    pass


class Member(Base):
    """A user whose construction is to be noticed."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

    def __init__(self, **_given: Any) -> None:
        raise AssertionError("a row that was read is constructed")


class Members(Repository[Member, int]):
    owner = KeyOwner("member")


async def test_a_stale_row_in_the_cache_is_never_written_back(
    shop: Shop, repocache_servers: Servers, database: str
) -> None:
    """Defect 0: an update began with the cached row and wrote all of it, so that columns that
    nobody had changed went back to what they had been."""
    await in_l1(shop, 7)
    unheard = "UPDATE users SET email = 'y' WHERE id = 7"
    await asyncio.to_thread(repocache_servers.primary.sql, unheard, database)
    assert (await shop.users.require(7)).email == "7@x", "the cache is stale"
    await shop.rename(7, "new")
    async with shop.db.unit_of_work() as work:
        (await work[Users].get_many([7]))[7].age = 70
        await work.commit()
    async with shop.db.sessionmaker() as session:
        row = (
            await session.execute(select(User.name, User.email, User.age).where(User.id == 7))
        ).one()
    assert tuple(row) == ("new", "y", 70)


async def test_a_row_from_a_cache_is_refused_as_the_base_of_a_write(shop: Shop) -> None:
    """Defect 0: the whole of a cached row was merged into the session."""
    await in_l1(shop, 7)
    cached = [await shop.users.require(7), (await shop.users.get_many([7]))[7]]
    cached += [(await shop.users.find(User.id == 7))[0], await shop.users.on_replica().require(7)]
    for user in cached:
        with pytest.raises(CachedEntityRefused):
            user.name = "changed"
        async with shop.db.unit_of_work() as work:
            with pytest.raises(CachedEntityRefused):
                work.add(user)
            with pytest.raises(CachedEntityRefused):
                await work.session.merge(user)
            with pytest.raises(CachedEntityRefused):
                await work.delete(user)
            with pytest.raises(CachedEntityRefused):
                work.session.sync_session.bulk_save_objects([user])
            await work.commit()
    assert (await shop.users.on_primary().require(7)).name == "n07"


async def test_an_entity_from_any_tier_is_detached_and_was_not_constructed(
    repocache_endpoints: Endpoints,
) -> None:
    """Defect 12: hits were transient instances, made by the constructor, which a merge or an add
    would insert."""
    for tier in ("database", "l2"):
        async with open_shop(repocache_endpoints, PATIENT, [Members]) as shop:
            members = shop.db[Members]
            read, near = await members.require(7), await members.require(7)
            assert [event.tier for event in shop.seen.of(Served)] == [tier]
            for member in (read, near, (await members.find(Member.id == 7))[0]):
                state = inspect(member)
                assert (state.detached, state.transient, state.modified) == (True, False, False)
                assert (state.identity, member.id, member.name) == ((7,), 7, "n07")


async def test_no_two_callers_have_the_same_entity(shop: Shop, other: Shop) -> None:
    """Defect 13: all who waited for one load got one instance, and what one of them did to it the
    others saw."""
    for each in (shop, other):
        found = await asyncio.gather(*(each.users.require(7) for _ in range(20)))
        assert loads(each) == (1 if each is shop else 0)
        found += await asyncio.gather(*(each.users.require(7) for _ in range(20)))
        found.append((await each.users.get_many([7]))[7])
        for number, user in enumerate(found):
            assert (user.name, user.settings) == ("n07", {})
            set_committed_value(user, "name", f"spoilt by {number}")
            user.settings["by"] = number
        assert [user.settings["by"] for user in found] == list(range(41))
        assert ((await each.users.require(7)).name, (await each.users.require(7)).settings) == (
            "n07",
            {},
        )
