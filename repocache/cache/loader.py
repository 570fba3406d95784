"""Misses of one moment become one batch: one script each for their leases, one statement for their rows.

Owns what happens between a miss and its answer; what is said to the records on the way is `leases`'s. The batches run
in tasks of the database, never of a caller: a caller that is cancelled takes no lease with it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from typing import Protocol

from repocache.cache.entry import Cell, Source, Wanted
from repocache.cache.flights import Flight
from repocache.cache.leases import Leases
from repocache.cache.policies import is_strict
from repocache.cache.shared import Shared
from repocache.cache.values import Values, digest
from repocache.errors import DatabaseUnavailable, NotStarted
from repocache.records import Opened, Terms

ANY_NODE = 0
"""As a floor: nothing is filled, so any node in the rotation may answer."""


class Harbour(Protocol):
    """Where flights come down: the read path, which knows L1 and the views."""

    def opened(self, flight: Flight, answer: Opened) -> bool:
        """Take over the record's state. False: the answer is older than what is known by now."""
        ...

    def answered(self, flight: Flight, cell: Cell, tier: str) -> None:
        """Hand the cell to whoever waits."""
        ...

    def ended(self, flight: Flight, keep: bool) -> None:
        """The flight is over. `keep`: L2 has the value, so L1 may have it."""
        ...

    def failed(self, flight: Flight, error: BaseException) -> None: ...


class Loader:
    """Loads for one owner, at most `MOST` batches at a time; what comes meanwhile travels with the next."""

    MOST = 2

    def __init__(self, source: Source, shared: Shared, values: Values, harbour: Harbour) -> None:
        self._source = source
        self._shared = shared
        self._values = values
        self._harbour = harbour
        self._leases = Leases(source, shared, values, harbour.opened)
        self._strict = is_strict(source.policy)
        self._queue: list[Flight] = []
        self._running = 0
        self._scheduled = False

    def enqueue(self, flight: Flight) -> None:
        """The batch leaves at the end of this turn of the loop, with everything else of the turn."""
        self._queue.append(flight)
        if not self._scheduled and self._running < self.MOST:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._depart)

    def _depart(self) -> None:
        self._scheduled = False
        size = self._shared.settings.batch
        while self._queue and self._running < self.MOST:
            batch, self._queue = self._queue[:size], self._queue[size:]
            try:
                self._shared.spawn(self._fly(batch))
            except NotStarted as error:
                self._fail(batch, error)
            else:
                self._running += 1

    async def _fly(self, batch: Sequence[Flight]) -> None:
        try:
            await self._load(batch)
        except asyncio.CancelledError:
            self._fail(batch, DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            self._fail(batch, error)
        finally:
            self._running -= 1
            self._depart()

    async def _load(self, batch: Sequence[Flight]) -> None:
        """Leases, rows, answers, fills: in this order, so that the rows' snapshot is younger than the leases."""
        leased: dict[Flight, Opened] = {}
        groups: defaultdict[tuple[bool, bool], list[tuple[Flight, Wanted]]] = defaultdict(list)
        for flight in batch:
            flight.sent = True
        answers = await self._leases.open(batch)
        history = self._shared.primary.history
        for flight, answer in answers:
            if answer is not None and answer.kind == "value":
                self._deliver(flight, answer.value)
            elif answer is not None and answer.kind == "wait":
                self._shared.spawn(self._apart(flight, self._wait(flight, answer)))
            elif answer is not None and answer.overdue:
                self._shared.spawn(self._apart(flight, self._take_over(flight, answer)))
            else:
                if answer is not None and answer.kind == "lease":
                    leased[flight] = answer
                want = self._wanted(flight, answer, history)
                groups[want.floor is None, want.bookmark is not None].append((flight, want))
        # Who needs the primary does not take those with him, if it is away, that a replica may answer.
        reads = [
            self._read(wanted, [(flight, leased[flight]) for flight, _ in wanted if flight in leased])
            for wanted in groups.values()
        ]
        if len(reads) == 1:
            await reads[0]
        else:
            await asyncio.gather(*reads)

    async def _read(self, wanted: Sequence[tuple[Flight, Wanted]], leased: Sequence[tuple[Flight, Opened]]) -> None:
        """Rows for the wanted, who alone hear of it if that fails; fills for those that hold a lease."""
        try:
            rows = await self._source.load([want for _, want in wanted])
        except BaseException as error:
            self._leases.give_back(leased, Terms(self._shared.primary.history))
            if not isinstance(error, Exception):
                raise
            unavailable = isinstance(error, DatabaseUnavailable) and not self._strict
            if unavailable and any(want.floor is None for _, want in wanted):
                # Only the primary may fill; without it any node that suits the session may answer.
                return await self._read([(flight, want._replace(floor=ANY_NODE)) for flight, want in wanted], [])
            return self._fail([flight for flight, _ in wanted], error)
        for flight, want in wanted:
            self._harbour.answered(flight, Cell(rows.get(want.id)), "database")
        fills = self._leases.fill([(flight, answer, rows.get(flight.key[1])) for flight, answer in leased])
        landed = await self._leases.landed(fills)
        for flight, _ in wanted:
            self._harbour.ended(flight, flight in landed)

    def _deliver(self, flight: Flight, value: bytes) -> None:
        cell = self._values.decode(flight.text, value)
        if cell is not None:
            self._harbour.answered(flight, cell, "l2")
            self._harbour.ended(flight, keep=True)
        else:
            flight.refused = digest(value)
            self.enqueue(flight)

    def _wanted(self, flight: Flight, answer: Opened | None, history: str) -> Wanted:
        """Strict owners are read on the primary; so are rows whose commit is on its way."""
        floor = ANY_NODE if answer is None else answer.floor
        if self._strict or (answer is not None and answer.kind == "written"):
            floor = None
        return Wanted(flight.key[1], floor, history, flight.bookmark)

    async def _apart(self, flight: Flight, going_on: Awaitable[Opened | None]) -> None:
        """A flight that leaves its batch. Its answer: a value, a lease, or that it reads and fills neither tier."""
        try:
            answer = await going_on
            if answer is not None and answer.kind == "value":
                return self._deliver(flight, answer.value)
            want = self._wanted(flight, answer, self._shared.primary.history)
            leased = [(flight, answer)] if answer is not None and answer.kind == "lease" else []
            await self._read([(flight, want)], leased)
        except asyncio.CancelledError:
            self._fail([flight], DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            self._fail([flight], error)

    async def _wait(self, flight: Flight, answer: Opened) -> Opened:
        """Somebody else loads it: look again until it is there."""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(answer.wait, self._shared.settings.patience)
        pause = 0.002
        while loop.time() < until:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)
            [(_, seen)] = await self._leases.open([flight])
            if seen is None:
                break
            answer = seen
            if answer.kind != "wait":
                break
        return answer

    async def _take_over(self, flight: Flight, answer: Opened) -> Opened | None:
        """Write leases past their deadline give way if their transactions have ended, which is asked before the read:
        whatever they committed is visible to it (protocol, Strict write-through)."""
        in_progress = self._shared.primary.in_progress
        flight.over = tuple([lease.nonce for lease in answer.overdue if not await in_progress(lease.xid)])
        if not flight.over:
            return answer
        [(_, seen)] = await self._leases.open([flight])
        return seen

    def _fail(self, flights: Sequence[Flight], error: Exception) -> None:
        for flight in flights:
            self._harbour.failed(flight, error)
