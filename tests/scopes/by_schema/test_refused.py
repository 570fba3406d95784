"""What cannot be kept by schema is refused: when the scope is made, when the database is built, and
when a schema is used first."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pytest
from sqlalchemy import ForeignKey, Table, func, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from repocache import (
    CachedQueries,
    ConfigurationError,
    Count,
    Database,
    KeyList,
    KeyOwner,
    Repository,
    Scope,
    UsageError,
    WriteThrough,
)
from repocache.errors import MappingRefused
from repocache.testing import Endpoints
from tests.scopes.by_schema.docs_of import (
    Account,
    Accounts,
    Base,
    Doc,
    Docs,
    Folder,
    Folders,
    open_docs,
    tenant,
)
from tests.shop import Shop

URL = "postgresql+asyncpg://app@127.0.0.1/docs"


class OtherBase(DeclarativeBase):
    pass


class Named(OtherBase):
    __tablename__ = "named"
    __table_args__ = ({"schema": "public"},)
    id: Mapped[int] = mapped_column(primary_key=True)


class Acting(OtherBase):
    __tablename__ = "acting"
    id: Mapped[int] = mapped_column(primary_key=True)
    named_id: Mapped[int] = mapped_column(ForeignKey("public.named.id", ondelete="CASCADE"))


class Counting(Base):
    __tablename__ = "counting"
    __table_args__ = ({"schema": "public"},)
    id: Mapped[int] = mapped_column(primary_key=True)
    docs: Mapped[int] = column_property(select(func.count(Doc.id)).scalar_subquery())


class NamedRows(Repository[Named, int]):
    owner = KeyOwner("named", scope=tenant)


class ActingRows(Repository[Acting, int]):
    owner = KeyOwner("acting", scope=tenant)


class OpenDocs(Repository[Doc, int]):
    owner = KeyOwner("open")


class CountingRows(Repository[Counting, int]):
    owner = KeyOwner("counting")


class Counted(Repository[Account, int]):
    owner = KeyOwner("account")
    docs = Count(Doc.account_id)


class ByOtherSchemas(Repository[Folder, int]):
    owner = KeyOwner("folder", scope=Scope("org", schema=True))


class BySameName(Repository[Folder, int]):
    owner = KeyOwner("folder", scope=Scope("tenant", schema=True, schemas=("a",)))


class Strict(Repository[Doc, int]):
    owner = KeyOwner("doc", scope=tenant)
    policy: ClassVar[Any] = WriteThrough(strict=True)


class Listed(Repository[Folder, int]):
    owner = KeyOwner("folder", scope=tenant)
    docs = KeyList(Folder.docs)


class CachedAccounts(Repository[Account, int]):
    owner = KeyOwner("account")
    queries = CachedQueries(ttl=60)


@pytest.mark.parametrize(
    "repositories, why",
    [
        ([NamedRows], r"NamedRows: public\.named names a schema.*leave the schema out"),
        ([ActingRows], r"acting: its foreign key to public\.named acts.*\(CASCADE\).*leave"),
        ([Docs, OpenDocs], r"OpenDocs: docs names no schema.*'tenant'.*Docs.*__table_args__"),
        ([Docs, CountingRows], r"CountingRows: docs names no schema"),
        ([Docs, Counted], r"Counted: docs names no schema"),
        ([Docs, ByOtherSchemas], r"'tenant' and 'org' have schema=True.*lies in one schema"),
        ([Docs, BySameName], r"BySameName: .*by the same name"),
        ([Strict], r"strict=True.*CacheAside"),
        ([Listed, Docs], r"Listed.docs: a KeyList .*leave it out"),
    ],
)
def test_repositories(repositories: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Database(URL, redis="redis://127.0.0.1", repositories=repositories)


def test_another_database_than_postgresql() -> None:
    with pytest.raises(ConfigurationError, match=r"needs PostgreSQL.*not sqlite"):
        Database("sqlite+aiosqlite:///docs.db", repositories=[Docs])


@pytest.mark.parametrize(
    "arguments, why",
    [
        ({"schema": True, "setting": "app.tenant"}, "leave setting and column out"),
        ({"schema": True, "column": "tenant"}, "leave setting and column out"),
        ({"schema": "a"}, "schema=True"),
        ({"setting": "app.tenant", "schemas": ("a",)}, "schema=True: leave them out"),
        ({"setting": "app.tenant", "schema": 1}, "schema=True: leave them out"),
        ({"schema": True, "schemas": "a"}, "give a tuple of names"),
        ({"schema": True, "schemas": ["a"]}, "give a tuple of names"),
        ({"schema": True, "schemas": ("a", "pg_catalog")}, "'pg_catalog' .*PostgreSQL's own"),
        ({"schema": True, "schemas": ("a" * 64,)}, "longer than the 63 bytes"),
        ({"schema": True, "schemas": ("",)}, "is no name"),
    ],
)
def test_scopes(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Scope("tenant", **arguments)


NAMES = [
    "a",
    "b_2",
    "A",
    "public",
    "a b",
    'a"b',
    "ä",
    "information_schema",
    "pg_x",
    "a.b",
    "x" * 63,
]
LISTED = Scope("tenant", schema=True, schemas=("a b", 'a"b', "ä", "public"))
MATCHED = Scope("tenant", schema=True, schemas=re.compile("a.*|pg_x"))
ASKED = Scope(
    "tenant", schema=True, schemas=lambda name: name in {"A", "pg_x", "information_schema"}
)


@pytest.mark.parametrize(
    "scope, allowed",
    [
        (tenant, {"a", "b_2", "x" * 63}),
        (LISTED, {"a b", 'a"b', "ä", "public"}),
        (MATCHED, {"a", "a b", 'a"b'}),
        (ASKED, {"A"}),
    ],
)
def test_which_values_may_name_a_schema(scope: Scope, allowed: set[str]) -> None:
    assert {name for name in NAMES if scope.allows(name)} == allowed
    assert not any(map(scope.allows, ["", "a\0", "a\n", "\ud800", "é" * 32, "x" * 64]))


@pytest.mark.parametrize(
    "value", ["", "A", "public", "a;b", 'a"', "a.b", "pg_catalog", "x" * 64, 1, None, b"a", "a\0"]
)
async def test_such_a_value_is_refused_before_anything_is_asked(shop: Shop, value: object) -> None:
    with pytest.raises(UsageError, match=r"scoped\(tenant="):
        shop.db.scoped(tenant=value)  # type: ignore[arg-type]


async def execute(endpoints: Endpoints, *statements: str) -> None:
    engine = create_async_engine(endpoints.primary)
    async with engine.begin() as connection:
        for each in statements:
            await connection.execute(text(each))
    await engine.dispose()


async def test_a_schema_that_is_not_there(shop: Shop, repocache_endpoints: Endpoints) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match=r"scoped\(tenant='z'\): .*no z\.docs.*is there"):
            async with shop.db.scoped(tenant="z"):
                pass
    await execute(repocache_endpoints, "CREATE SCHEMA z", "CREATE TABLE z.docs (id int)")
    with pytest.raises(UsageError, match=r"no z\.folders, z\.marks"):
        async with shop.db.scoped(tenant="z"):
            pass


VIEW = "CREATE VIEW a.marks AS SELECT doc_id, number, words FROM b.marks"
REFUSED = {
    "a view": (["DROP TABLE a.marks", VIEW], r"a\.marks: .*ordinary tables alone"),
    "partitioned": (
        [
            "DROP TABLE a.marks",
            "CREATE TABLE a.marks (LIKE b.marks) PARTITION BY RANGE (doc_id)",
        ],
        r"a\.marks: .*partitioned",
    ),
    "unlogged": (["ALTER TABLE a.marks SET UNLOGGED"], r"a\.marks: .*unlogged"),
    "row-level security": (
        ["ALTER TABLE a.docs ENABLE ROW LEVEL SECURITY"],
        r"a\.docs has row-level security",
    ),
    "a foreign key into another's": (
        ["ALTER TABLE a.marks ADD FOREIGN KEY (doc_id) REFERENCES b.docs ON DELETE CASCADE"],
        r"a\.marks: its foreign key to b\.docs acts across schemas \(CASCADE\)",
    ),
    "a foreign key into the shared": (
        ["ALTER TABLE a.docs ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE SET NULL"],
        r"a\.docs: its foreign key to public\.accounts acts across schemas \(SET NULL\)",
    ),
    "a lookup that is not unique": (
        ["ALTER TABLE a.docs DROP CONSTRAINT docs_slug_key"],
        r"Docs\.by_slug in a: no unique constraint",
    ),
    "a rule that writes another's": (
        ["CREATE RULE more AS ON INSERT TO a.marks DO ALSO DELETE FROM b.marks"],
        r"a\.marks is a view, or has rules.*b\.marks",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_tables_that_cannot_be_cached(
    shop: Shop, repocache_endpoints: Endpoints, kind: str
) -> None:
    statements, why = REFUSED[kind]
    await execute(repocache_endpoints, *statements)
    with pytest.raises(MappingRefused, match=why):
        async with shop.db.scoped(tenant="a"):
            pass
    async with shop.db.scoped(tenant="b"):
        assert (await shop.db[Docs].require(1)).title == "b1"


async def test_selects_that_would_be_another_s_are_not_cached(
    repocache_endpoints: Endpoints,
) -> None:
    repositories: Any = [Docs, CachedAccounts, Folders]
    async with open_docs(repocache_endpoints, repositories=repositories) as shop:
        accounts = shop.db[CachedAccounts]
        assert [each.name for each in await accounts.find()] == ["seven"]
        joined = select(Account.name, Doc.title).join(Doc, Doc.account_id == Account.id)
        async with shop.db.scoped(tenant="a"):
            assert [tuple(row) for row in await accounts.rows(select(Account.name))] == [("seven",)]
            with pytest.raises(UsageError, match=r"docs belongs to the scope"):
                await accounts.cached().rows(joined)
            with pytest.raises(UsageError, match="not cached"):
                await shop.db[Docs].cached().find()


def test_the_shared_repository_is_fine() -> None:
    assert isinstance(Doc.__table__, Table)
    Database(URL, repositories=[Docs, Folders, Accounts])
