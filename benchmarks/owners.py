"""Commits that reach beyond the rows that they name, beside the UPDATE of one row.

    python3 dev.py benchmark owners

A DELETE of a row that three tables refer to with ON DELETE CASCADE, whose rows are invalidated by
key; a textual UPDATE that is declared without ids, and a TRUNCATE, which invalidate a whole owner.
All in units of work, with the outbox, on a PostgreSQL with fsync; `plain` is the DELETE without the
library.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from sqlalchemy import ForeignKey, delete, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import database, plain_engine, servers
from repocache import KeyOwner, OutboxMode, Repository
from repocache.alembic_ops.ddl import create_outbox
from repocache.testing import Endpoints

PARENTS = 120_000
ONE, CASCADE, PLAIN = "UPDATE of one row", "DELETE, three children", "DELETE, three children, plain"
WHOLE, EMPTIED = "UPDATE declared without ids", "TRUNCATE"


class Base(DeclarativeBase):
    """The mapping's registry."""


class Parent(Base):
    """What is deleted."""

    __tablename__ = "parent"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class _Child:
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id", ondelete="CASCADE"), index=True)


class First(_Child, Base):
    """Goes with its parent."""

    __tablename__ = "first"


class Second(_Child, Base):
    """Goes with its parent."""

    __tablename__ = "second"


class Third(_Child, Base):
    """Goes with its parent."""

    __tablename__ = "third"


class Scratch(Base):
    """What is emptied."""

    __tablename__ = "scratch"

    id: Mapped[int] = mapped_column(primary_key=True)


class Parents(Repository[Parent, int]):
    """Those that are written."""

    owner = KeyOwner("parent")


class Firsts(Repository[First, int]):
    """Told of by key."""

    owner = KeyOwner("first")


class Seconds(Repository[Second, int]):
    """Told of by key."""

    owner = KeyOwner("second")


class Thirds(Repository[Third, int]):
    """Told of by key."""

    owner = KeyOwner("third")


class Scratches(Repository[Scratch, int]):
    """Told of as a whole."""

    owner = KeyOwner("scratch")


ALL = (Parents, Firsts, Seconds, Thirds, Scratches)


async def fill(ends: Endpoints) -> None:
    async with plain_engine(ends) as engine, engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        rows = f"generate_series(1, {PARENTS}) AS n"
        await connection.execute(text(f"INSERT INTO parent SELECT n, 0 FROM {rows}"))
        for child in ("first", "second", "third"):
            await connection.execute(text(f"INSERT INTO {child} SELECT n, n FROM {rows}"))
        for each in create_outbox("public", ()):
            await connection.execute(text(each))
    async with plain_engine(ends) as engine:
        connected = await engine.connect()
        await (await connected.execution_options(isolation_level="AUTOCOMMIT")).execute(
            text("ANALYZE")
        )
        await connected.close()


@asynccontextmanager
async def one(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, *ALL, outbox=OutboxMode.REQUIRED) as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                row = PARENTS - number
                await work.session.execute(
                    update(Parent).where(Parent.id == row).values(number=Parent.number + 1)
                )
                await work.commit()

        yield commit


@asynccontextmanager
async def cascade(ends: Endpoints, ids: count[int]) -> AsyncIterator[Call]:
    async with database(ends, *ALL, outbox=OutboxMode.REQUIRED) as db:

        async def commit(_: int) -> None:
            async with db.unit_of_work() as work:
                await work.session.execute(delete(Parent).where(Parent.id == next(ids)))
                await work.commit()

        yield commit


@asynccontextmanager
async def plain(ends: Endpoints, ids: count[int]) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:

        async def commit(_: int) -> None:
            async with engine.begin() as connection:
                await connection.execute(delete(Parent).where(Parent.id == next(ids)))

        yield commit


@asynccontextmanager
async def whole(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, *ALL, outbox=OutboxMode.REQUIRED) as db:
        statement = text("UPDATE parent SET number = number + 1 WHERE id = :id")

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                await work.session.execute(statement, {"id": PARENTS - number})
                work.changes(Parents)
                await work.commit()

        yield commit


@asynccontextmanager
async def emptied(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, *ALL, outbox=OutboxMode.REQUIRED) as db:

        async def commit(_: int) -> None:
            async with db.unit_of_work() as work:
                await work.session.execute(text("TRUNCATE scratch"))
                await work.commit()

        yield commit


async def benchmark(effort: Effort) -> None:
    with servers(durable=True) as running:
        ends = running.endpoints()
        await fill(ends)
        ids = count(1)
        contestants: dict[str, Open] = {
            ONE: partial(one, ends),
            CASCADE: partial(cascade, ends, ids),
            PLAIN: partial(plain, ends, ids),
            WHOLE: partial(whole, ends),
            EMPTIED: partial(emptied, ends),
        }
        for callers in (1, 16):
            # A table is emptied by one at a time.
            some = {
                name: each for name, each in contestants.items() if callers == 1 or name != EMPTIED
            }
            measure = under(Load(callers, 1_000), 2 * effort.closed)
            table = await interleave(
                f"commit, {callers} callers in a closed loop", some, measure, effort.rounds
            )
            bars = [
                Bar(CASCADE, ONE, "calls", 0.5, at_least=True),
                Bar(WHOLE, ONE, "calls", 0.2, at_least=True),
            ]
            table.show(
                [*bars, *([Bar(EMPTIED, ONE, "calls", 0.2, at_least=True)] if callers == 1 else [])]
            )


if __name__ == "__main__":
    run(benchmark)
