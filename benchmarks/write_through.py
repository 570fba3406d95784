"""Commits under each policy: what it costs to store what was written, and to hold readers back
before COMMIT.

    python3 dev.py benchmark write_through

One row a transaction, as a Core UPDATE, on a PostgreSQL with fsync. Write-through adds a SELECT of
the row before COMMIT, strict write-through a script in Redis too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks._harness import Bar, Call, Effort, Load, Open, interleave, run, under
from benchmarks._shop import User, Users, fill, servers
from benchmarks._writers import ROWS, statement, warm
from repocache import Database, KeyOwner, Repository, Settings, WriteThrough
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
    patient = Settings(publish_timeout=30.0)
    async with Database(
        ends.primary, redis=ends.redis, repositories=[repository], settings=patient
    ) as db:
        for first in range(0, ROWS, 400):  # every bucket's floor is known
            await db[repository].get_many(range(first, first + 400))

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
                under(Load(callers, ROWS), max(0.5, 1.5 * effort.closed)),
                effort.rounds,
            )
            table.show(
                [
                    Bar(each, aside, "calls", 0.5, at_least=True)
                    for each in policies
                    if each != aside
                ]
            )


if __name__ == "__main__":
    run(benchmark)
