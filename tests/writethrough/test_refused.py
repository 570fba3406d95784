"""Where write-through cannot be had: errors at construction, or less and an event that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from repocache import (
    CacheAside,
    ConfigurationError,
    Database,
    KeyOwner,
    MappingOptions,
    Repository,
    Settings,
    WriteThrough,
)
from repocache.errors import MappingRefused
from repocache.events import Degraded, Event
from repocache.testing import Endpoints
from tests.writethrough.ledger import Account, Accounts, Prices


class Base(DeclarativeBase):
    pass


class Animal(Base):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012  # SQLAlchemy's way


class Dog(Animal):
    __tablename__ = "dog"
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    dogs: Mapped[int] = column_property(select(func.count()).select_from(Dog.__table__).scalar_subquery())


class Rank(Base):
    __tablename__ = "rank"
    id: Mapped[int] = mapped_column(primary_key=True)


Rank.others = column_property(select(func.count(Rank.id)).scalar_subquery())


class Dogs(Repository[Dog, int]):
    owner = KeyOwner("dog")
    policy = WriteThrough()


class Owners(Repository[Owner, int]):
    owner = KeyOwner("owner", follows=("dog",))
    policy = WriteThrough()
    mapping = MappingOptions(derived=("dogs",))


class Ranks(Repository[Rank, int]):
    owner = KeyOwner("rank", follows=("rank",))
    policy = WriteThrough()
    mapping = MappingOptions(derived=("others",))


@pytest.mark.parametrize("repository", [Dogs, Owners, Ranks])
def test_mappings_to_several_tables_are_refused(repository: type[Repository[Any, int]]) -> None:
    with pytest.raises(MappingRefused, match=r"owner '\w+': .* holds rows of .*CacheAside"):
        Database("postgresql+asyncpg://app@db/shop", redis="redis://cache", repositories=[repository])


def test_strict_is_refused_without_redis() -> None:
    with pytest.raises(ConfigurationError, match=r"Prices\.policy=WriteThrough\(strict=True\) needs Redis"):
        Database("postgresql+asyncpg://app@db/shop", repositories=[Prices])


def test_strict_is_refused_without_postgresql(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs PostgreSQL, not sqlite"):
        Database(f"sqlite+aiosqlite:///{tmp_path}/db", redis="redis://cache", repositories=[Prices])


async def test_plain_write_through_is_cache_aside_without_redis(repocache_endpoints: Endpoints) -> None:
    seen: list[Event] = []
    settings = Settings(observe=seen.append)
    async with Database(repocache_endpoints.primary, repositories=[Accounts], settings=settings) as db:
        assert "write-through" in [event.what for event in seen if isinstance(event, Degraded)]
        async with db.unit_of_work() as work:
            (await work[Accounts].require(1)).name = "new"
            await work.commit()
        assert (await db[Accounts].require(1)).name == "new"


@pytest.mark.parametrize("policy", [CacheAside, WriteThrough])
@pytest.mark.parametrize(
    "wrong", [{"ttl": 0}, {"ttl": "1"}, {"local_ttl": -1}, {"negative_ttl": -1}, {"jitter": 1.0}, {"ttl": 31 * 86_400}]
)
def test_times_that_make_no_sense(policy: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"{policy.__name__}\({next(iter(wrong))}="):
        policy(**wrong)


def test_no_time_is_longer_than_that_in_redis() -> None:
    policy = WriteThrough(ttl=5)
    assert (policy.local_ttl, policy.negative_ttl) == (5, 5)
    assert WriteThrough(strict=True).local_ttl == 0


def test_a_policy_is_looked_for_under_its_name() -> None:
    class Misnamed(Repository[Account, int]):
        owner = KeyOwner("account")
        cache = WriteThrough()

    with pytest.raises(ConfigurationError, match=r"Misnamed\.cache is a WriteThrough"):
        Database("postgresql+asyncpg://app@db/shop", repositories=[Misnamed])
