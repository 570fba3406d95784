"""A database in memory: the tests of users that need no server."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import JSON, BigInteger, ForeignKey, MetaData, insert, text
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from repocache import CacheAside, Database, KeyOwner, Repository, Settings
from repocache.errors import ConfigurationError, NotStarted
from repocache.events import ignore
from repocache.testing import memory
from repocache.testing.in_memory import MemoryDatabase

QUIET = Settings(observe=ignore)


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    card: Mapped[dict[str, str]] = mapped_column(
        JSONB().with_variant(JSON(), "sqlite"), default=dict
    )


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author: Mapped[int] = mapped_column(ForeignKey("authors.id"))


class Authors(Repository[Author, int]):
    owner = KeyOwner("author")
    policy = CacheAside(ttl=60, local_ttl=60)


def authors() -> MemoryDatabase:
    return memory([Authors], settings=QUIET)


async def add(db: Database, name: str) -> int:
    async with db.unit_of_work() as work:
        author = Author(name=name)
        work.add(author)
        await work.commit()
    return author.id


@pytest.mark.parametrize("turn", range(2))
async def test_each_is_empty_and_numbers_from_one(turn: int) -> None:
    async with authors() as db, authors() as other:
        assert await add(db, "Ada") == 1
        assert (await db[Authors].require(1)).name == "Ada"
        assert await other[Authors].get(1) is None


async def test_reads_go_on_while_a_transaction_writes() -> None:
    async with authors() as db:
        await add(db, "Ada")
        async with db.unit_of_work() as work:
            (await work[Authors].require(1)).name = "Grace"
            await work.session.flush()
            assert (await db[Authors].require(1)).name == "Ada"
            assert [each.name for each in await db[Authors].find()] == ["Ada"]
            await work.commit()
        assert (await db[Authors].require(1)).name == "Grace"


async def test_the_caches_see_what_a_session_of_the_application_commits() -> None:
    def make(session: Session) -> None:
        session.add(Author(name="Alan"))
        session.commit()

    async with authors() as db:
        assert await db[Authors].get(1) is None
        async with db.sessionmaker() as session:
            await session.run_sync(make)
        assert (await db[Authors].require(1)).name == "Alan"


async def test_foreign_keys_are_enforced() -> None:
    async with authors() as db, db.sessionmaker() as session:
        with pytest.raises(IntegrityError):
            await session.execute(insert(Book).values(id=1, author=99))


def test_one_that_is_not_entered_is_for_any_loop() -> None:
    with authors() as db:
        with pytest.raises(NotStarted):
            db[Authors]

        async def turn() -> int:
            async with db:
                return await add(db, "Ada")

        assert [asyncio.run(turn()), asyncio.run(turn())] == [1, 2]


async def test_nothing_is_left() -> None:
    # Those of other tests in this process may end meanwhile.
    threads = set(threading.enumerate())
    made = authors()
    async with made as db:
        await add(db, "Ada")
    assert set(threading.enumerate()) <= threads
    assert list(made._path.parent.glob(f"{made._path.name}*")) == []
    async with made as db:
        assert await db[Authors].get(1) is None, "entered again it is empty again"


async def test_the_metadata_may_be_another() -> None:
    metadata = MetaData()
    Base.metadata.tables["authors"].to_metadata(metadata)
    async with memory([Authors], metadata=metadata, settings=QUIET) as db:
        await add(db, "Ada")
        async with db.sessionmaker() as session:
            tables = await session.scalars(text("SELECT name FROM sqlite_master"))
        assert list(tables) == ["authors"]


class Typed(DeclarativeBase):
    pass


class Note(Typed):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    sender: Mapped[str] = mapped_column(INET)


class Notes(Repository[Note, int]):
    owner = KeyOwner("note")


class Placed(DeclarativeBase):
    pass


class Page(Placed):
    __tablename__ = "pages"
    __table_args__ = {"schema": "site"}  # noqa: RUF012  # SQLAlchemy's way
    id: Mapped[int] = mapped_column(primary_key=True)


class Pages(Repository[Page, int]):
    owner = KeyOwner("page")


@pytest.mark.parametrize(
    "repository, told",
    [
        (Notes, r"INET.*with_variant\(JSON\(\), 'sqlite'\)"),
        (Pages, "SQLite has no schemas, and site.pages is in one"),
    ],
)
async def test_what_sqlite_cannot_have_is_told(repository: type, told: str) -> None:
    made = memory([repository], settings=QUIET)
    with pytest.raises(ConfigurationError, match=told):
        await made.__aenter__()
    assert list(made._path.parent.glob(f"{made._path.name}*")) == []


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repocache.testing.in_memory.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'sqlalchemy-repocache\[sqlite\]'"):
        memory([Authors])


def test_without_files_in_memory_it_is_a_temporary_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("repocache.testing.in_memory.MEMORY", tmp_path / "missing")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with authors() as db:
        assert db is not None
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["sqlite:////tmp/shop.db", "sqlite+pysqlite:////tmp/shop.db"])
def test_a_driver_that_is_not_async_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no async driver.*sqlite\+aiosqlite://.*pip"):
        Database(url, repositories=[Authors])
