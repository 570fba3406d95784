"""What cannot work is said where it is declared, or called, with what to do instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Float, Integer, Numeric, literal_column
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from repocache import (
    CachedEntityRefused,
    ConfigurationError,
    Database,
    Flush,
    InvalidId,
    KeyOwner,
    MappingOptions,
    Repository,
    Scope,
    UsageError,
    WriteBehind,
)
from repocache.errors import NotStarted, OwnerClash
from repocache.events import Degraded
from repocache.testing import Endpoints, Servers
from tests.behind.counters import (
    Article,
    Articles,
    Counting,
    PageView,
    PageViews,
    Views,
    counting,
    page_views,
)

URL = "postgresql+asyncpg://nobody@127.0.0.1:1/nowhere"
REDIS = "redis://127.0.0.1:1"


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    twice: Mapped[int] = column_property(literal_column("things.number * 2", Integer))


class Animal(Base):
    __tablename__ = "animals"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Odd(Base):
    __tablename__ = "odd"
    id: Mapped[int] = mapped_column(primary_key=True)
    begins: Mapped[int] = mapped_column(Integer, default=5)
    begins_there: Mapped[int] = mapped_column(Integer, server_default="5")
    begins_somehow: Mapped[int] = mapped_column(Integer, default=lambda: 5)
    floats: Mapped[float] = mapped_column(Float)
    floats_too: Mapped[float] = mapped_column(Numeric(asdecimal=False))
    name: Mapped[str]
    zero: Mapped[int] = mapped_column(Integer, server_default="0")


class Odds(WriteBehind[Odd, int]):
    owner = KeyOwner("odd")


def declared(model: Any, **attributes: Any) -> Any:
    given = {"owner": KeyOwner("thing"), **attributes}
    return type("Things", (WriteBehind,), {"__orig_bases__": (WriteBehind[model, int],), **given})


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no Redis": (
        lambda: Database(URL, repositories=[PageViews]),
        r"keeps what it accepts in Redis: give Database\(redis",
    ),
    "SQLite": (
        lambda: Database("sqlite+aiosqlite:////nowhere", redis=REDIS, repositories=[PageViews]),
        "needs PostgreSQL, not sqlite",
    ),
    "twice": (lambda: [PageViews, PageViews], "named twice"),
    "another's prefix": (
        lambda: [PageViews, page_views(Flush(), "Others")],
        "another class of the database owns the prefix 'pageview'",
    ),
    "a repository's prefix": (
        lambda: [
            declared(PageView, owner=KeyOwner("view")),
            Views,
        ],
        "another class of the database owns the prefix 'view'",
    ),
    "no owner": (lambda: [type("Nobodys", (PageViews,), {"owner": None})], "Nobodys.owner=None"),
    "no flush": (lambda: [declared(PageView, flush=1.0)], r"flush=1.0: .* Flush\(every=1.0\)"),
    "a scope": (
        lambda: [declared(PageView, owner=KeyOwner("v", scope=Scope("t", setting="app.t")))],
        "leave the scope out",
    ),
    "no types": (
        lambda: [type("Bare", (WriteBehind,), {"owner": KeyOwner("bare")})],
        r"class Bare\(WriteBehind\[User, int\]\)",
    ),
    "another id": (
        lambda: [
            type(
                "Views2",
                (WriteBehind,),
                {"__orig_bases__": (WriteBehind[PageView, str],), "owner": KeyOwner("x")},
            )
        ],
        "the primary key of PageView is",
    ),
    "computed": (
        lambda: [declared(Thing, mapping=MappingOptions(derived=("twice",)))],
        "computed attributes",
    ),
    "a hierarchy": (lambda: [declared(Animal)], "has a table to itself"),
    "every=0": (lambda: Flush(every=0), r"Flush\(every=0\): give seconds"),
    "most": (lambda: Flush(most=True), r"Flush\(most=True\): give a number"),
    "backlog": (lambda: Flush(backlog=3, streams=4), "an equal part"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_where_it_is_declared(name: str) -> None:
    make, words = REFUSED[name]

    def declare() -> None:
        found = make()
        if isinstance(found, list):
            Database(URL, redis=REDIS, repositories=found)

    with pytest.raises((ConfigurationError, OwnerClash), match=words):
        declare()


def test_it_belongs_to_a_database() -> None:
    with pytest.raises(UsageError, match=r"use db\[PageViews\]"):
        PageViews()
    with pytest.raises(NotStarted):
        _ = Database(URL, redis=REDIS, repositories=[PageViews])[PageViews]
    with pytest.raises(ConfigurationError, match="is not one of this database's repositories"):
        _ = Database(URL, redis=REDIS, repositories=[])[PageViews]


async def test_a_missing_table_is_an_error_at_start_that_says_how_to_make_it(
    repocache_endpoints: Endpoints, one: Counting
) -> None:
    await one.sql("ALTER TABLE repocache_dead_letters RENAME TO elsewhere")
    with pytest.raises(
        ConfigurationError,
        match=r"no table public.repocache_dead_letters: .* op.create_repocache_write_behind\(\)",
    ):
        async with counting(repocache_endpoints):
            pass


async def test_a_table_that_may_not_be_used_is_an_error_at_start(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    database = repocache_endpoints.primary.rpartition("/")[2]
    repocache_servers.primary.sql(
        "ALTER TABLE repocache_write_behind OWNER TO postgres;"
        "REVOKE ALL ON repocache_write_behind FROM app",
        database,
    )
    with pytest.raises(ConfigurationError, match="must be allowed to SELECT"):
        async with counting(repocache_endpoints):
            pass


CALLS: dict[str, tuple[Callable[[PageViews], Any], type[Exception], str]] = {
    "an id of text": (lambda v: v.add("7", hits=1), InvalidId, "'7'"),  # type: ignore[arg-type]
    "no column": (lambda v: v.add(7), UsageError, r"add\(id, hits=1\)"),
    "an unknown column": (lambda v: v.add(7, hit=1), UsageError, "no column of it.* hits"),
    "the id": (lambda v: v.add(7, id=1), UsageError, "is of the id"),
    "text": (lambda v: v.add(7, hits="1"), UsageError, "give an int"),  # type: ignore[arg-type]
    "a bool": (lambda v: v.add(7, hits=True), UsageError, "give an int"),
    "a float": (lambda v: v.add(7, hits=1.5), UsageError, "give an int"),  # type: ignore[arg-type]
    "too many bits": (lambda v: v.add(7, hits=2**63), UsageError, "64 bits"),
    "a column of text": (lambda v: v.add(7, title=1), UsageError, r"put\(\) sets it"),
    "a column of floats": (lambda v: v.add(7, ratio=1), UsageError, "map it as Numeric"),
    "a float of decimals": (
        lambda v: v.add(7, seconds=0.5),  # type: ignore[arg-type]
        UsageError,
        "a finite Decimal",
    ),
    "no number": (lambda v: v.add(7, seconds=Decimal("NaN")), UsageError, "a finite Decimal"),
    "too many places": (
        lambda v: v.add(7, seconds=Decimal("0.0001")),
        UsageError,
        "has 3 places behind the point",
    ),
    "another class": (
        lambda v: v.put(Article(tenant=1, slug="a")),  # type: ignore[arg-type]
        UsageError,
        "give a PageView",
    ),
    "no id": (lambda v: v.put(PageView(hits=1)), InvalidId, "None"),
    "a value of another type": (
        lambda v: v.put(PageView(id=7, title=1)),
        UsageError,
        "PageView.title",
    ),
    "NULL": (
        lambda v: v.put(PageView(id=7, hits=None)),
        UsageError,
        "takes no NULL",
    ),
    "too large": (lambda v: v.put(PageView(id=7, title="x" * 2**21)), UsageError, "oversized"),
    "ids": (lambda v: v.get_many("7"), InvalidId, "a list of ids"),  # type: ignore[arg-type]
    "another id": (lambda v: v.get(True), InvalidId, "True"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_it_is_refused_where_it_is_called(name: str, one: Counting) -> None:
    call, kind, words = CALLS[name]
    with pytest.raises(kind, match=words):
        await call(one.db[PageViews])
    assert (await one.db[PageViews].backlog()).changes == 0


async def test_what_begins_elsewhere_or_is_of_floats_is_not_added_to(
    repocache_endpoints: Endpoints, one: Counting
) -> None:
    async with counting(repocache_endpoints, [Odds]) as place:
        odds = place.db[Odds]
        for name in ("begins", "begins_there", "begins_somehow"):
            with pytest.raises(UsageError, match="a counter begins at 0"):
                await odds.add(7, **{name: 1})
        for name in ("floats", "floats_too"):
            with pytest.raises(UsageError, match="depends on the order"):
                await odds.add(7, **{name: 1})
        await odds.put(Odd(id=7, floats=0.5, floats_too=0.5, name="a", zero=2))
        assert await odds_left(place) == 1
        await one.sql("CREATE TABLE odd (id int PRIMARY KEY)")
        with pytest.raises(Exception, match=r"zero|begins"):
            await odds.flushed()
        assert await odds_left(place) == 1, "a missing column is no row's fault"


async def odds_left(place: Counting) -> int:
    return (await place.db[Odds].backlog()).changes


async def test_an_entity_that_was_read_is_not_put(one: Counting) -> None:
    await one.db[PageViews].add(7, hits=1)
    read = await one.db[PageViews].require(7)
    read_cached = None
    with pytest.raises(CachedEntityRefused, match="may have changed since"):
        await one.db[PageViews].put(read)
    await one.db[PageViews].flushed()
    read_cached = await one.db[Views].require(7)
    with pytest.raises(CachedEntityRefused, match="may have changed since"):
        await one.db[PageViews].put(read_cached)
    with pytest.raises(CachedEntityRefused):
        async with one.db.unit_of_work() as work:
            work.add(read)


async def test_a_redis_that_evicts_is_told(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    redis = repocache_servers.redis
    for policy, told in (("allkeys-lru", 1), ("volatile-lru", 0), ("noeviction", 0)):
        redis.command("CONFIG", "SET", "maxmemory-policy", policy)
        async with counting(repocache_endpoints, [PageViews]) as place:
            found = [each for each in place.seen.of(Degraded) if "write-behind" in each.what]
            assert len(found) == told, policy
            assert all("noeviction" in each.lost for each in found)


async def test_two_classes_of_one_database_are_apart(one: Counting) -> None:
    await asyncio.gather(
        one.db[PageViews].add(1, hits=1),
        one.db[Articles].put(Article(tenant=1, slug="1", title="a")),
    )
    await one.db[Articles].flushed()
    assert (await one.db[PageViews].backlog()).changes == 1
    assert await one.sql("SELECT count(*) FROM page_views") == [(0,)]


def test_a_repository_is_typed_as_itself() -> None:
    assert issubclass(Views, Repository)
    assert not issubclass(PageViews, Repository)
