"""`Database.switch`: each mode, chosen while reads go on; and what shadow mode counts."""

from __future__ import annotations

import pytest

from repocache import CacheMode, CacheSettings, Settings
from repocache.errors import ConfigurationError
from repocache.events import Event, Filled, Served, Shadowed, Switched
from repocache.testing import Endpoints
from tests.shop import QUICK, Documents, Shop, Users, in_rotation, open_shop, until
from tests.verification.conftest import Outside


def served(shop: Shop, since: int) -> list[str]:
    return [event.tier for event in shop.seen[since:] if isinstance(event, Served)]


async def warm(shop: Shop) -> None:
    await shop.users.get(7)
    await until(lambda: shop.users._peek(7) is not None, "L1 has it")


async def test_off_reads_and_fills_nothing(shop: Shop) -> None:
    await warm(shop)
    shop.db.switch(Users, CacheMode.OFF)
    since = len(shop.seen)
    assert await shop.users.get(7) is not None
    assert (await shop.users.card.get_many([7])).keys() == {7}
    assert await shop.users.get(8) is not None
    assert served(shop, since) == ["database"] * 3
    assert not [event for event in shop.seen[since:] if isinstance(event, Filled)]
    shop.db.switch(Users, CacheMode.ON)
    assert shop.users._peek(7) is None, "L1 begins empty"
    since = len(shop.seen)
    await shop.users.get(7)
    assert served(shop, since) == ["l2"], "Redis had been told of every write"


async def test_without_l1(shop: Shop) -> None:
    await warm(shop)
    shop.db.switch(Users, CacheMode.SHARED)
    since = len(shop.seen)
    for _ in range(2):
        await shop.users.get(7)
        await shop.users.get_many([7, 7])
    assert served(shop, since) == ["l2"] * 4


async def test_a_mode_is_one_owners(shop: Shop) -> None:
    await warm(shop)
    shop.db.switch(Documents, CacheMode.OFF)
    since = len(shop.seen)
    await shop.users.get(7)
    assert served(shop, since) == [], "L1, which is not told"
    assert Switched("document", "off") in shop.seen


async def test_a_session_reads_its_own_writes_in_every_mode(shop: Shop) -> None:
    for mode in CacheMode:
        shop.db.switch(Users, mode)
        async with shop.db.causal_session():
            await shop.rename(7, mode.value)
            user = await shop.users.get(7)
            assert user is not None
            assert user.name == mode.value


async def test_writes_made_while_it_was_off_are_not_missed(shop: Shop) -> None:
    await warm(shop)
    shop.db.switch(Users, CacheMode.OFF)
    await shop.rename(7, "meanwhile")
    shop.db.switch(Users, CacheMode.ON)
    user = await shop.users.get(7)
    assert user is not None
    assert user.name == "meanwhile"


async def test_in_shadow_the_database_answers(shop: Shop, outside: Outside) -> None:
    await warm(shop)
    await in_rotation(shop)
    shop.db.switch(Users, CacheMode.SHADOW)
    await outside(7, name="unheard")

    async def database_has_it() -> bool:
        user = await shop.users.on_replica().get(7)
        return user is not None and user.name == "unheard"

    await until(database_has_it, "every replica that may be asked has it")
    before = shop.db.shadow(Users)
    assert (before.compared, before.differed) == (0, 0)
    names = [
        each.name
        for each in [await shop.users.get(7), *(await shop.users.get_many([7])).values()]
        if each
    ]
    assert "unheard" in names
    assert shop.db.shadow(Users).compared == 2
    count = shop.db.shadow(Users)
    assert count.differed > 0
    await until(
        lambda: shop.db.shadow(Users).wrong == count.differed, "the primary has told who was right"
    )
    count = shop.db.shadow(Users)
    assert count.late == 0
    told: list[Event] = [event for event in shop.seen if isinstance(event, Shadowed)]
    assert told == [Shadowed("user", "7", "wrong")] * count.wrong


async def test_in_shadow_the_cache_is_filled_and_agrees(shop: Shop) -> None:
    shop.db.switch(Users, CacheMode.SHADOW)
    for _ in range(3):
        assert set(await shop.users.get_many([1, 2, 3, 7000])) == {1, 2, 3}
        assert await shop.users.card.get(2) is not None
    count = shop.db.shadow(Users)
    assert (count.compared, count.differed) == (15, 0)
    shop.db.switch(Users, CacheMode.ON)
    since = len(shop.seen)
    await shop.users.get(1)
    assert served(shop, since) == ["l2"], "its trust was earned on warm values"


async def test_all_owners_begin_in_the_settings_mode(repocache_endpoints: Endpoints) -> None:
    settings = Settings(topology=QUICK, cache=CacheSettings(mode=CacheMode.SHADOW))
    async with open_shop(repocache_endpoints, settings) as shop:
        await shop.users.get(7)
        assert shop.db.shadow(Users).compared == 1


async def test_mistakes(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match=r"give a CacheMode, as in CacheMode\.OFF"):
        shop.db.switch(Users, "off")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"give a CacheMode, as in CacheMode\.SHADOW"):
        CacheSettings(mode="shadow")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="name it in Database"):
        shop.db.switch(int, CacheMode.OFF)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="name it in Database"):
        shop.db.shadow(int)  # type: ignore[arg-type]
