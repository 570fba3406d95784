"""Models of SQLModel, as it makes them."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import msgspec

from repocache import KeyOwner, Lookup, Repository, View
from tests.packages.places import POLICIES, Places, needs, under
from tests.shop import open_shop

needs("sqlmodel")

from tests.packages.heroes import Hero, Level, Team  # noqa: E402  # not without the package

HERO: Any = Hero  # type checkers take its attributes for values


class Card(msgspec.Struct, frozen=True):
    id: uuid.UUID
    name: str
    level: Level


class Heroes(Repository[Hero, uuid.UUID]):
    owner = KeyOwner("hero")
    by_name = Lookup(HERO.name)
    card = View(Card)


class Teams(Repository[Team, str]):
    owner = KeyOwner("team")


async def test_a_hero_is_read_everywhere_as_it_is(places: Places) -> None:
    await places.make(Hero.metadata)

    def change(hero: Any) -> None:
        hero.level, hero.data = Level.HIGH, {"a": [2]}

    await places.round_trip(
        Heroes, lambda: Hero(name="ada", data={"a": [1]}, born=datetime.date(2000, 1, 1)), change
    )

    def rename(team: Any) -> None:
        team.name = "others"

    await places.round_trip(Teams, lambda: Team(slug="a b", name="us"), rename)
    assert places.checked > 100


async def test_lookups_and_views_are_of_plain_types(places: Places) -> None:
    await places.make(Hero.metadata)
    for policy in POLICIES:
        kind: Any = under(Heroes, policy)
        async with open_shop(places.endpoints, repositories=[kind]) as shop:
            heroes: Any = shop.db[kind]
            async with shop.db.unit_of_work() as work:
                hero = Hero(name=f"ada of {type(policy).__name__}")
                work.add(hero)
                await work.commit()
            for _ in range(2):
                found = await heroes.by_name.require(hero.name)
                assert found.id == hero.id
                assert await heroes.card.get(found.id) == Card(hero.id, hero.name, Level.LOW)
            async with shop.db.unit_of_work() as work:
                (await work[kind].require(hero.id)).name = hero.name + "!"
                await work.commit()
            assert await heroes.by_name.get(hero.name) is None
            assert (await heroes.by_name.require(hero.name + "!")).id == hero.id
