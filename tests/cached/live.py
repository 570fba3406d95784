"""Cached selects beside uncached ones, in two processes, after every commit of either.

`python -m tests.cached.live [--pairs 10000] [--seed 0]` tries that many pairs of statements and
writes on servers of its own, and says how many answers were read anew without need.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from random import Random
from typing import Any

from sqlalchemy import Select, delete, insert, update
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import (
    CacheAside,
    CachedQueries,
    Database,
    KeyOwner,
    MappingOptions,
    Repository,
    Settings,
)
from repocache.errors import QueryRefused
from repocache.events import Event, Served
from repocache.testing import Endpoints, embedded_servers
from tests.queries.blog import MODELS, Author, Base, Label, Post
from tests.queries.pairs import WRITES
from tests.queries.statements import VALUES, Drawing, Drawn
from tests.shop import QUICK

POLICY = CacheAside(ttl=300, local_ttl=60)
QUERIES = CachedQueries(ttl=300, local_ttl=60)


class Authors(Repository[Author, int]):
    owner = KeyOwner("author")
    policy = POLICY
    queries = QUERIES


class Posts(Repository[Post, int]):
    owner = KeyOwner("post")
    policy = POLICY
    queries = QUERIES
    mapping = MappingOptions(derived=("label_count",))


class Labels(Repository[Label, int]):
    owner = KeyOwner("label")
    policy = POLICY
    queries = QUERIES


OF: dict[Any, Any] = {Author: Authors, Post: Posts, Label: Labels}


class Differs(AssertionError):
    """A cached answer is not that of the database."""


@dataclasses.dataclass
class Tally:
    """`pairs` of statements and writes; of these `changed` the answer. `kept`: the answer stayed,
    and was found in a cache; `idle`: it stayed, and was read anew. `refused`: statements."""

    pairs: int = 0
    changed: int = 0
    kept: int = 0
    idle: int = 0
    refused: int = 0

    def __str__(self) -> str:
        stayed = max(1, self.kept + self.idle)
        return (
            f"{self.pairs} pairs, {self.changed} answers changed, no difference; of {stayed} that "
            f"stayed {self.idle} ({self.idle / stayed:.0%}) were read anew; {self.refused} "
            "statements refused"
        )


class Process:
    """One process of the application. `misses`: how often a node answered a select."""

    def __init__(self, ends: Endpoints) -> None:
        self.misses = 0
        self.db = Database(
            ends.primary,
            replicas=ends.replicas,
            redis=ends.redis,
            repositories=list(OF.values()),
            settings=Settings(topology=QUICK, observe=self._seen),
        )

    def _seen(self, event: Event) -> None:
        if isinstance(event, Served) and event.tier == "database":
            self.misses += event.owner.endswith("-queries")


class LivePairs:
    """One statement after the other, each with some writes by either process."""

    def __init__(self, processes: tuple[Process, Process], random: Random) -> None:
        self.tally = Tally()
        self._processes = processes
        self._random = random
        self._drawing = Drawing(random, full=False)
        self._ids: dict[Any, set[int]] = {model: set() for model in MODELS}

    async def statement(self) -> None:
        """Raises Differs."""
        drawn = self._drawing.statement()
        statement = columns_of(drawn)
        try:
            before = await self._read(drawn, statement, None)
        except QueryRefused:
            self.tally.refused += 1
            return
        for _ in range(WRITES):
            bookmark = await self._write()
            misses = [each.misses for each in self._processes]
            after = await self._read(drawn, statement, bookmark)
            anew = any(each.misses > was for each, was in zip(self._processes, misses, strict=True))
            self.tally.pairs += 1
            self.tally.changed += after != before
            self.tally.idle += after == before and anew
            self.tally.kept += after == before and not anew
            before = after

    async def _read(self, drawn: Drawn, statement: Select[Any], bookmark: Any) -> list[Any]:
        found: list[Any] = []
        for process in self._processes:
            async with process.db.causal_session(bookmark):
                fresh = _kept(drawn, await process.db[Posts].on_primary().rows(statement))
                for _ in range(2):
                    found = _kept(drawn, await process.db[Posts].rows(statement))
                    if found != fresh:
                        raise Differs(f"{statement}\n{found}\nand not {fresh}")
        return found

    async def _write(self) -> Any:
        """Some rows of one table, in one transaction."""
        process, model = self._random.choice(self._processes), self._random.choice(MODELS)
        async with process.db.unit_of_work() as work:
            for _ in range(self._random.choice((1, 1, 1, 2))):
                await self._change(work, model)
            return await work.commit()

    async def _change(self, work: Any, model: Any) -> None:
        ids = self._ids[model]
        kind = self._random.randrange(9)
        if not ids or (kind < 3 and len(ids) < 7):
            row = self._row(model)
            ids.add(row["id"])
            if kind == 0:
                await work.session.execute(insert(model.__table__).values(row))
            else:
                work.add(model(**row))
                await work.session.flush()
            return
        id = self._random.choice(sorted(ids))
        if kind < 4:
            await work.session.execute(delete(model).where(model.id == id))
            ids.discard(id)
            return
        if kind == 4:
            await work.delete(await work[OF[model]].require(id))
            await work.session.flush()
            ids.discard(id)
            return
        row = self._row(model)
        names = self._random.sample([name for name in row if name != "id"], 1 + kind % 2)
        values = {name: row[name] for name in names}
        if kind < 7:
            entity = await work[OF[model]].require(id)
            for name, value in values.items():
                setattr(entity, name, value)
            await work.session.flush()
        elif kind == 7:
            await work.session.execute(update(model).where(model.id == id).values(values))
        else:
            name = self._random.choice(names)
            where = getattr(model, name) == self._random.choice(VALUES[name])
            await work.session.execute(update(model).where(where).values(values))

    def _row(self, model: Any) -> dict[str, Any]:
        row = {
            column.name: self._random.choice((*VALUES[column.name], None))
            for column in model.__table__.columns
        }
        free = [id for id in range(1, 9) if id not in self._ids[model]]
        return row | {"id": self._random.choice(free)} if free else row | {"id": 0}


def columns_of(drawn: Drawn) -> Select[Any]:
    """A statement of columns: of entities their ids."""
    if not drawn.entities:
        return drawn.statement  # type: ignore[no-any-return]
    entity = drawn.statement.column_descriptions[0]["entity"]
    chosen: Select[Any] = drawn.statement.with_only_columns(entity.id, maintain_column_froms=True)
    return chosen


def _kept(drawn: Drawn, rows: Any) -> list[Any]:
    found = [tuple(row) for row in rows]
    return found if drawn.ordered else sorted(found, key=repr)


async def compare(ends: Endpoints, random: Random, statements: int) -> Tally:
    """Raises Differs."""
    engine = create_async_engine(ends.primary)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    one, other = Process(ends), Process(ends)
    async with one.db, other.db:
        pairs = LivePairs((one, other), random)
        for _ in range(statements):
            await pairs.statement()
        return pairs.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with embedded_servers() as servers:
        ends = servers.endpoints()
        print(asyncio.run(compare(ends, Random(given.seed), -(-given.pairs // WRITES))))  # noqa: T201


if __name__ == "__main__":
    main()
