"""Misses of one moment become one batch: one script each for their leases, one statement for their
rows.

Owns what happens between a miss and its answer; what is said to the records on the way is
`leases`'s. The batches run in tasks of the database, never of a caller: a caller that is cancelled
takes no lease with it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

from repocache.cache.entry import CachedRow, RowRequest, Source
from repocache.cache.inflight import InflightLoad
from repocache.cache.leases import Leases
from repocache.cache.policies import is_strict
from repocache.cache.process_cache import ProcessCache
from repocache.cache.settler import Spawn
from repocache.cache.values import Values, digest
from repocache.errors import CodecError, DatabaseUnavailable, NotStarted
from repocache.history import is_newer
from repocache.records import CallerHistory, OpenReply

Work = Callable[[], Awaitable[None]]
"""Begun by the task that runs it: one that never runs leaves no coroutine behind."""

ANY_NODE = 0
"""As a floor: nothing is filled, so any node in the rotation may answer."""
OLDER = (
    "no node may answer: the primary here has been replaced, as the session or the record of "
    "the key knows"
)


class Harbour(Protocol):
    """Where flights come down: the read path, which knows L1 and the views."""

    def opened(self, flight: InflightLoad, answer: OpenReply) -> bool:
        """Take over the record's state. False: the answer is older than what is known by now."""
        ...

    def answered(self, flight: InflightLoad, cell: CachedRow, tier: str) -> None:
        """Hand the cell to whoever waits."""
        ...

    def ended(self, flight: InflightLoad, keep: bool) -> None:
        """The flight is over. `keep`: L2 has the value, so L1 may have it."""
        ...

    def failed(self, flight: InflightLoad, error: BaseException) -> None: ...


class Group(NamedTuple):
    """Flights that ask the database together. `wanted` says what of; `leased`: those that may
    fill."""

    wanted: Sequence[tuple[InflightLoad, RowRequest]]
    leased: Sequence[tuple[InflightLoad, OpenReply]]

    @property
    def flights(self) -> list[InflightLoad]:
        return [flight for flight, _ in self.wanted]


