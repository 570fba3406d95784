"""What was found wrong of lookups, each as small as it can be made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import (
    BigInteger,
    Computed,
    FetchedValue,
    ForeignKey,
    LargeBinary,
    SmallInteger,
    String,
    TypeDecorator,
    UniqueConstraint,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import CacheAside, KeyOwner, Lookup, Repository, UnitOfWork
from repocache.testing import Endpoints
from tests.lookups.accounts import open_accounts
from tests.lookups.test_writes import told
from tests.shop import Shop, open_shop

# SQLAlchemy's own, of its DOMAIN.
pytestmark = pytest.mark.filterwarnings("ignore:Type object .*DOMAIN")
POLICY = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)
Write = Callable[[UnitOfWork], Awaitable[object]]


class Lower(TypeDecorator[str]):
    """Sends small letters."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and value.lower()


class Base(DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    nick: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str | None]


class Named(Base):
    __tablename__ = "named"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Made(Base):
    """Columns that are set without saying so."""

    __tablename__ = "made"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    computed: Mapped[str] = mapped_column(Computed("lower(name)", persisted=True), unique=True)
    updated: Mapped[str] = mapped_column(unique=True, default="old", onupdate=lambda: "new")


class Rewritten(Base):
    """By a trigger of which the metadata knows nothing, as it does of the generated column."""

    __tablename__ = "rewritten"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    slug: Mapped[str | None] = mapped_column(unique=True)
    upper: Mapped[str | None] = mapped_column(FetchedValue(), unique=True)


class Side(Base):
    __tablename__ = "sides"
    id: Mapped[int] = mapped_column(primary_key=True)


class Member(Base):
    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("side", "nick"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    side: Mapped[int] = mapped_column(
        ForeignKey("sides.id", ondelete="SET DEFAULT"), server_default=text("1")
    )
    nick: Mapped[str]


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    flag: Mapped[int] = mapped_column()
    badge: Mapped[str] = mapped_column(unique=True)
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": case((flag == 1, "special"), else_="plain"),
        "polymorphic_identity": "plain",
    }


class Special(Thing):
    __mapper_args__ = {"polymorphic_identity": "special"}  # noqa: RUF012


class Blob(Base):
    __tablename__ = "blobs"
    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)


class Mail(Base):
    __tablename__ = "mails"
    id: Mapped[int] = mapped_column(primary_key=True)
    mail: Mapped[str] = mapped_column(
        DOMAIN("address", String(), check=text("VALUE LIKE '%@%'")), unique=True
    )


class Plains(Repository[Plain, int]):
    owner, policy = KeyOwner("plain"), POLICY
    by_email, by_nick = Lookup(Plain.email), Lookup(Plain.nick)


class Nameds(Repository[Named, str]):
    owner, policy = KeyOwner("named"), POLICY


class Mades(Repository[Made, int]):
    owner, policy = KeyOwner("made"), POLICY
    by_computed, by_updated = Lookup(Made.computed), Lookup(Made.updated)


class Rewrittens(Repository[Rewritten, int]):
    owner, policy = KeyOwner("rewritten"), POLICY
    by_slug, by_upper = Lookup(Rewritten.slug), Lookup(Rewritten.upper)


class Members(Repository[Member, int]):
    owner, policy = KeyOwner("member"), POLICY
    by_nick = Lookup(Member.side, Member.nick)


class Specials(Repository[Special, int]):
    owner, policy = KeyOwner("special"), POLICY
    by_badge = Lookup(Special.badge)


class Blobs(Repository[Blob, bytes]):
    owner, policy = KeyOwner("blob"), POLICY
    by_code = Lookup(Blob.code)


class Mails(Repository[Mail, int]):
    owner, policy = KeyOwner("mail"), POLICY
    by_mail = Lookup(Mail.mail)


class Small(Base):
    __tablename__ = "smalls"
    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)


class Smalls(Repository[Small, int]):
    owner, policy = KeyOwner("small"), POLICY
    by_code = Lookup(Small.code)


REPOSITORIES = (Plains, Nameds, Smalls, Mades, Rewrittens, Members, Specials, Blobs, Mails)
SCRIPT = (
    "ALTER TABLE rewritten DROP COLUMN upper",
    "ALTER TABLE rewritten ADD upper text UNIQUE GENERATED ALWAYS AS (upper(name)) STORED",
    """
    CREATE FUNCTION slugged() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.slug := lower(NEW.name); RETURN NEW; END $$
    """,
    """
    CREATE TRIGGER slugged BEFORE INSERT OR UPDATE ON rewritten FOR EACH ROW
    EXECUTE FUNCTION slugged()
    """,
    "INSERT INTO plain VALUES (7, '7@x', 's', 'n'), (8, '8@x', 'e', 'n')",
    "INSERT INTO named VALUES ('a', 'old')",
    "INSERT INTO made (id, name, updated) VALUES (1, 'bob', 'old')",
    "INSERT INTO rewritten (id, name) VALUES (1, 'Bob')",
    "INSERT INTO sides VALUES (1), (2)",
    "INSERT INTO members VALUES (5, 2, 'ada')",
    "INSERT INTO things VALUES (1, 0, 'b')",
    "INSERT INTO blobs VALUES ('7', 'old')",
    "INSERT INTO mails VALUES (1, 'a@x')",
)


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for statement in SCRIPT:
            await connection.execute(text(statement))
    await engine.dispose()
    async with open_accounts(repocache_endpoints, repositories=REPOSITORIES) as shop:
        yield shop


