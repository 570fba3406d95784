"""Misses of one moment become one batch: one script each for their leases, one statement for their
rows.

Owns what happens between a miss and its answer; what is said to the records on the way is
`leases`'s. The batches run in tasks of the database, never of a caller: a caller that is cancelled
takes no lease with it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from repocache.cache.entry import CachedRow, Row, RowRequest, Source
from repocache.cache.freshness import Age
from repocache.cache.inflight import UNKNOWN_VIEWS, InflightLoad, may_join
from repocache.cache.lane import Lane
from repocache.cache.leases import Leases, knows_of
from repocache.cache.process_cache import ProcessCache
from repocache.cache.renewals import Renewals
from repocache.cache.switch import Gate
from repocache.cache.values import Values, digest
from repocache.errors import CodecError, DatabaseUnavailable
from repocache.events import CacheFailed, Served
from repocache.history import is_newer
from repocache.records import CallerHistory, OpenReply
from repocache.redaction.foreign import in_brief

ANY_NODE = 0
"""As a floor: nothing is filled, so any node in the rotation may answer."""
LAST_LOOK = 0.1
"""Seconds after somebody else's lease has ended, in which one of those who wait takes the next."""
OLDER = (
    "no node may answer: the primary here has been replaced, as the session or the record of "
    "the key knows"
)


class Group(NamedTuple):
    """Flights that ask the database together. `wanted` says what of; `leased`: those that may
    fill."""

    wanted: Sequence[tuple[InflightLoad, RowRequest]]
    leased: Sequence[tuple[InflightLoad, OpenReply]]

    @property
    def loads(self) -> list[InflightLoad]:
        return [load for load, _ in self.wanted]


async def given(answer: OpenReply | None) -> OpenReply | None:
    """What is known already."""
    return answer