class Lane:
    """Work of one kind, at most `MOST` pieces at a time; what comes meanwhile waits for its
    turn."""

    MOST = 2

    def __init__(
        self, spawn: Spawn, fail: Callable[[Sequence[InflightLoad], Exception], None]
    ) -> None:
        self._spawn = spawn
        self._fail = fail
        self._running = 0

    @property
    def free(self) -> bool:
        return self._running < self.MOST

    def run(self, flights: Sequence[InflightLoad], work: Work, ended: Callable[[], None]) -> None:
        """Begin the work for these flights. Whatever it raises is theirs. `ended` comes last."""
        try:
            self._spawn(self._run(flights, work, ended))
        except NotStarted as error:
            self._fail(flights, error)
        else:
            self._running += 1

    async def _run(
        self, flights: Sequence[InflightLoad], work: Work, ended: Callable[[], None]
    ) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            self._fail(flights, DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            self._fail(flights, error)
        finally:
            self._running -= 1
            ended()


class Loader:
    """Loads for one owner. A batch takes its leases and reads what a replica may answer; what needs
    the primary waits for that in a lane of its own, so that a primary which is frozen holds up
    nobody else.
    """

    def __init__(
        self, source: Source, shared: ProcessCache, values: Values, harbour: Harbour
    ) -> None:
        self._source = source
        self._shared = shared
        self._values = values
        self._harbour = harbour
        self._leases = Leases(source, shared, values, harbour.opened)
        self._strict = is_strict(source.policy)
        self._queue: list[InflightLoad] = []
        self._batches = Lane(shared.spawn, self._fail)
        self._for_primary: list[tuple[InflightLoad, RowRequest, OpenReply | None]] = []
        self._primary_reads = Lane(shared.spawn, self._fail)
        self._scheduled = False

    def enqueue(self, flight: InflightLoad) -> None:
        """The batch leaves at the end of this turn of the loop, with everything else of the
        turn."""
        self._queue.append(flight)
        if not self._scheduled and self._batches.free:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        size = self._shared.settings.batch
        while self._queue and self._batches.free:
            batch, self._queue = self._queue[:size], self._queue[size:]
            self._batches.run(batch, partial(self._load, batch), self._flush)

    def _ask_primary(self) -> None:
        """What waits goes together, but for those without a bookmark, who may yet be answered
        otherwise."""
        size = self._shared.settings.batch
        while self._for_primary and self._primary_reads.free:
            with_bookmark = self._for_primary[0][1].bookmark is not None
            same = [
                each
                for each in self._for_primary
                if (each[1].bookmark is not None) is with_bookmark
            ][:size]
            taken = {flight for flight, _, _ in same}
            self._for_primary = [each for each in self._for_primary if each[0] not in taken]
            group = Group(
                [(flight, want) for flight, want, _ in same],
                [(flight, lease) for flight, _, lease in same if lease is not None],
            )
            self._primary_reads.run(group.flights, partial(self._read, group), self._ask_primary)

    async def _load(self, batch: Sequence[InflightLoad]) -> None:
        """Leases, rows, answers, fills: in this order, so that the rows' snapshot is younger than
        the leases."""
        leased: dict[InflightLoad, OpenReply] = {}
        groups: defaultdict[tuple[bool, bool], list[tuple[InflightLoad, RowRequest]]] = defaultdict(
            list
        )
        for flight in batch:
            flight.sent = True
        answers = await self._leases.open(batch)
        history = self._shared.primary.history
        for flight, answer in answers:
            if answer is not None and answer.kind == "value":
                self._deliver(flight, answer.value)
            elif answer is not None and answer.kind == "wait":
                self._shared.spawn(self._run_alone(flight, self._wait(flight, answer)))
            elif answer is not None and answer.overdue:
                self._shared.spawn(self._run_alone(flight, self._take_over(flight, answer)))
            else:
                if answer is not None and answer.kind == "lease":
                    leased[flight] = answer
                if (want := self._wanted(flight, answer, history)) is not None:
                    groups[want.primary, want.bookmark is not None].append((flight, want))
        # Who needs the primary does not take those with him, if it is away, that a replica may
        # answer.
        reads = []
        for (primary, _), wanted in groups.items():
            if primary:
                self._for_primary += [(flight, want, leased.get(flight)) for flight, want in wanted]
            else:
                held = [(flight, leased[flight]) for flight, _ in wanted if flight in leased]
                reads.append(self._read(Group(wanted, held)))
        self._ask_primary()
        await asyncio.gather(*reads)

    async def _read(self, group: Group) -> None:
        """Rows for the wanted, who alone hear of it if that fails; fills for those that hold a
        lease."""
        wanted, leased = group
        try:
            rows = await self._source.load([want for _, want in wanted])
        except BaseException as error:
            self._leases.release(leased, CallerHistory(self._shared.primary.history))
            if not isinstance(error, Exception):
                raise
            unavailable = isinstance(error, DatabaseUnavailable) and not self._strict
            if unavailable and any(want.floor is None or want.fills for _, want in wanted):
                # What would be filled asks for more than an answer does: any node that suits the
                # session may give it.
                for flight in group.flights:
                    self._shared.flights.goes_past(flight)
                content = [
                    (flight, want._replace(floor=ANY_NODE, fills=False)) for flight, want in wanted
                ]
                return await self._read(Group(content, ()))
            return self._fail(group.flights, error)
        unread = {flight for flight, want in wanted if isinstance(rows.get(want.id), CodecError)}
        self._leases.release(
            [each for each in leased if each[0] in unread],
            CallerHistory(self._shared.primary.history),
        )
        for flight, want in wanted:
            row = rows.get(want.id)
            if isinstance(row, CodecError):
                self._harbour.failed(flight, row)
            else:
                self._harbour.answered(flight, CachedRow(row), "database")
        fills = self._leases.fill(
            [
                (flight, answer, flight.cell.row)
                for flight, answer in leased
                if flight.cell is not None
            ]
        )
        landed = await self._leases.landed(fills)
        for flight, _ in wanted:
            if flight not in unread:
                self._harbour.ended(flight, flight in landed)

    def _deliver(self, flight: InflightLoad, value: bytes) -> None:
        cell = self._values.decode(flight.text, value, flight.key[1])
        if cell is not None:
            self._harbour.answered(flight, cell, "l2")
            self._harbour.ended(flight, keep=True)
        else:
            flight.refused = digest(value)
            self.enqueue(flight)

    def _wanted(
        self, flight: InflightLoad, answer: OpenReply | None, history: str
    ) -> RowRequest | None:
        """Strict owners are read on the primary; so are rows whose commit is on its way. None, once
        the flight has failed: the record of a strict owner is of a newer timeline, and the primary
        here shows the past."""
        floor: int | None = ANY_NODE
        if answer is None or answer.kind == "history":
            met = () if answer is None else answer.histories
            if self._strict and any(is_newer(each, history) for each in met):
                self._fail([flight], DatabaseUnavailable(OLDER))
                return None
            self._shared.flights.goes_past(flight)
        else:
            floor = answer.needed
        if self._strict or (answer is not None and answer.kind == "written"):
            floor = None
        fills = answer is not None and answer.kind == "lease"
        return RowRequest(flight.key[1], floor, history, flight.bookmark, fills)

    async def _run_alone(self, flight: InflightLoad, going_on: Awaitable[OpenReply | None]) -> None:
        """A flight that leaves its batch. Its answer: a value, a lease, or that it reads and fills
        neither tier."""
        try:
            answer = await going_on
            if answer is not None and answer.kind == "value":
                return self._deliver(flight, answer.value)
            want = self._wanted(flight, answer, self._shared.primary.history)
            if want is not None:
                leased = [(flight, answer)] if answer is not None and answer.kind == "lease" else []
                await self._read(Group([(flight, want)], leased))
        except asyncio.CancelledError:
            self._fail([flight], DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            self._fail([flight], error)

    async def _wait(self, flight: InflightLoad, answer: OpenReply) -> OpenReply:
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

    async def _take_over(self, flight: InflightLoad, answer: OpenReply) -> OpenReply | None:
        """Write leases past their deadline give way if their transactions have ended, which is
        asked before the read: whatever they committed is visible to it (protocol, Strict
        write-through). No answer is not one that says so."""
        over: list[str] = []
        for lease in answer.overdue:
            with suppress(DatabaseUnavailable):
                if not await self._shared.primary.in_progress(lease.xid):
                    over.append(lease.nonce)
        flight.over = tuple(over)
        if not flight.over:
            return answer
        [(_, seen)] = await self._leases.open([flight])
        return seen

    def _fail(self, flights: Sequence[InflightLoad], error: Exception) -> None:
        for flight in flights:
            self._harbour.failed(flight, error)