def sql(statement: Any, *parameters: Any) -> Write:
    async def write(work: UnitOfWork) -> None:
        await (await work.session.connection()).execute(statement, *parameters)

    return write


def renamed(repository: Any, id: Any, name: str) -> Write:
    async def write(work: UnitOfWork) -> None:
        (await work[repository].require(id)).name = name

    return write


def added(entity: Callable[[], Any]) -> Write:
    async def write(work: UnitOfWork) -> None:
        work.add(entity())

    return write


plain: Any = Plain.__table__
named: Any = Named.__table__
things: Any = Thing.__table__
ROW = {"id": 9, "name": "n"}
GIVEN: dict[str, tuple[Write, Any, str, Any]] = {
    "a computed column": (renamed(Mades, 1, "ADA"), Mades, "by_computed", "ada"),
    "onupdate": (renamed(Mades, 1, "ADA"), Mades, "by_updated", "new"),
    "a trigger at an INSERT": (
        added(lambda: Rewritten(id=2, name="Ada", slug="Ada")),
        Rewrittens,
        "by_slug",
        "ada",
    ),
    "a trigger at an UPDATE": (renamed(Rewrittens, 1, "Eve"), Rewrittens, "by_slug", "eve"),
    "a generated column": (renamed(Rewrittens, 1, "Eve"), Rewrittens, "by_upper", "EVE"),
    "an expression of a bind of the column's name": (
        sql(insert(plain).values(email=func.lower(bindparam("email"))), {**ROW, "email": "ADA@X"}),
        Plains,
        "by_email",
        "ada@x",
    ),
    "an INSERT of a bind of another type": (
        sql(insert(plain).values(id=9, email=literal("ADA@X", Lower()))),
        Plains,
        "by_email",
        "ada@x",
    ),
    "an INSERT of rows with such": (
        sql(insert(plain).values([{"id": 9, "email": literal("ADA@X", Lower())}])),
        Plains,
        "by_email",
        "ada@x",
    ),
    "an UPDATE of a bind of another type": (
        sql(update(plain).where(plain.c.id == 7).values(email=literal("ADA@X", Lower()))),
        Plains,
        "by_email",
        "ada@x",
    ),
    "a variant of another type": (
        sql(
            update(plain)
            .where(plain.c.id == 7)
            .values(email=literal("ADA@X", String().with_variant(Lower(), "postgresql")))
        ),
        Plains,
        "by_email",
        "ada@x",
    ),
    "a default of a foreign key": (
        sql(delete(Side).where(Side.id == 2)),
        Members,
        "by_nick",
        (1, "ada"),
    ),
    "a class by an expression": (
        sql(update(things).where(things.c.id == 1).values(flag=1)),
        Specials,
        "by_badge",
        "b",
    ),
    "two lookups and the id at once": (
        sql(
            update(plain)
            .where(plain.c.id == 7)
            .values(id=70, email="new@x")
            .returning(plain.c.name)
        ),
        Plains,
        "by_email",
        "new@x",
    ),
    "a key that cannot be hashed": (
        sql(update(Blob).where(Blob.id == bytearray(b"7")).values(code="new")),
        Blobs,
        "by_code",
        "new",
    ),
}


@pytest.mark.parametrize("name", GIVEN)
async def test_a_value_that_somebody_has_now_is_found(shop: Shop, name: str) -> None:
    write, repository, lookup, value = GIVEN[name]
    assert await getattr(shop.db[repository], lookup).get(value) is None
    async with shop.db.causal_session(None):
        async with shop.db.unit_of_work() as work:
            await write(work)
            await work.commit()
        on_primary = await getattr(shop.db[repository].on_primary(), lookup).get(value)
        assert on_primary is not None
        found = await getattr(shop.db[repository], lookup).get(value)
        assert found is not None
        assert found.id == on_primary.id


IDS: dict[str, tuple[Write, str]] = {
    "INSERT": (sql(insert(named).values(id=literal("NEW", Lower()), name="new")), "new"),
    "INSERT of rows": (
        sql(insert(named).values([{"id": literal("NEW", Lower()), "name": "new"}])),
        "new",
    ),
    "UPDATE": (
        sql(update(named).where(named.c.id == literal("A", Lower())).values(name="new")),
        "a",
    ),
    "DELETE": (sql(delete(named).where(named.c.id == literal("A", Lower()))), "a"),
}