class Loader:
    """Loads for one owner. A batch takes its leases and reads what a replica may answer; what needs
    the primary waits for that in a lane of its own, so that a primary which is frozen holds up
    nobody else.
    """

    def __init__(self, source: Source, shared: ProcessCache, values: Values, tier: Gate) -> None:
        """`tier`: whether L1 is used."""
        self._source = source
        self._shares_sent = source.policy.shares_sent_loads
        self._from_replicas = source.policy.fills_from_replicas
        self._alone = source.alone
        self._conditional = source.conditional
        self._keeps = source.policy.local_ttl > 0
        self._shared = shared
        self._inflight = shared.inflight
        self._line = shared.primary.lineage
        self._views = shared.views
        self._values = values
        self._tier = tier
        self._owner = source.keys.prefix
        self._count = shared.local.shelf(self._owner).count
        self._leases = Leases(source, shared, values)
        self._aged = source.policy.freshness.is_aged or source.conditional
        self._timed = source.policy.freshness.refresh_early
        self.renewals = Renewals(source, shared.inflight, self._enqueue, shared.observe)
        self._queue: list[InflightLoad] = []
        self._batches = Lane(shared.spawn, self._fail)
        self._for_primary: list[tuple[InflightLoad, RowRequest, OpenReply | None]] = []
        self._primary_reads = Lane(shared.spawn, self._fail)
        self._scheduled = False

    def load(self, asked: InflightLoad) -> asyncio.Future[CachedRow]:
        """Join the load of this key that is under way, or begin this one. Raises
        DatabaseUnavailable for a session that knows of a newer timeline than this process, whose
        primary has been replaced."""
        other = self._inflight.get(asked.key, direct=asked.direct)
        joins = other is not None and may_join(other, asked.bookmark, direct=asked.direct)
        if other is not None and joins and (self._shares_sent or not other.sent):
            asked.joined = other
            self._count.joined += 1
            return other.join()
        if asked.bookmark is not None and is_newer(asked.bookmark.history, self._line.history):
            raise DatabaseUnavailable(OLDER)
        asked.views = UNKNOWN_VIEWS
        self._inflight.begin(asked)
        answer = asked.join()
        self._enqueue(asked)
        return answer

    def _enqueue(self, load: InflightLoad) -> None:
        """The batch leaves at the end of this turn of the loop, with everything else of the
        turn."""
        self._queue.append(load)
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
            taken = {load for load, _, _ in same}
            self._for_primary = [each for each in self._for_primary if each[0] not in taken]
            group = Group(
                [(load, want) for load, want, _ in same],
                [(load, lease) for load, _, lease in same if lease is not None],
            )
            self._primary_reads.run(group.loads, partial(self._read, group), self._ask_primary)

    async def _load(self, batch: Sequence[InflightLoad]) -> None:
        """Leases, rows, answers, fills: in this order, so that the rows' snapshot is younger than
        the leases."""
        leased: dict[InflightLoad, OpenReply] = {}
        groups: defaultdict[tuple[bool, bool], list[tuple[InflightLoad, RowRequest]]] = defaultdict(
            list
        )
        for load in batch:
            load.sent = True
        answers = self._going_on(await self._leases.open(batch))
        history = self._line.history
        for load, answer in answers:
            kind = "" if answer is None else answer.kind
            if answer is not None and kind == "value":
                self._deliver(load, answer)
            elif self._alone or kind == "wait" or (answer is not None and answer.overdue):
                self._shared.spawn(self._run_alone(load, self._apart(load, answer)))
            else:
                if answer is not None and kind == "lease":
                    leased[load] = answer
                    self._keep_beside(load, answer)
                if (want := self._request(load, answer, history)) is not None:
                    groups[want.primary, want.bookmark is not None].append((load, want))
        # Who needs the primary does not take those with him, if it is away, that a replica may
        # answer.
        reads = []
        for (primary, _), wanted in groups.items():
            if primary:
                self._for_primary += [(load, want, leased.get(load)) for load, want in wanted]
            else:
                held = [(load, leased[load]) for load, _ in wanted if load in leased]
                reads.append(self._read(Group(wanted, held)))
        self._ask_primary()
        await asyncio.gather(*reads)

    def _apart(
        self, load: InflightLoad, answer: OpenReply | None
    ) -> Coroutine[Any, Any, OpenReply | None]:
        """How a load goes on that leaves its batch, so that no other waits for it."""
        if answer is not None and answer.kind == "wait":
            return self._wait(load, answer)
        if answer is not None and answer.overdue:
            return self._take_over(load, answer)
        return given(answer)

    def _going_on(
        self, answers: Sequence[tuple[InflightLoad, OpenReply | None]]
    ) -> Sequence[tuple[InflightLoad, OpenReply | None]]:
        """Without the renewals that somebody else is at, or nobody can be."""
        if not self._aged:
            return answers
        over = {
            load
            for load, answer in answers
            if load.renews and (answer is None or answer.kind != "lease")
        }
        for load in over:
            self._inflight.end(load)
        return [each for each in answers if each[0] not in over]

    async def _read(self, group: Group) -> None:
        """Rows for the wanted, who alone hear of it if that fails; fills for those that hold a
        lease."""
        wanted, leased = group
        try:
            rows = await self._rows([want for _, want in wanted])
        except BaseException as error:
            self._leases.release(leased, CallerHistory(self._line.history))
            if not isinstance(error, Exception):
                raise
            self._not_renewed([load for load in group.loads if load.renews], error)
            wanted = [each for each in wanted if not each[0].renews]
            loads = [load for load, _ in wanted]
            unavailable = isinstance(error, DatabaseUnavailable) and self._from_replicas
            if unavailable and any(want.floor is None or want.fills for _, want in wanted):
                # What would be filled asks for more than an answer does: any node that suits the
                # session may give it.
                for load in loads:
                    self._inflight.goes_past(load)
                content = [
                    (load, want._replace(floor=ANY_NODE, fills=False, kept=None))
                    for load, want in wanted
                ]
                return await self._read(Group(content, ()))
            return self._fail(loads, error)
        unread = {load for load, want in wanted if isinstance(rows.get(want.id), CodecError)}
        if unread:
            lost = [each for each in leased if each[0] in unread]
            self._leases.release(lost, CallerHistory(self._line.history))
        for load, want in wanted:
            row = rows.get(want.id)
            if isinstance(row, CodecError):
                self._fail([load], row)
            else:
                self._answer(load, CachedRow(row), "database")
        landed = await self._leases.store(
            [(load, answer, load.cached.row) for load, answer in leased if load.cached is not None]
        )
        for load, _ in wanted:
            if load not in unread:
                self._end(load, landed=load in landed)

    async def _rows(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        if not self._timed:
            return await self._source.load(wanted)
        clock = asyncio.get_running_loop().time
        began = clock()
        rows = await self._source.load(wanted)
        self.renewals.loaded(clock() - began)
        return rows

    def _deliver(self, load: InflightLoad, answer: OpenReply) -> None:
        cached = self._values.decode(load.text, answer.value, load.key[1])
        if cached is None:
            load.refused = digest(answer.value)
            self._enqueue(load)
            return
        fresh = self.renewals.age(load, cached, answer.left) is Age.FRESH
        self._answer(load, cached, "l2" if fresh else "stale")
        self._end(load, landed=fresh)

    def _keep_beside(self, load: InflightLoad, answer: OpenReply) -> None:
        """The row that a lease was left beside: for a load that is told of it, and for when the
        database does not answer. As it lay there with the lease: what a GET has brought before may
        have been invalidated and filled since."""
        wanted = self._conditional or not (load.renews or load.kept)
        if answer.beside and answer.value and wanted and knows_of(load, answer):
            load.beside = self._values.decode(load.text, answer.value, load.key[1])
            if load.kept is None and not load.renews:
                load.kept = load.beside

    def _request(
        self, load: InflightLoad, answer: OpenReply | None, history: str
    ) -> RowRequest | None:
        """Strict owners are read on the primary; so are rows whose commit is on its way. None, once
        the load has failed: the record of a strict owner is of a newer timeline, and the primary
        here shows the past."""
        floor: int | None = ANY_NODE
        if answer is None or answer.kind == "history":
            met = () if answer is None else answer.histories
            if not self._from_replicas and any(is_newer(each, history) for each in met):
                self._fail([load], DatabaseUnavailable(OLDER))
                return None
            self._inflight.goes_past(load)
        else:
            floor = answer.needed
        if not self._from_replicas or (answer is not None and answer.kind == "written"):
            floor = None
        fills = answer is not None and answer.kind == "lease"
        kept = load.beside.row if self._conditional and load.beside is not None else None
        return RowRequest(load.key[1], floor, history, load.bookmark, fills, kept)

    async def _run_alone(self, load: InflightLoad, going_on: Awaitable[OpenReply | None]) -> None:
        """A load that leaves its batch. Its answer: a value, a lease, or that it reads and fills
        neither tier."""
        try:
            answer = await going_on
            if answer is not None and answer.kind == "value":
                return self._deliver(load, answer)
            leased = [(load, answer)] if answer is not None and answer.kind == "lease" else []
            for _, lease in leased:
                self._keep_beside(load, lease)
            want = self._request(load, answer, self._line.history)
            if want is not None:
                await self._read(Group([(load, want)], leased))
        except asyncio.CancelledError:
            self._fail([load], DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            self._fail([load], error)

    async def _wait(self, load: InflightLoad, answer: OpenReply) -> OpenReply:
        """Somebody else loads it: look again until it is there."""
        self._count.waited += 1
        loop = asyncio.get_running_loop()
        until = loop.time() + min(answer.wait + LAST_LOOK, self._shared.settings.patience)
        pause = 0.002
        while loop.time() < until:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)
            [(_, seen)] = await self._leases.open([load])
            if seen is None:
                break
            answer = seen
            if answer.kind != "wait":
                break
        return answer

    async def _take_over(self, load: InflightLoad, answer: OpenReply) -> OpenReply | None:
        """Write leases past their deadline give way if their transactions have ended, which is
        asked before the read: whatever they committed is visible to it (protocol, Strict
        write-through). No answer is not one that says so."""
        over: list[str] = []
        for lease in answer.overdue:
            with suppress(DatabaseUnavailable):
                if not await self._shared.primary.in_progress(lease.xid):
                    over.append(lease.nonce)
        load.over = tuple(over)
        if not load.over:
            return answer
        [(_, seen)] = await self._leases.open([load])
        return seen

    def _answer(self, load: InflightLoad, cached: CachedRow, tier: str) -> None:
        if tier == "l2":
            told = Served(self._owner, "l2", "", "a value", key=load.text, size=cached.length)
            self._shared.observe(told)
        load.resolve(cached)

    def _end(self, load: InflightLoad, *, landed: bool) -> None:
        """L1 only after an L2 hit or a fill that landed, and only if no invalidation met the load
        (protocol, Read path 6), nor could one have been missed unnoticed:

        1. the connection is lost under a load, and all views go; 2. its fill lands on the next one;
        3. a message is lost; 4. another makes the view, where there was none and hence no gap.
        """
        self._inflight.end(load)
        cached, (view, own) = load.cached, load.views
        same = view is self._views.get(load.bucket) and own is self._views.get(load.own)
        if cached is not None and landed and not load.invalidated_since_fill and same:
            self.keep(load, cached)

    def keep(self, load: InflightLoad, cached: CachedRow) -> None:
        """In L1, as long as the owner's policy says."""
        if not self._keeps or not self._views.alive or not self._tier.open:
            return
        life = self._values.local_life(cached)
        if life > 0:
            self._shared.local.put(load.key, cached, load.bucket, life, cached.size)

    def _not_renewed(self, loads: Sequence[InflightLoad], error: Exception) -> None:
        """Nobody waits who would hear of it."""
        if loads:
            self._shared.observe(CacheFailed("renew", in_brief(error)))
        self._fail(loads, error)

    def _fail(self, loads: Sequence[InflightLoad], error: BaseException) -> None:
        for load in loads:
            self._inflight.end(load)
            load.fail(error)
