"""Those who use the processes: sessions that read and write, here and there, with the bookmark of their last answer.

Owns what a client asks and what it may expect. Where its requests run is the world's.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from repocache.errors import RepocacheError
from tests.simulation.driver import DriverError
from tests.simulation.network import Lost
from tests.simulation.outbox import notice
from tests.simulation.postgres import Key
from tests.simulation.service import Service
from tests.simulation.world import Cancelled, Crashed, World

EXPECTED = (RepocacheError, OSError, DriverError, Cancelled, Crashed)
"""What a request may end with while there are faults."""
TOO_LONG = 120.0
"""Seconds after which a request hangs: a queue of writers of one row, each with a slow COMMIT, takes a minute."""


class Stranger:
    """Writes straight to the database, with whatever client. What the tables' triggers notice is all that is left."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = Random(world.draw.random())

    async def run(self) -> None:
        """Until cancelled."""
        world = self._world
        while True:
            await asyncio.sleep(self._draw.expovariate(world.profile.strangers))
            if world.cluster.primary.up:
                world.operations += 1
                with suppress(Lost):
                    await self._write()

    async def _write(self) -> None:
        draw, cluster = self._draw, self._world.cluster
        transaction = cluster.begin()
        for key in sorted({draw.choice(self._world.profile.keys) for _ in range(1 + int(draw.random() * 3))}):
            await cluster.update(transaction, key, draw.random() < 0.9)
            notice(cluster, transaction, key[0], [key[1]] if draw.random() < 0.95 else None)
            await asyncio.sleep(0.02 * draw.random())
        if draw.random() < 0.1:
            cluster.abort(transaction)
        else:
            cluster.commit(transaction, lambda _: None)
            self._world.note("a stranger wrote", transaction.rows)


@dataclass
class Session:
    """What a client carries from request to request. `need`: key -> the version that it wrote, or saw."""

    bookmark: str = ""
    need: dict[Key, int] = field(default_factory=dict)
    left: int = 0
    ends: float = 0.0


class Client:
    """One after the other, it makes requests of processes, until the world has had `most` operations."""

    def __init__(self, world: World, number: int, most: int) -> None:
        self._world = world
        self._most = most
        self._name = f"c{number}"
        self._draw = Random(world.draw.random())
        self._session = Session()

    async def run(self) -> None:
        world, draw = self._world, self._draw
        while world.operations < self._most and not world.oracle.violations:
            await asyncio.sleep(world.profile.think * draw.expovariate(1.0))
            running = world.running()
            if running:
                await self._ask(draw.choice(running))
            else:
                await asyncio.sleep(0.05)

    async def _ask(self, service: Service) -> None:
        world, draw = self._world, self._draw
        session = self._session
        if session.left <= 0 or session.ends < world.loop.now:
            left = draw.randrange(2, 12) if draw.random() < world.profile.sessions else -1
            session = self._session = Session(left=left, ends=world.loop.now + 20.0)
        session.left -= 1
        need = dict(session.need)
        request = self._sticky(service, session.bookmark, need) if session.left >= -1 else self._free(service)
        patience = world.profile.slow * 10 * draw.random() if draw.random() < world.profile.cancels else TOO_LONG
        began = world.loop.now
        outcome = await world.run_in(service, request, patience)
        world.note(self._name, service.owner.name, type(outcome).__name__, outcome if type(outcome) is str else "")
        if isinstance(outcome, str):
            self._session = Session(outcome, need, session.left, session.ends)
        elif isinstance(outcome, EXPECTED):
            world.counts[type(outcome).__name__] += 1
            if world.loop.now - began >= TOO_LONG:
                world.oracle.blame(f"{self._name}: a request to {service.owner.name} hung for {TOO_LONG} s")
        elif isinstance(outcome, Exception):
            world.oracle.blame(f"{self._name}: a request to {service.owner.name} failed: {outcome!r}")

    async def _sticky(self, service: Service, bookmark: str, need: dict[Key, int]) -> str:
        """A request in a session; the bookmark that goes with its answer."""
        async with service.routing.causal_session(bookmark) as session:
            for _ in range(1 + int(self._draw.random() * 3)):
                await self._step(service, need)
            return session.encode()

    async def _free(self, service: Service) -> None:
        await self._step(service, None)

    async def _step(self, service: Service, need: dict[Key, int] | None) -> None:
        draw, profile = self._draw, self._world.profile
        self._world.operations += 1
        if draw.random() < profile.writes:
            await self._write(service, need)
        elif draw.random() < 0.1:
            key = draw.choice(profile.keys)
            await asyncio.gather(self._read(service, [key], need), self._read(service, [key], need))
        elif draw.random() < 0.2:
            owner = draw.choice(profile.keys)[0]
            await self._read(service, [key for key in profile.keys if key[0] == owner], need)
        else:
            await self._read(service, [draw.choice(profile.keys)], need)

    async def _read(self, service: Service, keys: list[Key], need: dict[Key, int] | None) -> None:
        # What replicas show before the primary does may be missed once, by a read that begins before it is shown there.
        wanted = {key: self._world.oracle.surviving(key, (need or {}).get(key, 0)) for key in keys}
        if keys[0][0] == "price" and self._world.holds:
            rows = self._world.cluster.primary.rows
            wanted = {key: max(least, rows[key][0]) for key, least in wanted.items()}
        found = await service.read(keys[0][0], [key[1] for key in keys])
        for key, least in wanted.items():
            version = found[key[1]]
            self._world.note(self._name, key, version)
            self._world.oracle.served(f"{self._name} at {service.owner.name}", key, version, least)
            if need is not None and self._world.profile.monotonic and version is not None:
                need[key] = max(need.get(key, 0), version)

    async def _write(self, service: Service, need: dict[Key, int] | None) -> None:
        draw, profile = self._draw, self._world.profile
        keys = sorted({draw.choice(profile.keys) for _ in range(1 if draw.random() < 0.8 else 3)})
        whole = ""
        if draw.random() < profile.whole:
            whole = draw.choice(profile.keys)[0]
            keys = sorted(key for key in profile.keys if key[0] == whole)
        connection = await service.connection()
        try:
            written: dict[Key, int] = {}
            for key in keys:
                written[key] = await connection.update(key, draw.random() < 0.9, noticed=bool(profile.strangers))
            told = keys if not profile.strangers or draw.random() < 0.5 else keys[:1]
            service.touch(connection, [] if whole else told, whole)
            if draw.random() < 0.1:
                await asyncio.sleep(0.05 * draw.random())
            if draw.random() < 0.05:
                await service.roll_back(connection)
                return
            self._world.publishers.update(dict.fromkeys(written.values(), service.owner))
            await service.commit(connection, written)
        finally:
            await connection.close()
        self._world.note(self._name, "wrote", written)
        if need is not None:
            need.update(written)
