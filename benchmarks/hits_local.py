"""Hits in this process: a frozen view beside in-process caches, an entity beside other ways to a
fresh one.

    python3 dev.py benchmark hits_local

Views: every contestant hands out the same kind of shared frozen object from an `async` function,
over one hot key and over 10,000 keys at random. Entities: every call gives a fresh, clean, detached
one, of three columns beside a hit of a cache in the process, and of eleven beside other ways to
one. Their floor is what the technique costs by hand: a new instance, its `__dict__` filled from a
ready dict, its identity key; no lookup, no time to live.
"""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.orm import Session, configure_mappers
from sqlalchemy.orm.attributes import instance_state, manager_of_class

from benchmarks._harness import Bar, Effort, Open, as_it_is, in_a_row, interleave, opened, run
from benchmarks._memories import CACHETOOLS, CASHEWS, KEYS, MEMORIES
from benchmarks._shop import PRICED, Prices, User, Users, database, fill, servers
from repocache import Database, Repository
from repocache.testing import Endpoints

HOT = 7
VIEW = "repocache: users.card.get"
ENTITY = "repocache: users.get"
PRICE = "repocache: prices.get"
FLOOR = "floor: instance, dict, key"
VIEW_BARS = (Bar(VIEW, CACHETOOLS, "cpu", 1.5), Bar(VIEW, CASHEWS, "calls", 30, at_least=True))
PRICE_BARS = (Bar(PRICE, CACHETOOLS, "cpu", 4.5),)
ENTITY_BARS = (Bar(ENTITY, FLOOR, "cpu", 2.5),)


@asynccontextmanager
async def filled(ends: Endpoints) -> AsyncIterator[Database]:
    """With every row in L1."""
    async with database(ends, Users, Prices) as db:
        await into_l1(db[Users], range(KEYS))
        await into_l1(db[Prices], range(PRICED))
        yield db


async def into_l1(rows: Repository[Any, int], ids: Sequence[int]) -> None:
    while not all(rows._peek(id) for id in ids):
        await rows.get_many(ids)
        # An answer comes before its row is in L1, and hits let nobody else run.
        await asyncio.sleep(0.01)


def entities(db: Database, ready: User) -> dict[str, Open]:
    configure_mappers()
    new_instance = manager_of_class(User).new_instance
    values = {each.key: getattr(ready, each.key) for each in User.__mapper__.column_attrs}
    pickled, session = pickle.dumps(ready), Session()

    async def floor(number: int) -> User:
        made: User = new_instance()
        made.__dict__.update(values)
        instance_state(made).key = (User, (number,), None)
        return made

    async def constructed(_: int) -> User:
        return User(**values)

    async def unpickled(_: int) -> object:
        return pickle.loads(pickled)

    async def merged(_: int) -> User:
        made = session.merge(ready, load=False)
        session.expunge(made)
        return made

    return {
        FLOOR: as_it_is(floor),
        ENTITY: as_it_is(db[Users].get),
        "User(**row), not clean": as_it_is(constructed),
        "pickle.loads": as_it_is(unpickled),
        "session.merge(load=False)": as_it_is(merged),
    }


async def views(db: Database, entrants: dict[str, Open], effort: Effort) -> None:
    contestants = entrants | {VIEW: as_it_is(db[Users].card.get)}
    for title, numbers in (
        ("one hot key", [HOT] * KEYS),
        ("10,000 keys at random", random.Random(0).choices(range(KEYS), k=KEYS)),
    ):
        measure = in_a_row(numbers, effort.closed / 4)
        table = await interleave(
            f"L1 hit, shared frozen view, {title}", contestants, measure, 2 * effort.rounds
        )
        table.show(VIEW_BARS)


async def prices(db: Database, entrants: dict[str, Open], effort: Effort) -> None:
    table = await interleave(
        "L1 hit, fresh detached entity of three columns beside shared objects, one hot key",
        entrants | {PRICE: as_it_is(db[Prices].get)},
        in_a_row([HOT] * KEYS, effort.closed / 4),
        2 * effort.rounds,
    )
    table.show(PRICE_BARS)


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, KEYS)
        async with filled(ends) as db:
            async with opened(MEMORIES) as entrants:
                await views(db, entrants, effort)
                await prices(db, {CACHETOOLS: entrants[CACHETOOLS]}, effort)
            table = await interleave(
                "L1 hit, fresh detached entity of eleven columns",
                entities(db, await db[Users].require(HOT)),
                in_a_row([HOT] * KEYS, effort.closed / 4),
                2 * effort.rounds,
            )
            table.show(ENTITY_BARS)


if __name__ == "__main__":
    run(benchmark)
