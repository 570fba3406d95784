"""Those who use the processes: sessions that read and write, here and there, with the bookmark of
their last answer.

Owns what a client asks and what it may expect. Where its requests run is the world's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from proof.simulation.driver import DriverError
from proof.simulation.habits import Habits
from proof.simulation.network import Lost
from proof.simulation.outbox import notice
from proof.simulation.profile import NARROW
from proof.simulation.server import Key
from proof.simulation.service import Service
from proof.simulation.world import Cancelled, Crashed, World
from repocache.errors import RepocacheError

EXPECTED = (RepocacheError, OSError, DriverError, Cancelled, Crashed)
"""What a request may end with while there are faults."""
TOO_LONG = 400.0
"""Seconds after which a request hangs: a queue of twenty writers of one row, each with a slow
COMMIT, takes a minute, and a request may write several times."""

SLOWEST = 12.0
"""Seconds that a read may take at the most, whoever is silent."""
Found = Mapping[int, int | None]


class Stranger:
    """Writes straight to the database, with whatever client. What the tables' triggers notice is
    all that is left."""

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
        """At the server that was the primary when it began, whatever becomes of it."""
        draw, server = self._draw, self._world.cluster.primary
        transaction = server.cluster.begin()
        for key in sorted(
            {draw.choice(self._world.profile.keys) for _ in range(1 + int(draw.random() * 3))}
        ):
            await server.cluster.update(transaction, key, draw.random() < 0.9)
            notice(server.cluster, transaction, key[0], [key[1]] if draw.random() < 0.95 else None)
            await asyncio.sleep(0.02 * draw.random())
        if draw.random() < 0.1:
            server.cluster.abort(transaction)
        else:
            server.cluster.commit(transaction, lambda _: None)
            self._world.note("a stranger wrote", transaction.rows)


Need = dict[Key, int]
"""Key -> the version that a session wrote, or saw."""


@dataclass
class Session:
    """What a client carries from request to request."""

    bookmark: str = ""
    need: Need = field(default_factory=dict)
    left: int = 0
    ends: float = 0.0


class Client:
    """One after the other, it makes requests of processes, until the world has had `most`
    operations."""

    def __init__(self, world: World, number: int, most: int) -> None:
        self.world = world
        self._most = most
        self._number = number
        self.name = f"c{number}"
        self._draw = Random(world.draw.random())
        self._session = Session()
        wide = world.profile.wide
        self._habits = None if wide == NARROW else Habits(self, Random(f"{world.seed} {self.name}"))

    async def run(self) -> None:
        world, draw = self.world, self._draw
        while world.operations < self._most and not world.oracle.violations:
            await asyncio.sleep(world.profile.think * draw.expovariate(1.0))
            running = world.running()
            if running and world.profile.wide.handed:
                await self._ask(running[self._number % len(running)])
            elif running:
                await self._ask(draw.choice(running))
            else:
                await asyncio.sleep(0.05)
            away = 0.0 if self._habits is None else self._habits.absence()
            if away:
                await asyncio.sleep(away)

    async def _ask(self, service: Service) -> None:
        world, draw = self.world, self._draw
        session = self._session
        if session.left <= 0 or session.ends < world.loop.now:
            left = draw.randrange(2, 12) if draw.random() < world.profile.sessions else -1
            lasts = 20.0 if self._habits is None else 60.0
            session = self._session = Session(left=left, ends=world.loop.now + lasts)
            if self._habits is not None:
                session.bookmark = self._habits.link(service)
                if world.profile.wide.handed:
                    session.left = 2 if session.bookmark else 4 * left
        session.left -= 1
        need = dict(session.need)
        request = (
            self._sticky(service, session.bookmark, need)
            if session.left >= -1
            else self._free(service)
        )
        patience = (
            world.profile.slow * 10 * draw.random()
            if draw.random() < world.profile.cancels
            else TOO_LONG
        )
        began = world.loop.now
        outcome = await world.run_in(service, request, patience)
        world.note(
            self.name,
            service.owner.name,
            type(outcome).__name__,
            outcome if type(outcome) is str else "",
        )
        if isinstance(outcome, str):
            self._session = Session(outcome, need, session.left, session.ends)
            if need:
                world.links[service.owner.name] = outcome
        elif isinstance(outcome, EXPECTED):
            world.counts[type(outcome).__name__] += 1
            if world.loop.now - began >= TOO_LONG:
                world.oracle.blame(
                    f"{self.name}: a request to {service.owner.name} hung for {TOO_LONG} s"
                )
        elif isinstance(outcome, Exception):
            world.oracle.blame(
                f"{self.name}: a request to {service.owner.name} failed: {outcome!r}"
            )

    async def _sticky(self, service: Service, bookmark: str, need: Need) -> str:
        """A request in a session; the bookmark that goes with its answer."""
        async with service.routing.causal_session(bookmark) as session:
            for _ in range(1 + int(self._draw.random() * 3)):
                await self._step(service, need)
                if self._habits is not None:
                    await self._habits.linger(service, need)
            return session.encode()

    async def _free(self, service: Service) -> None:
        await self._step(service, None)

    async def _step(self, service: Service, need: Need | None) -> None:
        draw, profile, keys = self._draw, self.world.profile, self.keys_of(service)
        self.world.operations += 1
        if self._habits is not None and await self._habits.step(service, need):
            return
        if draw.random() < profile.writes:
            await self.write(service, need)
        elif draw.random() < 0.1:
            key = draw.choice(keys)
            await asyncio.gather(self.read(service, [key], need), self.read(service, [key], need))
        elif draw.random() < 0.2:
            owner = draw.choice(keys)[0]
            await self.read(service, [key for key in keys if key[0] == owner], need)
        else:
            await self.read(service, [draw.choice(keys)], need)

    def keys_of(self, service: Service) -> list[Key]:
        """Those that the process has a repository for."""
        return [key for key in self.world.profile.keys if key[0] in service.access]

    async def read(self, service: Service, keys: list[Key], need: Need | None) -> None:
        """By id."""
        wanted = self.wanted(keys, need)
        if keys[0][0] == "price" and self.world.holds:
            rows = self.world.cluster.primary.rows
            wanted = {key: max(least, rows[key][0]) for key, least in wanted.items()}
        began, entity = self.world.loop.now, self._habits is not None and len(keys) == 1
        try:
            found = await service.read(keys[0][0], [key[1] for key in keys], entity=entity)
        finally:
            if self.world.loop.now - began > SLOWEST:
                self.world.oracle.blame(
                    f"{self.name}: a read at {service.owner.name} took more than {SLOWEST} s"
                )
        behind = any(each.behind for each in found.joined.values())
        how = " by another's load, bookmark or not," if behind else " by another's load"
        self.got(service, wanted, found, need, how if found.joined else "")

    def wanted(self, keys: list[Key], need: Need | None) -> Need:
        """What a read that begins now must not be older than. What replicas show before the primary
        does may be missed once, by a read that begins before it is shown there."""
        return {key: self.world.oracle.surviving(key, (need or {}).get(key, 0)) for key in keys}

    def got(
        self, service: Service, wanted: Need, found: Found, need: Need | None, how: str
    ) -> None:
        """Hold an answer against what was wanted."""
        for key, least in wanted.items():
            version = found[key[1]]
            self.world.note(self.name, key, version)
            self.world.oracle.served(
                f"{self.name} at {service.owner.name}{how}", key, version, least
            )
        self.saw(found, list(wanted), need)

    def saw(self, found: Found, keys: list[Key], need: Need | None) -> None:
        """With monotonic reads a session has nothing older from now on."""
        for key in keys if need is not None and self.world.profile.monotonic else ():
            version = found.get(key[1])
            if version is not None and need is not None:
                need[key] = max(need.get(key, 0), version)

    async def write(self, service: Service, need: Need | None) -> None:
        """One transaction."""
        draw, profile, mine = self._draw, self.world.profile, self.keys_of(service)
        keys = sorted({draw.choice(mine) for _ in range(1 if draw.random() < 0.8 else 3)})
        whole = ""
        if draw.random() < profile.whole:
            whole = draw.choice(mine)[0]
            keys = sorted(key for key in mine if key[0] == whole)
        connection = await service.connection()
        try:
            written: dict[Key, int] = {}
            for key in keys:
                written[key] = await connection.update(
                    key, draw.random() < 0.9, noticed=bool(profile.strangers)
                )
            told = keys if not profile.strangers or draw.random() < 0.5 else keys[:1]
            service.touch(connection, [] if whole else told, whole)
            if draw.random() < 0.1:
                await asyncio.sleep(0.05 * draw.random())
            if draw.random() < 0.05:
                await service.roll_back(connection)
                return
            self.world.publishers.update(dict.fromkeys(written.values(), service.owner))
            await service.commit(connection, written)
        finally:
            await connection.close()
        self.world.note(self.name, "wrote", written)
        if need is not None:
            need.update(written)
