"""How far one has to walk through the project's files to follow a read or a commit, counted at run
time.

A function counts once each time it is called, in the order of the calls; a resumed coroutine is no
call. What goes on in the background counts if the journey began it, not otherwise.
`python3 dev.py journeys`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import repocache
from benchmarks._shop import Users, database, fill, servers
from repocache import CacheMode, Database, OutboxMode
from repocache.testing import Endpoints

PACKAGE = str(Path(repocache.__file__).parent)
HERE: ContextVar[bool] = ContextVar("the journey", default=False)
ROWS = 300
MANY = 64
SETTLED = 0.2
"""Seconds after a read in which its fill ends, and after a commit in which replicas have it."""
WARM = 5
"""Misses before the one that is followed: its bucket's floor is known, and each replica has a
connection."""


@dataclass
class Journey:
    """The calls of one, each a file of the package and a function."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    _frames: list[FrameType] = field(default_factory=list)

    def __call__(self, frame: FrameType, kind: str, _: Any) -> None:
        """What `sys.setprofile` calls."""
        if kind != "call" or not HERE.get():
            return
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or any(frame is each for each in self._frames):
            return
        self._frames.append(frame)  # held: no other frame gets its place
        self.calls.append((code.co_filename.removeprefix(PACKAGE + "/"), code.co_qualname))

    @property
    def files(self) -> int:
        return len({file for file, _ in self.calls})

    @property
    def functions(self) -> int:
        return len(set(self.calls))

    @property
    def switches(self) -> int:
        """How often the next call is in another file."""
        return sum(before[0] != after[0] for before, after in pairwise(self.calls))

    @contextmanager
    def followed(self) -> Iterator[None]:
        token = HERE.set(True)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            HERE.reset(token)


class Counter(Protocol):
    """What counts something of a journey."""

    def followed(self) -> AbstractContextManager[None]: ...


C = TypeVar("C", bound=Counter)


async def journeys(ends: Endpoints, counter: Callable[[], C]) -> dict[str, C]:
    """By name, each counted once others have been before it: what is made at the first time only is
    left out. Two processes have the row in L1 when it is committed."""

    async def followed(walk: Callable[[], Awaitable[object]]) -> C:
        counts = counter()
        with counts.followed():
            await walk()
        return counts

    async with (
        database(ends, Users, outbox=OutboxMode.OFF) as db,
        database(ends, Users, outbox=OutboxMode.OFF) as other,
    ):
        users = db[Users]
        await until_replicas_answer(db)
        for id in (1, 2, 3):
            await users.get(id)
            await other[Users].get(id)
        for _ in range(WARM):
            await users.get(50)
            await asyncio.sleep(SETTLED)
            async with other.unit_of_work() as work:
                (await work[Users].require(50)).age += 1
                await work.commit()
            await asyncio.sleep(SETTLED)
        found = {"a miss that a replica answers": await followed(lambda: users.get(50))}
        await asyncio.sleep(SETTLED)
        db.switch(Users, CacheMode.SHARED)
        await users.get(50)
        await asyncio.sleep(SETTLED)
        found["an L2 hit"] = await followed(lambda: users.get(50))
        db.switch(Users, CacheMode.ON)
        await users.get(50)
        await asyncio.sleep(SETTLED)
        found["an L1 hit"] = await followed(lambda: users.get(50))
        found[f"{MANY} misses of one moment"] = await followed(
            lambda: asyncio.gather(*map(users.get, range(100, 100 + MANY)))
        )
        for id in (1, 2):
            async with db.unit_of_work() as work:
                (await work[Users].require(id)).age += 1
                found["a commit, to two processes' L1, no outbox"] = await followed(work.commit)
        return found


async def until_replicas_answer(db: Database) -> None:
    async with asyncio.timeout(30):
        while any(node.out for node in db.nodes):  # noqa: ASYNC110  # as an operator sees it
            await asyncio.sleep(0.05)


async def measured(counter: Callable[[], C]) -> dict[str, C]:
    with servers() as running:
        return await journeys(await fill(running, ROWS), counter)


def main() -> None:
    found = asyncio.run(measured(Journey))
    print("| journey | calls | functions | files | file switches |")
    print("|---|--:|--:|--:|--:|")
    for name, each in found.items():
        print(f"| {name} | {len(each.calls)} | {each.functions} | {each.files} | {each.switches} |")
        if "-v" in sys.argv:
            for file, function in each.calls:
                print("   ", file, function)


if __name__ == "__main__":
    main()
