"""One process of the storm: `python -m tests.faults.worker`, with its setup and its orders as JSON lines on stdin.

Its history goes to a file of its own. It ends when nobody gives orders any more.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import create_async_engine

from repocache import Database, OutboxMode, Settings, TopologySettings
from repocache.db.settings import Replica
from repocache.wire import LinkSettings
from repocache.wire.breaker import BreakerSettings
from tests.faults.items import POLICIES
from tests.faults.records import Counted, Recorder
from tests.faults.traffic import Guest, Place, Traffic
from tests.faults.witness import Hearer, Witness
from tests.protocol.switches import rule_off

CALLERS = 6
WINDOW = 120.0
TOPOLOGY = TopologySettings(max_lag=60.0, connect_timeout=1.0)
"""A replica whose replay is paused stays in the rotation: what it shows then is old for certain."""
LINK = LinkSettings(breaker=BreakerSettings(cooldown=1.0))


class Setup(msgspec.Struct):
    """`history`: file of the process's own. `off`: a rule of the protocol to live without, empty for none. `outside`:
    rows are also written past the library. `policy`: one of POLICIES."""

    name: str
    primary: str
    replicas: tuple[str, ...]
    redis: str
    history: str
    seed: int
    monotonic: bool = False
    off: str = ""
    outside: bool = False
    policy: str = "aside"
    callers: int = CALLERS


class Order(msgspec.Struct):
    number: int
    do: str
    using: dict[str, Any]


class Worker:
    """Does what it is ordered to; every public method but `serve` is an order."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._recorder = Recorder(Path(setup.history))
        self._witness = Witness(self._recorder)
        self._witness.install()
        self._class = POLICIES[setup.policy]
        self._db = Database(
            setup.primary,
            replicas=[Replica(url, name=f"replica{number}") for number, url in enumerate(setup.replicas, 1)],
            redis=setup.redis,
            repositories=[self._class],
            settings=Settings(
                observe=self._witness.observe,
                topology=TOPOLOGY,
                link=LINK,
                window=WINDOW,
                monotonic=setup.monotonic,
                outbox=OutboxMode.REQUIRED,
            ),
        )
        self._callers: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async with self._db, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._db._caching.receivers.append(Hearer(self._recorder))
            outside = create_async_engine(self._setup.primary) if self._setup.outside else None
            self._traffic = Traffic(
                Place(self._setup.name, self._db, self._class, outside), self._recorder, self._witness, _hand_over
            )
            watching = tasks.create_task(self._witness.watch_the_loop())
            tell({"ready": os.getpid()})
            while line := await lines.readline():
                tasks.create_task(self._obey(msgspec.json.decode(line, type=Order)))
            watching.cancel()
            os._exit(1)

    async def _obey(self, order: Order) -> None:
        try:
            got = await getattr(self, order.do)(**order.using)
        except Exception as error:  # noqa: BLE001  # the conductor judges it
            tell({"number": order.number, "failed": f"{type(error).__name__}: {error}"})
        else:
            tell({"number": order.number, "got": got})

    async def begin(self) -> None:
        """Let the callers in."""
        for number in range(self._setup.callers):
            chance = random.Random(f"{self._setup.seed} {self._setup.name} {number}")
            call = self._traffic.call(f"{self._setup.name}/caller{number}", chance)
            self._admit(call)

    async def guest(self, **guest: Any) -> None:
        """Serve a session that comes from elsewhere."""
        chance = random.Random(f"{self._setup.seed} {guest['session']}")
        self._admit(self._traffic.serve(msgspec.convert(guest, Guest), chance))

    def _admit(self, calling: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(calling)
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)

    async def calm(self) -> None:
        """Returns when nobody does anything any more."""
        self._traffic.calm()
        while self._callers:
            await asyncio.wait(self._callers)

    async def everything(self, ids: Sequence[int], tier: str) -> list[int]:
        """The versions that the process has, from L1 on or, with an empty L1, from L2 on; 0: no row."""
        if tier == "l2":
            self._db._caching.shared.local.clear()
        found = await self._db[self._class].get_many(ids)
        return [found[id].version if id in found else 0 for id in ids]

    async def undelivered(self) -> int:
        return len(self._db._caching.undelivered)

    async def finish(self) -> None:
        """All that was told is written."""
        self._recorder.tell(Counted(dict(self._witness.events)), at_once=True)


def _hand_over(guest: Guest) -> None:
    tell({"hand_over": guest})


def tell(what: dict[str, Any]) -> None:
    """One line, written at once."""
    os.write(1, msgspec.json.encode(what) + b"\n")


def without(rule: str) -> AbstractContextManager[None]:
    return rule_off(rule) if rule else nullcontext()


if __name__ == "__main__":
    with open(0, "rb", buffering=0, closefd=False) as first:
        setup = msgspec.json.decode(first.readline(), type=Setup)
    with without(setup.off):
        asyncio.run(Worker(setup).serve())
