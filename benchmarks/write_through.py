"""Commits under each policy: what it costs to store what was written, and to hold readers back before COMMIT.

    python3 dev.py benchmark write_through

One row a transaction, as a Core UPDATE, on a PostgreSQL with fsync. Write-through adds a SELECT of the row before
COMMIT, strict write-through a script in Redis too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import User, Users, database, fill, servers
from benchmarks.commits import ROWS, statement, warm
from repocache import KeyOwner, Repository, WriteThrough
from repocache.testing import Endpoints


class Stored(Repository[User, int]):
    """Under write-through."""

    owner = KeyOwner("user")
    policy = WriteThrough()


class Strict(Repository[User, int]):
    """Under strict write-through."""

    owner = KeyOwner("user")
    policy = WriteThrough(strict=True)


@asynccontextmanager
async def commits(ends: Endpoints, repository: type[Repository[Any, int]]) -> AsyncIterator[Call]:
    async with database(ends, repository) as db:
        await db[repository].get_many(range(1, ROWS))

        async def commit(number: int) -> None:
            async with db.unit_of_work() as work:
                await work.session.execute(statement(number))
                await work.commit()

        yield await warm(commit)


async def benchmark(effort: Effort) -> None:
    with servers(durable=True) as running:
        ends = await fill(running, ROWS)
        aside = "CacheAside"
        policies: dict[str, Open] = {
            aside: partial(commits, ends, Users),
            "WriteThrough": partial(commits, ends, Stored),
            "WriteThrough(strict=True)": partial(commits, ends, Strict),
        }
        for callers in (1, 64):
            table = await interleave(
                f"commit, {callers} callers in a closed loop",
                policies,
                under(Load(callers, ROWS), 1.5 * effort.closed),
                effort.rounds,
            )
            table.show([Bar(each, aside, "calls", 0.5, at_least=True) for each in policies if each != aside])


if __name__ == "__main__":
    run(benchmark)
