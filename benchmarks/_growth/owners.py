"""Against the number of owners: repositories of one database, each over a mapped class of its own.

Calls go to all of them in turn. A start is from the making of the `Database` until it is entered;
the peer is an engine that has connected once. What SQLAlchemy does once for each mapped class of a
process was done before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import new_class
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, text
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column

from benchmarks._growth.contest import Axis, Contest, Extent, Study, studied
from benchmarks._growth.curve import Figure
from benchmarks._growth.ground import Ground, Statement
from benchmarks._growth.paths import (
    COMMIT,
    GET,
    HIT,
    UPDATE,
    fill_redis,
    our_commits,
    our_hits,
    plain_commits,
    put,
    redis_get,
)
from benchmarks._growth.place import LONG, Place
from benchmarks._harness import Call, Load, Measure, under
from benchmarks._shop import database, plain_engine
from repocache import KeyOwner, OutboxMode, Repository
from repocache.testing import Endpoints

CALLERS = 16
STARTS = 3
START, ENGINE = "start", "engine and connection"
START_CPU = Figure("cpu", "ms of CPU a start", 1e-3)
START_TIME = Figure("p50", "ms a start", 1e-3)


class Base(DeclarativeBase):
    """The generated classes' registry."""


class _Thing:
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    stock: Mapped[int]


class Thing(msgspec.Struct, array_like=True, frozen=True):
    """A row of any of them as a hand-written cache would decode it."""

    id: int
    name: str
    stock: int


def table(number: int) -> str:
    return f"thing_{number}"


def mapped(number: int) -> type[Any]:
    return type(f"Thing{number}", (_Thing, Base), {"__tablename__": table(number)})


def kept(number: int, model: Any, prefix: str) -> type[Repository[Any, int]]:
    members = {"owner": KeyOwner(f"{prefix}-{number}"), "policy": LONG}
    made: type[Repository[Any, int]] = new_class(
        f"Things{number}", (Repository[model, int],), exec_body=lambda body: body.update(members)
    )
    return made


def one_less(model: type[Any]) -> Mapping[str, ColumnElement[Any] | str]:
    return {"stock": model.stock - 1}


Places = Mapping[int, Place]
"""By point: so many owners, the same ones at all points."""


def places(points: Sequence[int], models: Sequence[type[Any]], prefix: str, rows: int) -> Places:
    """`rows`: of all owners of a point together."""
    repositories = [kept(number, model, prefix) for number, model in enumerate(models)]
    return {
        at: Place(tuple(models[:at]), tuple(repositories[:at]), rows // at, change=one_less)
        for at in points
    }


def rows(number: int, count: int) -> Statement:
    insert = f"INSERT INTO {table(number)} SELECT n, 'a thing', 0"
    return f"{insert} FROM generate_series(0, :last) AS n", {"last": count - 1}


@asynccontextmanager
async def our_starts(ends: Endpoints, place: Place) -> AsyncIterator[Call]:
    """Each call starts one; all are left at the end."""
    async with AsyncExitStack() as stack:

        async def start(_: int) -> None:
            made = database(ends, *place.repositories, outbox=OutboxMode.REQUIRED)
            await stack.enter_async_context(made)

        yield start


@asynccontextmanager
async def plain_starts(ends: Endpoints) -> AsyncIterator[Call]:
    async with AsyncExitStack() as stack:

        async def start(_: int) -> None:
            engine = await stack.enter_async_context(plain_engine(ends))
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

        yield start


def contests(ends: Endpoints, owned: Places, written: Places, extent: Extent) -> list[Contest]:
    def measure(at: int, *, seconds: float = extent.closed) -> Measure:
        return under(Load(CALLERS, owned[at].numbers), seconds)

    return [
        Contest(
            HIT,
            GET,
            lambda at: partial(our_hits, ends, owned[at]),
            lambda at: partial(redis_get, ends, owned[at], Thing),
            measure,
        ),
        Contest(
            COMMIT,
            UPDATE,
            lambda at: partial(our_commits, ends, written[at]),
            lambda at: partial(plain_commits, ends, written[at]),
            partial(measure, seconds=1.5 * extent.closed),
        ),
        Contest(
            START,
            ENGINE,
            lambda at: partial(our_starts, ends, owned[at]),
            lambda _: partial(plain_starts, ends),
            lambda _: under(Load(1, STARTS, once=True), 60),
            (START_CPU, START_TIME),
        ),
    ]


async def study(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    models = [mapped(number) for number in range(max(points))]
    configure_mappers()
    owned = places(points, models, "thing", extent.warm)
    # Keys of their own, so that commits leave the others' values alone.
    written = places(points, models, "written", extent.warm)
    await ground.make_tables(Base)
    # The fewest owners have the most rows each.
    each = extent.warm // min(points)
    await ground.execute([rows(number, each) for number in range(max(points))])
    for place in owned.values():
        await fill_redis(ground.ends, place)
        await put(ground.ends, range(place.numbers), place, partial(Thing, name="a thing", stock=0))
    return await studied(contests(ground.ends, owned, written, extent), points, extent.rounds)


OWNERS = Axis("owners", "owners", (1, 5, 20, 50, 100, 200), (2,), study)
