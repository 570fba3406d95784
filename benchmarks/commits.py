"""Commits that invalidate, beside the same transaction without the library.

    python3 dev.py benchmark commits

One row a transaction, other rows for each caller, on a PostgreSQL with fsync: as a Core UPDATE, and
as an entity that is read, changed and flushed. Ours also leaves a row in the outbox and takes it
away again, learns the commit's position, runs the invalidation's script in Redis and clears this
process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy import Update, text, update
from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import User, Users, database, fill, plain_engine, servers
from repocache import OutboxMode
from repocache.alembic_ops.ddl import create_outbox
from repocache.testing import Endpoints

ROWS = 6_400
CORE, ORM = "UPDATE and COMMIT", "get, change, COMMIT"
WITH, WITHOUT = "repocache: unit of work", "the same, no outbox"
SIGNED = "the same, signed messages"
SECRETS = ("a secret of the benchmark's",)


def statement(number: int) -> Update:
    return update(User).where(User.id == number).values(visits=User.visits + 1)


@asynccontextmanager
async def plain_update(ends: Endpoints) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def commit(number: int) -> None:
            async with sessions() as session:
                await session.execute(statement(number))
                await session.commit()

        yield await warm(commit)


@asynccontextmanager
async def plain_entity(ends: Endpoints) -> AsyncIterator[Call]:
    async with plain_engine(ends) as engine:
        sessions = async_sessionmaker(engine, expire_on_commit=False)

        async def commit(number: int) -> None:
            async with sessions() as session:
                user = await session.get_one(User, number)
                user.visits += 1
                await session.commit()

        yield await warm(commit)


@asynccontextmanager
async def our_update(
    ends: Endpoints, outbox: OutboxMode, secrets: tuple[str, ...] = ()
) -> AsyncIterator[Call]:
    async with database(ends, Users, outbox=outbox, secrets=secrets) as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                await work.session.execute(statement(number))
                await work.commit()

        yield await warm(commit)


@asynccontextmanager
async def our_session(ends: Endpoints, outbox: OutboxMode) -> AsyncIterator[Call]:
    async with database(ends, Users, outbox=outbox) as db:
        sessions = db.sessionmaker

        async def commit(number: int) -> None:
            async with sessions() as session:
                await session.execute(statement(number))
                await session.commit()

        yield await warm(commit)


@asynccontextmanager
async def our_entity(ends: Endpoints, outbox: OutboxMode) -> AsyncIterator[Call]:
    async with database(ends, Users, outbox=outbox) as db:

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                user = await work[Users].require(number)
                user.visits += 1
                await work.commit()

        yield await warm(commit)


async def make_outbox(ends: Endpoints) -> None:
    async with plain_engine(ends) as engine, engine.begin() as connection:
        for each in create_outbox("public", ()):
            await connection.execute(text(each))


async def warm(commit: Call) -> Call:
    await asyncio.gather(*map(commit, range(64)))
    return commit


async def benchmark(effort: Effort) -> None:
    with servers(durable=True) as running:
        ends = await fill(running, ROWS)
        await make_outbox(ends)
        off, on = OutboxMode.OFF, OutboxMode.REQUIRED
        forms: dict[str, tuple[Open, dict[str, Open]]] = {
            CORE: (
                partial(plain_update, ends),
                {
                    WITH: partial(our_update, ends, on),
                    WITHOUT: partial(our_update, ends, off),
                    SIGNED: partial(our_update, ends, on, SECRETS),
                    "repocache: plain session": partial(our_session, ends, on),
                },
            ),
            ORM: (
                partial(plain_entity, ends),
                {WITH: partial(our_entity, ends, on), WITHOUT: partial(our_entity, ends, off)},
            ),
        }
        for callers in (1, 64):
            for name, (plain, ours) in forms.items():
                table = await interleave(
                    f"commit, {callers} callers in a closed loop, {name}",
                    {name: plain} | ours,
                    under(Load(callers, ROWS), 1.5 * effort.closed),
                    effort.rounds,
                )
                bars = [Bar(each, name, "calls", 0.7, at_least=True) for each in ours]
                bars.append(Bar(WITH, WITHOUT, "calls", 0.85, at_least=True))
                if SIGNED in ours:
                    bars.append(Bar(SIGNED, WITH, "cpu", 1.05))
                table.show(bars)


if __name__ == "__main__":
    run(benchmark)
