"""One process of the storm: `python -m proof.faults.worker`, with its setup and its orders as JSON
lines on stdin.

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

from proof.faults.items import SHELF, items_of, listing, shelf_of
from proof.faults.mirror import Mirror
from proof.faults.place import HANG, Place, kind_of
from proof.faults.records import Closed, Counted, Recorder, Turned, now
from proof.faults.services import MAX_LAG, Service
from proof.faults.traffic import Guest, Traffic
from proof.faults.witness import Hearer, Witness
from proof.protocol import tag_switches, wider_switches
from proof.protocol.switches import rule_off
from repocache import CacheMode, Database, OutboxMode, Settings, TopologySettings
from repocache.engines.topology_settings import Replica
from repocache.redis_link import LinkSettings
from repocache.redis_link.breaker import BreakerSettings

__all__ = ["tag_switches", "wider_switches"]  # they add switches

CALLERS = 6
TOPOLOGY = TopologySettings(max_lag=MAX_LAG, connect_timeout=1.0)
SECRETS = ("a secret that all services share",)
TURNS = 3.0
"""Seconds between two switches of the owner's mode, on average."""
GIVEN_UP = 1.0
"""Seconds after which calls under way are cancelled by a process that leaves."""
LEFT = 20.0
"""Seconds after which leaving the database hangs."""
LINK = LinkSettings(breaker=BreakerSettings(cooldown=1.0))


class Setup(msgspec.Struct):
    """`history`: file of the process's own. `off`: a rule of the protocol to live without, empty
    for none. `outside`: rows are also written past the library. `policy`: one of POLICIES.
    `signed`: bookmarks are.
    `peace`: nobody writes a whole owner."""

    name: str
    primary: str
    replicas: tuple[str, ...]
    redis: str
    history: str
    seed: int
    service: Service = Service()
    signed: bool = False
    peace: bool = False
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
        self._class = items_of(setup.policy, setup.service)
        self._db = Database(
            setup.primary,
            replicas=[
                Replica(url, name=f"replica{number}")
                for number, url in enumerate(setup.replicas, 1)
            ],
            redis=setup.redis,
            repositories=[self._class],
            settings=Settings(
                observe=self._witness.observe,
                topology=TOPOLOGY,
                link=LINK,
                window=setup.service.window,
                monotonic=setup.service.monotonic,
                secrets=SECRETS if setup.signed else (),
                outbox=OutboxMode.REQUIRED,
            ),
        )
        self._callers: set[asyncio.Task[None]] = set()
        self._turning: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async with self._db, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._db._started.cache.receivers.append(Hearer(self._recorder))
            outside = create_async_engine(self._setup.primary) if self._setup.outside else None
            watchers = (self._recorder, self._witness)
            place = Place(self._setup.name, self._db, self._class, outside, *watchers)
            place.peace = self._setup.peace
            self._traffic, self._mirror = Traffic(place, _hand_over), Mirror(place)
            if self._setup.service.mirrors:
                tasks.create_task(self._mirror.follow())
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
        if self._setup.service.switches:
            self._turning = self._tasks.create_task(self._turn())

    async def _turn(self) -> None:
        """The owner's mode changes, again and again."""
        chance = random.Random(f"{self._setup.seed} {self._setup.name} turns")
        while True:
            await asyncio.sleep(chance.expovariate(1 / TURNS))
            self._switch(chance.choice((CacheMode.OFF, CacheMode.SHARED, CacheMode.ON)))

    def _switch(self, mode: CacheMode) -> None:
        self._db.switch(self._class, mode)
        self._recorder.tell(Turned(mode.value, now()))

    async def guest(self, **guest: Any) -> None:
        """Serve a session that comes from elsewhere."""
        chance = random.Random(f"{self._setup.seed} {guest['session']}")
        self._admit(self._traffic.serve(msgspec.convert(guest, Guest, strict=False), chance))

    def _admit(self, calling: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(calling)
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)

    async def calm(self) -> None:
        """Returns when nobody does anything any more."""
        self._traffic.calm()
        if self._turning is not None:
            self._turning.cancel()
            self._switch(CacheMode.ON)
        while self._callers:
            await asyncio.wait(self._callers)

    async def everything(self, ids: Sequence[int], tier: str) -> list[int] | None:
        """The versions that the process has, from L1 on or, with an empty L1, from L2 on, in cached
        answers of selects, or in its copy; 0: no row. None if it keeps no copy."""
        if tier == "feed":
            has = self._mirror.versions
            return [has.get(id, 0) for id in ids] if self._setup.service.mirrors else None
        if tier == "list":
            return await self._listed(ids)
        if tier == "l2":
            self._db._started.cache.shared.local.clear()
        found = await self._db[self._class].get_many(ids)
        return [found[id].version if id in found else 0 for id in ids]

    async def _listed(self, ids: Sequence[int]) -> list[int]:
        items, has = self._db[self._class].cached(), dict[int, int]()
        for first in ids[::SHELF]:
            rows = await items.rows(listing(shelf_of(first)))
            has |= {row.id: row.version for row in rows}
        return [has.get(id, 0) for id in ids]

    async def undelivered(self) -> int:
        return len(self._db._started.cache.retry)

    async def behind(self) -> bool:
        """Its copy is not as new as what it has been told of."""
        return self._mirror.is_behind

    async def leave(self) -> None:
        """As a process that is stopped in good order: who is still served after a moment is not."""
        self._traffic.calm()
        if self._turning is not None:
            self._turning.cancel()
        if self._callers:
            await asyncio.wait(self._callers, timeout=GIVEN_UP)
        for caller in self._callers:
            caller.cancel()
        await self.finish()

    async def finish(self) -> None:
        """The database is left, and all that was told is written."""
        start = now()
        leaving = asyncio.create_task(self._db.__aexit__(None, None, None))
        done, _ = await asyncio.wait([leaving], timeout=LEFT)
        error = leaving.exception() if done else None
        why = HANG if not done else kind_of(error) if error else ""
        self._recorder.tell(Closed(why, start, now()))
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
