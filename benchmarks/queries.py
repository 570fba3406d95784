"""Cached selects and computed values, and what they cost whoever commits.

    python3 dev.py benchmark queries

The blog of `reads`: the posts of one author as entities and as rows, from this process, from Redis,
and as misses (each call a select of its own), beside the same select by `on_replica()`. Then a
commit of one UPDATE in a database with `queries`, where 0, 1, 10 and 100 forms of selects are
registered on its table and all of them depend on the column, or none does, beside the same commit
in a database without. A computed value from this process, beside an entity by id. One caller,
closed loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.orm import DeclarativeBase

from benchmarks._forms import SHAPED, Forms, Shaped, forms_of, repository_of
from benchmarks._harness import Bar, Call, Effort, Load, Open, in_a_row, interleave, run, under
from benchmarks._shop import plain_engine, servers
from benchmarks.reads import AUTHORS, POLICY, Author, Authors, Post, make_blog
from repocache import (
    CacheAside,
    CachedQueries,
    Database,
    KeyOwner,
    Reader,
    ReadThrough,
    Repository,
    Settings,
)
from repocache.events import ignore
from repocache.keys import BUCKETS
from repocache.testing import Endpoints

FIND, ROWS = "find", "rows"
L1, L2, MISS, REPLICA = "in L1", "in Redis", "a miss", "on_replica()"
PLAIN = "without queries"
COMPUTED, BY_ID = "a computed value", "an entity by id"
COMMITS = 400
"""Rows of a table that is written."""
KEYS = 8
"""In each record, to know all of them."""
KEPT = CachedQueries(ttl=3600, local_ttl=3600, jitter=0.0)


class Posts(Repository[Post, int]):
    """Their lists are kept in this process."""

    owner, policy, queries = KeyOwner("post"), POLICY, KEPT


class SharedPosts(Repository[Post, int]):
    """Kept in Redis only."""

    owner, policy = KeyOwner("post"), CacheAside(ttl=3600, local_ttl=0)
    queries = CachedQueries(ttl=3600, local_ttl=0, jitter=0.0)


class Named(Repository[Author, int]):
    """Because of it this process keeps tokens."""

    owner, policy, queries = KeyOwner("author"), POLICY, KEPT


class Page(msgspec.Struct, frozen=True):
    """What is computed."""

    name: str
    titles: tuple[str, ...]


class Pages(ReadThrough[int, Page]):
    """Of authors, by two selects."""

    owner, policy = KeyOwner("page"), POLICY

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, Page]:
        """See `ReadThrough`."""
        found = {}
        for key in keys:
            [author] = await reader.execute(select(Author.name).where(Author.id == key))
            titles = await reader.execute(select(Post.title).where(Post.author_id == key))
            found[key] = Page(author.name, tuple(title for (title,) in titles))
        return found


def database(ends: Endpoints, *repositories: Any) -> Database:
    return Database(
        ends.primary,
        replicas=ends.replicas,
        redis=ends.redis,
        repositories=repositories,
        settings=Settings(observe=ignore),
    )


FRESH = count()
"""Of misses: no two of their selects have the same values."""


@asynccontextmanager
async def reading(ends: Endpoints, how: str, where: str) -> AsyncIterator[Call]:
    """`how`: as entities or as rows. `where`: the answer is."""
    repository: type[Repository[Post, int]] = SharedPosts if where == L2 else Posts
    async with database(ends, Named, repository) as db:
        posts = db[repository].on_replica() if where == REPLICA else db[repository]

        def conditions(number: int) -> list[Any]:
            author = Post.author_id == number % AUTHORS
            return [author, Post.title != f"{next(FRESH)}"] if where == MISS else [author]

        async def find(number: int) -> object:
            return await posts.find(*conditions(number))

        async def rows(number: int) -> object:
            return await posts.rows(select(Post.id, Post.title).where(*conditions(number)))

        call = find if how == FIND else rows
        for _ in range(3):
            for number in range(AUTHORS):
                await call(number)
        yield call


@asynccontextmanager
async def committing(ends: Endpoints, forms: Forms | None) -> AsyncIterator[Call]:
    """None: in a database without `queries`."""
    shaped = SHAPED[0] if forms is None else forms.shaped
    repository = repository_of(shaped, None if forms is None else KEPT)
    column = shaped.note if forms is not None and forms.beside else shaped.value
    async with database(ends, repository) as db:
        for each in [] if forms is None else forms_of(shaped, forms.number):
            await db[repository].rows(each)

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                change = update(shaped).where(shaped.id == number).values({column: column + 1})
                await work.session.execute(change)
                await work.commit()

        for number in range(20):
            await commit(number)
        yield commit


@asynccontextmanager
async def computed(ends: Endpoints, name: str) -> AsyncIterator[Call]:
    async with database(ends, Authors, Posts, Pages) as db:
        call: Call = db[Pages].get if name == COMPUTED else db[Authors].get
        for _ in range(3):
            for number in range(AUTHORS):
                await call(number)
        yield call


async def make_tables(ends: Endpoints) -> None:
    await make_blog(ends)
    base: type[DeclarativeBase] = Shaped
    async with plain_engine(ends) as engine, engine.begin() as connection:
        await connection.run_sync(base.metadata.create_all)
        for each in SHAPED.values():
            await connection.execute(insert(each), [{"id": n} for n in range(COMMITS)])


async def know_records(ends: Endpoints) -> None:
    """As where an application has run for a while: every record is there, with a floor. Else each
    of a thousand misses would be the first one in its record, which the primary answers."""
    async with database(ends, Named) as db:
        for _ in range(2):
            await db[Named].get_many(range(KEYS * BUCKETS))
            await asyncio.sleep(1)  # floors are settled
            await db.clear(Named)


READS = {
    FIND: (
        Bar(L1, REPLICA, "calls", 3, at_least=True),
        Bar(L2, REPLICA, "calls", 1.5, at_least=True),
        Bar(MISS, REPLICA, "cpu", 3),
    ),
    ROWS: (
        Bar(L1, REPLICA, "calls", 3, at_least=True),
        Bar(L2, REPLICA, "calls", 1.5, at_least=True),
        Bar(MISS, REPLICA, "cpu", 3),
    ),
}
MOST = {
    Forms(0): 1.1,
    Forms(1): 1.3,
    Forms(10): 1.5,
    Forms(100): 3.0,
    Forms(100, beside=True): 1.5,
}
"""Times the CPU of a commit in a database without `queries`."""


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = running.endpoints()
        await make_tables(ends)
        running.catch_up()
        await know_records(ends)
        for how, bars in READS.items():
            entrants: dict[str, Open] = {
                where: partial(reading, ends, how, where) for where in (REPLICA, L1, L2, MISS)
            }
            table = await interleave(
                f"{how} of ten rows, one caller",
                entrants,
                under(Load(1, AUTHORS), effort.closed),
                effort.rounds,
            )
            table.show(bars)
        entrants = {PLAIN: partial(committing, ends, None)}
        entrants |= {str(forms): partial(committing, ends, forms) for forms in MOST}
        table = await interleave(
            "commit of one UPDATE, one caller",
            entrants,
            under(Load(1, COMMITS), 1.5 * effort.closed),
            effort.rounds,
        )
        table.show([Bar(str(forms), PLAIN, "cpu", most) for forms, most in MOST.items()])
        table = await interleave(
            "a computed value beside an entity, both in L1",
            {name: partial(computed, ends, name) for name in (BY_ID, COMPUTED)},
            in_a_row(range(AUTHORS), effort.closed),
            effort.rounds,
        )
        table.show((Bar(COMPUTED, BY_ID, "cpu", 5),))


if __name__ == "__main__":
    run(benchmark)
