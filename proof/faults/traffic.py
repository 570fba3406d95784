"""What the callers of one process do.

They read and write, in sessions that go on elsewhere or end inside others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import msgspec

from proof.faults.place import Place, Visit, some
from proof.faults.reads import ALL, PLAIN, Reads
from proof.faults.records import Nested, Refused, Session, now
from proof.faults.writes import Writes
from repocache import CausalSession

THINK = 0.08
"""Seconds between two things that a caller does, on average."""
LATER = 0.2
"""Share of sessions that go on after a while, and not at once."""
AWAY = 8.0
"""Seconds that these are away, on average."""


class Guest(msgspec.Struct):
    """A session that goes on in another process, `after` so many seconds. `seen`: as in `Visit`."""

    session: str
    bookmark: str
    at: int
    keys: list[int]
    seen: dict[int, int] = {}
    after: float = 0.0


class Traffic:
    """`hand_over`: gives a session to some other process."""

    def __init__(self, place: Place, hand_over: Callable[[Guest], None]) -> None:
        self._place = place
        self._db = place.db
        self._recorder = place.recorder
        self._reads = Reads(place)
        self._writes = Writes(place)
        self._hand_over = hand_over
        self._calm = False

    def calm(self) -> None:
        """No caller does anything more."""
        self._calm = True

    async def call(self, caller: str, chance: random.Random) -> None:
        """One caller, until it is calm."""
        while not self._calm:
            await self._think(chance)
            what = chance.random()
            if what < 0.7:
                await self._reads.read(Visit(caller), chance, ALL if what < 0.1 else PLAIN)
            elif what < 0.8:
                await self._writes.write(Visit(caller), chance)
            else:
                await self._visit(caller, chance)

    async def serve(self, guest: Guest, chance: random.Random) -> None:
        """A session that comes from elsewhere; too late if it is calm, for the caches are being
        compared."""
        if self._calm:
            return
        visit = Visit(self._named("guest"), self._named("session"), guest.keys, guest.seen)
        self._recorder.tell(Session(visit.session, guest.session, guest.at), at_once=True)
        async with self._db.causal_session(guest.bookmark) as causal:
            if why := self._place.witness.refused():
                self._recorder.tell(Refused(visit.session, why, now()))
            for _ in range(chance.randint(1, 4)):
                await self._reads.read(visit, chance)
                await self._think(chance)
            if chance.random() < 0.3:
                await self._writes.write(visit, chance)
                await self._reads.read(visit, chance)
            if chance.random() < 0.2:
                self._send_on(visit, causal, chance)

    async def _visit(self, caller: str, chance: random.Random) -> None:
        """A session of its own, perhaps handed over in the middle."""
        visit = Visit(caller, self._named("session"), some(chance))
        self._recorder.tell(Session(visit.session, "", now()), at_once=True)
        async with self._db.causal_session() as causal:
            for _ in range(chance.randint(1, 2)):
                await self._do(visit, chance)
                if chance.random() < 0.2:
                    await self._nest(visit, causal, chance)
                    await self._reads.read(visit, chance)
                if chance.random() < 0.4:
                    self._send_on(visit, causal, chance)
                await self._think(chance)

    async def _do(self, visit: Visit, chance: random.Random) -> None:
        if chance.random() < 0.85:
            await self._writes.write(visit, chance)
        if chance.random() < 0.2:
            beside = replace(visit, caller=f"{visit.caller}/beside")
            both = (self._reads.read(each, chance) for each in (visit, beside))
            await asyncio.gather(*both)
        for _ in range(chance.randint(1, 3)):
            await self._reads.read(visit, chance)

    async def _nest(self, outer: Visit, causal: CausalSession, chance: random.Random) -> None:
        """A session inside another, which goes on from it or begins anew."""
        goes_on, at = chance.random() < 0.5, now()
        inner = Visit(outer.caller, self._named("session"), outer.near)
        if goes_on:
            inner.saw(outer.seen)
        told = Session(inner.session, outer.session if goes_on else "", at)
        self._recorder.tell(told, at_once=True)
        async with self._db.causal_session(causal.bookmark if goes_on else None):
            await self._do(inner, chance)
        self._recorder.tell(Nested(inner.session, outer.session, now()), at_once=True)
        outer.saw(inner.seen)

    def _send_on(self, visit: Visit, causal: CausalSession, chance: random.Random) -> None:
        at = now()
        self._recorder.flush()
        after = chance.expovariate(1 / AWAY) if chance.random() < LATER else 0.0
        guest = Guest(visit.session, causal.encode(), at, list(visit.near), dict(visit.seen), after)
        self._hand_over(guest)

    async def _think(self, chance: random.Random) -> None:
        await asyncio.sleep(chance.expovariate(1 / THINK))

    def _named(self, what: str) -> str:
        return self._place.named(what)
