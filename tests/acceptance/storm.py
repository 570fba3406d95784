"""Traffic on the shop's users, whose `age` counts their versions: a session that reads less than it wrote is a miss."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from repocache import Database
from repocache.errors import RepocacheError
from tests.shop import User, Users

IDS = range(1, 61)


@dataclass
class Tally:
    """`own_misses`: reads of a session that did not show its own write. `errors`: by class."""

    reads: int = 0
    writes: int = 0
    uncovered: int = 0
    own_misses: int = 0
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
                if random.random() < 0.3:
                    await self._write_and_read(random.choice(IDS))
                else:
                    await self._users.get(random.choice(IDS))
                    self._tally.reads += 1
            except Exception as error:  # noqa: BLE001  # counted: the tests judge it
                self._tally.errors[_kind(error)] += 1
            await asyncio.sleep(0.02 * random.random())

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


def _kind(error: Exception) -> str:
    """Ours and the operating system's by name, those of SQLAlchemy with the driver's."""
    cause = getattr(error, "orig", None)
    name = type(error).__name__
    return name if cause is None or isinstance(error, RepocacheError) else f"{name}: {cause}".splitlines()[0][:120]