@pytest.mark.parametrize("name", IDS)
async def test_an_id_that_is_sent_as_another_type_is_told_as_it_is(shop: Shop, name: str) -> None:
    write, id = IDS[name]
    await shop.db[Nameds].get(id)
    async with shop.db.causal_session(None):
        async with shop.db.unit_of_work() as work:
            await write(work)
            await work.commit()
        found, right = await shop.db[Nameds].get(id), await shop.db[Nameds].on_primary().get(id)
        assert (found and found.name) == (right and right.name)


async def test_an_id_that_no_column_holds_is_no_error(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        wide = bindparam("p", 2**40, type_=BigInteger)
        await work.session.execute(update(plain).where(plain.c.id == wide).values(email="n@x"))
        await work.rollback()


async def test_a_domain_s_check_fails_nobody_else(shop: Shop) -> None:
    by_mail = shop.db[Mails].by_mail
    found, none = await asyncio.gather(by_mail.get("a@x"), by_mail.get("garbage"))
    assert found is not None
    assert none is None


async def test_it_waits_for_nobody_for_whom_the_statement_would_not(shop: Shop) -> None:
    """A form that is saved with the same email beside somebody who refers to the row; and a
    condition that the row does not meet beside somebody who has it."""
    async with shop.db.unit_of_work() as other, shop.db.unit_of_work() as work:
        share = text("SELECT 1 FROM plain WHERE id = 7 FOR KEY SHARE")
        await other.session.execute(share)
        await other.session.execute(text("SELECT 1 FROM plain WHERE id = 8 FOR UPDATE"))
        await work.session.execute(text("SET LOCAL lock_timeout = '2s'"))
        form = update(plain).where(plain.c.id == 7).values(email="7@x", name="changed")
        assert (await work.session.execute(form)).rowcount == 1  # type: ignore[attr-defined]
        other_row = update(plain).where(plain.c.id == 8, plain.c.name == "another")
        done = await work.session.execute(other_row.values(email="q@x"))
        assert done.rowcount == 0  # type: ignore[attr-defined]
        await work.rollback()
        await other.rollback()


async def test_a_list_is_locked_in_the_order_in_which_it_is_sent(shop: Shop) -> None:
    """Else two that always go from 8 to 7 would wait for each other."""
    statement = update(plain).where(plain.c.id == bindparam("key")).values(email=bindparam("to"))
    rows = [{"key": 8, "to": "88@x"}, {"key": 7, "to": "77@x"}]
    async with shop.db.unit_of_work() as work:
        connection = await work.session.connection()
        await connection.execute(statement, rows)
        await work.commit()
    assert (await shop.db[Plains].on_primary().by_email.require("77@x")).id == 7
    async with shop.db.causal_session(None), shop.db.unit_of_work() as one:
        first = await one.session.connection()
        await first.execute(text("SELECT 1 FROM plain WHERE id = 8 FOR UPDATE"))
        async with shop.db.unit_of_work() as two:
            second = await two.session.connection()
            await second.execute(text("SET LOCAL lock_timeout = '10s'"))
            waiting = asyncio.create_task(second.execute(statement, rows))
            await asyncio.sleep(0.2)
            await first.execute(text("SET LOCAL lock_timeout = '5s'"))
            await first.execute(text("SELECT 1 FROM plain WHERE id = 7 FOR UPDATE"))
            await one.rollback()
            await waiting
            await two.rollback()


async def test_a_small_key_takes_no_large_number(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        wide = bindparam("p", 70_000, type_=BigInteger)
        small: Any = Small.__table__
        await work.session.execute(update(small).where(small.c.id == wide).values(code="n"))
        await work.rollback()


class Texts(Base):
    __tablename__ = "texts"
    id: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)


class TextsOfSqlite(Repository[Texts, str]):
    owner, policy = KeyOwner("texts"), POLICY
    by_code = Lookup(Texts.code)


@pytest.mark.parametrize("where", ["postgresql", "sqlite"])
async def test_a_key_that_is_a_text(
    where: str, tmp_path: Path, repocache_endpoints: Endpoints
) -> None:
    """SQLite has no collation of the name by which PostgreSQL compares characters."""
    url = repocache_endpoints.primary
    if where == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/db"
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Texts.__table__.create)  # type: ignore[attr-defined]
        rows = [{"id": each, "code": f"{each}0"} for each in ("a", "B", "é")]
        await connection.execute(insert(Texts), rows)
    await engine.dispose()
    async with open_shop(Endpoints(url, (), ""), None, [TextsOfSqlite]) as shop:
        by_code = shop.db[TextsOfSqlite].by_code
        assert await by_code.get_many(["a1", "B1", "é1"]) == {}
        async with shop.db.unit_of_work() as work:
            for id in ("B", "a", "é"):
                (await work[TextsOfSqlite].require(id)).code = f"{id}1"
            await work.session.flush()
            keys = {f"texts-by_code:{quote(f'{id}{n}')}" for id in ("B", "a", "é") for n in (0, 1)}
            assert await told(shop, work) == {"texts-by_code": keys}
            await work.commit()
        assert list(await by_code.get_many(["a1", "B1", "é1"])) == ["a1", "B1", "é1"]
