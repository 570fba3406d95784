"""Where write-through cannot be had: errors at construction, or less and an event that says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

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
from repocache.testing import Endpoints, Servers
from tests.writethrough.ledger import Account, Accounts, Prices, open_ledger


class Base(DeclarativeBase):
    pass


class Animal(Base):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    # SQLAlchemy's way.
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    __tablename__ = "dog"
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    dogs: Mapped[int] = column_property(
        select(func.count()).select_from(Dog.__table__).scalar_subquery()
    )


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
        Database(
            "postgresql+asyncpg://app@db/shop", redis="redis://cache", repositories=[repository]
        )


def test_strict_is_refused_without_redis() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Prices\.policy=WriteThrough\(strict=True\) needs Redis"
    ):
        Database("postgresql+asyncpg://app@db/shop", repositories=[Prices])


def test_strict_is_refused_without_postgresql(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs PostgreSQL, not sqlite"):
        Database(f"sqlite+aiosqlite:///{tmp_path}/db", redis="redis://cache", repositories=[Prices])


async def test_plain_write_through_is_cache_aside_without_redis(
    repocache_endpoints: Endpoints,
) -> None:
    seen: list[Event] = []
    settings = Settings(observe=seen.append)
    async with Database(
        repocache_endpoints.primary, repositories=[Accounts], settings=settings
    ) as db:
        assert "write-through" in [event.what for event in seen if isinstance(event, Degraded)]
        async with db.unit_of_work() as work:
            (await work[Accounts].require(1)).name = "new"
            await work.commit()
        assert (await db[Accounts].require(1)).name == "new"


@pytest.mark.parametrize("policy", [CacheAside, WriteThrough])
@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl": 0},
        {"ttl": "1"},
        {"local_ttl": -1},
        {"negative_ttl": -1},
        {"jitter": 1.0},
        {"ttl": 31 * 86_400},
    ],
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


TRIGGER = """
CREATE OR REPLACE FUNCTION rename_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.name <> 'at commit' THEN UPDATE account SET name = 'at commit' WHERE id = NEW.id; END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION rename_account();
"""


INSERT_ONLY = "ALTER TABLE account OWNER TO CURRENT_USER; GRANT SELECT, INSERT ON account TO app"
EVERYTHING = "ALTER TABLE account OWNER TO app; GRANT ALL ON account TO app"


class Hindrance(NamedTuple):
    """`name`: of the first account after it was renamed; empty: it cannot be."""

    change: str
    back: str
    name: str


@pytest.mark.parametrize(
    "hindrance",
    [
        Hindrance(TRIGGER, "DROP TRIGGER late ON account", "at commit"),
        Hindrance(INSERT_ONLY, EVERYTHING, ""),
    ],
    ids=["deferred", "insert only"],
)
async def test_rows_that_cannot_be_read_for_good_before_commit_are_invalidated(
    hindrance: Hindrance,
    repocache_endpoints: Endpoints,
    repocache_servers: Servers,
    ledger_database: str,
) -> None:
    sql = repocache_servers.primary.sql
    await asyncio.to_thread(sql, hindrance.change, ledger_database)
    try:
        async with open_ledger(repocache_endpoints) as ledger:
            [told] = [
                event.what
                for event in ledger.seen
                if isinstance(event, Degraded) and "'account'" in event.what
            ]
            assert "write-through of 'account'" in told
            await ledger.settle(Accounts, 1, 1000)
            async with ledger.db.unit_of_work() as work:
                work.add(Account(id=1000, name="inserted", balance=1))
                if hindrance.name:
                    (await work[Accounts].require(1)).name = "new"
                await work.commit()
            assert ledger.stored == []
            assert (await ledger.accounts.require(1000)).name == "inserted"
            assert (await ledger.accounts.require(1)).name == (hindrance.name or "n1")
            await ledger.reprice(1, 2)
            assert ledger.stored == [(1, 0)]
    finally:
        await asyncio.to_thread(sql, hindrance.back, ledger_database)
