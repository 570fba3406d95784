"""Traffic on the shop's users, whose `age` counts their versions: a session that reads less than it
wrote is a miss.

It is done to the end, or given up at any moment.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from repocache import Database
from repocache.errors import RepocacheError
from tests.shop import User, Users

IDS = range(1, 61)
Act = Callable[[int], Awaitable[None]]
"""Does something with one user."""


@dataclass
class Tally:
    """`own_misses`: reads of a session that did not show its own write. `errors`: by class."""

    reads: int = 0
    writes: int = 0
    uncovered: int = 0
    own_misses: int = 0
    cancelled: int = 0
    errors: Counter[str] = field(default_factory=Counter)


async def bump(db: Database, id: int) -> int:
    """Raise a user's version by one; the new version."""
    async with db.unit_of_work() as work:
        user = await work.session.get(User, id, with_for_update=True)
        assert user is not None
        user.age += 1
        await work.commit()
        return user.age


class Storm:
    """Callers that read and write at random until it is calm."""

    def __init__(self, db: Database, users: Users, tally: Tally) -> None:
        self._db = db
        self._users = users
        self._tally = tally
        self._calm = asyncio.Event()

    async def run(self, callers: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._call())

    def calm(self) -> None:
        self._calm.set()

    async def _call(self) -> None:
        while not self._calm.is_set():
            try:
                await self._act(self._write_and_read if random.random() < 0.3 else self._read)
            except Exception as error:  # noqa: BLE001  # counted: the tests judge it
                self._tally.errors[_kind(error)] += 1
            await asyncio.sleep(0.02 * random.random())

    async def _act(self, act: Act) -> None:
        await act(random.choice(IDS))

    async def _read(self, id: int) -> None:
        await self._users.get(id)
        self._tally.reads += 1

    async def _write_and_read(self, id: int) -> None:
        async with self._db.causal_session() as session:
            wrote = await bump(self._db, id)
            self._tally.writes += 1
            self._tally.uncovered += not session.bookmark.covered
            for _ in range(3):
                user = await self._users.get(id)
                self._count(user is not None and user.age >= wrote)
                await asyncio.sleep(0.005 * random.random())
            [found] = await self._users.find(User.id == id)
            self._count(found.age >= wrote)

    def _count(self, shown: bool) -> None:
        self._tally.reads += 1
        self._tally.own_misses += not shown


class CancellingStorm(Storm):
    """Acts are cancelled at random moments, so that about half of them come to their end, on any
    machine."""

    def __init__(self, db: Database, users: Users, tally: Tally) -> None:
        super().__init__(db, users, tally)
        self._time: dict[Act, float] = {}

    async def _act(self, act: Act) -> None:
        time = self._time.get(act, 0.05)
        acting = asyncio.create_task(super()._act(act))
        await asyncio.wait({acting}, timeout=2 * time * random.random())
        self._time[act] = max(0.001, 0.9 * time) if acting.done() else time / 0.9
        acting.cancel()
        await asyncio.wait({acting})
        if acting.cancelled():
            self._tally.cancelled += 1
        else:
            acting.result()


def _kind(error: Exception) -> str:
    """Ours and the operating system's by name, those of SQLAlchemy with the driver's."""
    cause = getattr(error, "orig", None)
    name = type(error).__name__
    return (
        name
        if cause is None or isinstance(error, RepocacheError)
        else f"{name}: {cause}".splitlines()[0][:120]
    )
