"""Accounts under write-through, prices under strict write-through: what tests of both read and
write."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import DateTime, FetchedValue, Numeric
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import (
    CacheSettings,
    Database,
    KeyOwner,
    Repository,
    Settings,
    TopologySettings,
    WriteThrough,
)
from repocache.bookmark import Bookmark
from repocache.cache.tiered import TieredCache
from repocache.cache.values import is_lease
from repocache.events import Event, Served, Stored
from repocache.keys import bucket_of, owner_bucket
from repocache.records import Namespace, RedisRecords
from repocache.testing import Endpoints
from tests.shop import until

SCHEMA = """
CREATE TABLE account (
    id int PRIMARY KEY, name text NOT NULL, balance numeric(10, 2) NOT NULL DEFAULT 0,
    changed timestamptz NOT NULL DEFAULT now(),
        twice numeric GENERATED ALWAYS AS (balance * 2) STORED
);
CREATE TABLE line (account int, number int, text text NOT NULL, PRIMARY KEY (account, number));
CREATE TABLE price (id int PRIMARY KEY, amount int NOT NULL);
ALTER TABLE account OWNER TO app;
ALTER TABLE line OWNER TO app;
ALTER TABLE price OWNER TO app;
"""
ROWS = """
TRUNCATE account, line, price;
INSERT INTO account (id, name, balance) SELECT n, 'n' || n, n FROM generate_series(1, 300) AS n;
INSERT INTO line SELECT 1, n, 't' || n FROM generate_series(1, 3) AS n;
INSERT INTO price SELECT n, n FROM generate_series(1, 300) AS n;
"""


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    balance: Mapped[Decimal] = mapped_column(Numeric(10, 2), server_default="0")
    changed: Mapped[datetime.datetime] = mapped_column(
        DateTime(timezone=True), server_default=FetchedValue()
    )
    twice: Mapped[Decimal] = mapped_column(
        Numeric, server_default=FetchedValue(), server_onupdate=FetchedValue()
    )


class Line(Base):
    __tablename__ = "line"
    account: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str]


class Price(Base):
    __tablename__ = "price"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount: Mapped[int]


class LineId(NamedTuple):
    account: int
    number: int


class Accounts(Repository[Account, int]):
    owner = KeyOwner("account")
    policy = WriteThrough(local_ttl=0, negative_ttl=60)


class Lines(Repository[Line, LineId]):
    owner = KeyOwner("line")
    policy = WriteThrough()


class Prices(Repository[Price, int]):
    owner = KeyOwner("price")
    policy = WriteThrough(strict=True)


REPOSITORIES: tuple[type[Repository[Any, Any]], ...] = (Accounts, Lines, Prices)
STILL = Settings(
    topology=TopologySettings(sample_every=0.05, max_lag=30.0),
    cache=CacheSettings(lease=30.0, patience=0.02),
    publish_timeout=10.0,
)


@dataclasses.dataclass
class Ledger:
    """A running database, and what it told."""

    db: Database
    seen: list[Event]

    @property
    def accounts(self) -> Accounts:
        return self.db[Accounts]

    @property
    def prices(self) -> Prices:
        return self.db[Prices]

    @property
    def records(self) -> RedisRecords:
        records = self.db._started.cache.shared.records
        assert isinstance(records, RedisRecords)
        return records

    @property
    def stored(self) -> list[tuple[int, int]]:
        """Values offered and landed of each commit that offered some."""
        return [(event.offered, event.landed) for event in self.seen if isinstance(event, Stored)]

    def served(self) -> list[str]:
        """The tiers that answered since this was last asked, as far as they are told."""
        tiers = [event.tier for event in self.seen if isinstance(event, Served)]
        self.seen[:] = [event for event in self.seen if not isinstance(event, Served)]
        return tiers

    async def call(self, *command: str) -> Any:
        return await self.records._link.call(*command)

    async def settle(self, repository: type[Repository[Any, Any]], *ids: Any) -> None:
        """The buckets' records are there with known floors, met by this process; the keys are in no
        tier."""
        binding, access = self.db._registry[repository], self.db[repository]._access
        cache: TieredCache = access._cache  # type: ignore[attr-defined]
        for text in map(binding.keys.text, ids):
            await cache.get_many([binding.keys.id(text)], None)
            record = Namespace(self.db.settings.app).record(bucket_of(text))
            await until_known(self, record)
            await until_known(
                self, Namespace(self.db.settings.app).record(owner_bucket(binding.keys.prefix))
            )
            name = await self.name(repository, binding.keys.id(text))
            await self.call("DEL", name)
            self.db._started.cache.shared.local.clear()
        self.served()

    async def name(self, repository: type[Repository[Any, Any]], id: Any) -> str:
        """Under which the key's value lies."""
        binding = self.db._registry[repository]
        text, prefix = binding.keys.text(id), binding.keys.prefix
        namespace = Namespace(self.db.settings.app)
        fields = await self.call(
            "HMGET", namespace.record(owner_bucket(prefix)), f"g:{prefix}", "i"
        )
        incarnation = (await self.call("HGET", namespace.record(bucket_of(text)), "i")).decode()
        generation = (fields[0] or fields[1]).decode()
        return (
            namespace.prefix(bucket_of(text), incarnation, generation, binding.rows.fingerprint)
            + text
        )

    async def in_l2(self, repository: type[Repository[Any, Any]], id: Any) -> Any:
        """The entity in Redis, None: nothing, or a lease."""
        value = await self.call("GET", await self.name(repository, id))
        if value is None or is_lease(value):
            return None
        binding = self.db._registry[repository]
        cell = self.db[repository]._access._cache._values.decode(binding.keys.text(id), value, id)  # type: ignore[attr-defined]
        assert cell is not None
        return "absent" if cell.row is None else binding.plan.entity(cell.row)

    async def write_leases(self, id: int) -> dict[bytes, bytes]:
        record = Namespace(self.db.settings.app).record(bucket_of(f"price:{id}"))
        leases: dict[bytes, bytes] = await self.call("HGETALL", f"{record}:W:price:{id}")
        return leases

    async def rename(self, id: int, name: str) -> Bookmark | None:
        async with self.db.unit_of_work() as work:
            account = await work[Accounts].require(id)
            account.name = name
            return await work.commit()

    async def reprice(self, id: int, amount: int) -> Bookmark | None:
        async with self.db.unit_of_work() as work:
            price = await work[Prices].require(id)
            price.amount = amount
            return await work.commit()


async def until_known(ledger: Ledger, record: str) -> None:
    async def known() -> bool:
        return bool(await ledger.call("HEXISTS", record, "f"))

    await until(known, "the floor is known")


@asynccontextmanager
async def open_ledger(endpoints: Endpoints, settings: Settings = STILL) -> AsyncIterator[Ledger]:
    seen: list[Event] = []
    async with Database(
        endpoints.primary,
        replicas=endpoints.replicas,
        redis=endpoints.redis,
        repositories=REPOSITORIES,
        settings=dataclasses.replace(settings, observe=seen.append),
    ) as db:
        yield Ledger(db, seen)
