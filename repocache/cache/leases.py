"""What a batch of flights says to the records: it asks for values or leases, and gives rows for the
leases.

Owns the order of asking where a record's history or state is in doubt. What Redis does not answer
is an event and no error: its flight goes past the cache.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from repocache.cache.entry import Row, Source
from repocache.cache.inflight import InflightLoad
from repocache.cache.process_cache import ProcessCache
from repocache.cache.values import NOT_KEPT, Values
from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Filled
from repocache.records import CallerHistory, Lease, OpenReply, OpenRequest


def knows_of(flight: InflightLoad, answer: OpenReply) -> bool:
    """Whether a value counts for the flight's session: only in the records that it wrote in, not
    before its write.

    Another record is a newer one, as a rule. But a Redis that was cut off or demoted, and does not
    know it, has one of before the session's write, of which another Redis was told: what the
    protocol's assumption excludes, and a failover brings for a moment.
    """
    bookmark, owner = flight.bookmark, answer.owner
    return bookmark is None or (
        bookmark.known_to(flight.bucket, answer.incarnation, answer.seq)
        and bookmark.known_to(flight.own, owner.incarnation, owner.seq)
    )


class Leases:
    """Those of one owner. `opened`: takes over the state of a flight's record, and answers False if
    it is older than what is known by now."""

    def __init__(
        self,
        source: Source,
        shared: ProcessCache,
        values: Values,
        opened: Callable[[InflightLoad, OpenReply], bool],
    ) -> None:
        self._source = source
        self._shared = shared
        self._values = values
        self._opened = opened

    async def open(
        self, batch: Sequence[InflightLoad]
    ) -> Sequence[tuple[InflightLoad, OpenReply | None]]:
        """The records' answers; None, or "history" where its record is of another line of WAL than
        this process lives in, for a flight that goes past the cache."""
        answers: dict[InflightLoad, OpenReply | None] = dict.fromkeys(batch)
        asked = [flight for flight in batch if not flight.direct]
        terms = CallerHistory(self._shared.primary.history)
        for _ in range(3):
            if not asked:
                break
            again: list[InflightLoad] = []
            refused: list[tuple[InflightLoad, OpenReply]] = []
            met: set[tuple[int, str]] = set()
            answered = await self._ask(asked, terms)
            if terms.history != self._shared.primary.history:
                # 1. asked under one history; 2. a failover is noticed, and all views go; 3. the old
                # answer comes.
                self.release(answered, terms)
                terms = CallerHistory(self._shared.primary.history)
                continue
            for flight, answer in answered:
                if answer.kind == "history":
                    places = ((flight.bucket, answer.history), (flight.own, answer.owner_history))
                    met.update(place for place in places if place[1])
                    answers[flight] = answer
                    again.append(flight)
                elif self._opened(flight, answer):
                    known = answer.kind != "value" or knows_of(flight, answer)
                    answers[flight] = answer if known else None
                    if not known:
                        self._shared.flights.goes_past(flight)
                else:
                    answers[flight] = None
                    refused.append((flight, answer))
                    again.append(flight)
            self.release(refused, terms)
            asked = again
            if met:
                asked, terms = await self._confirm(asked, met)
        return list(answers.items())

    async def _confirm(
        self, asked: list[InflightLoad], met: set[tuple[int, str]]
    ) -> tuple[list[InflightLoad], CallerHistory]:
        """Records of another history were met: poll the primary afresh, and only then make them
        anew."""
        for history in {history for _, history in met}:
            self._shared.primary.met(history)
        polled = await self._shared.primary.insert_position()
        mine = polled[0] if polled is not None else ""
        terms = CallerHistory(mine, confirmed=True)
        if not mine:
            return [], terms
        may = {
            bucket: self._shared.histories.may_replace(bucket, history, mine)
            for bucket, history in met
        }
        return [
            each for each in asked if may.get(each.bucket, True) and may.get(each.own, True)
        ], terms

    async def _ask(
        self, flights: Sequence[InflightLoad], terms: CallerHistory
    ) -> list[tuple[InflightLoad, OpenReply]]:
        """All at once; what Redis does not answer is missing from the list."""
        pending: list[tuple[InflightLoad, Awaitable[OpenReply]]] = []
        answers: list[tuple[InflightLoad, OpenReply]] = []
        why = ""
        try:
            for flight in flights:
                flight.asked = (
                    self._shared.views.before(flight.bucket),
                    self._shared.views.before(flight.own),
                )
                flight.touched = False
                pending.append((flight, self._shared.records.open(self._ask_for(flight), terms)))
        except CacheUnavailable as error:
            why = str(error)
        for flight, answer in pending:
            try:
                answers.append((flight, await answer))
            except CacheUnavailable as error:
                # One record that Redis cannot work with is no reason to do without the others.
                why = str(error)
        if why:
            self._shared.observe(CacheFailed("open", why))
        return answers

    def _ask_for(self, flight: InflightLoad) -> OpenRequest:
        source = self._source
        life = self._shared.settings.lease
        return OpenRequest(
            flight.bucket,
            source.keys.prefix,
            source.fingerprint,
            flight.text,
            life,
            flight.refused,
            flight.over,
        )

    def _lease(self, flight: InflightLoad, answer: OpenReply) -> Lease:
        return Lease(self._ask_for(flight), answer.incarnation, answer.generation, answer.nonce)

    def release(
        self, answered: Sequence[tuple[InflightLoad, OpenReply]], terms: CallerHistory
    ) -> None:
        """Leases under which nothing will be filled: who asks next, perhaps the same flight, would
        wait for them."""
        try:
            for flight, answer in answered:
                if answer.kind == "lease":
                    self._shared.records.fill(self._lease(flight, answer), terms, NOT_KEPT, 1.0)
        except CacheUnavailable as error:
            self._shared.observe(CacheFailed("fill", str(error)))

    def fill(
        self, rows: Sequence[tuple[InflightLoad, OpenReply, Row | None]]
    ) -> list[tuple[InflightLoad, Awaitable[bool]]]:
        """Offer the rows for the leases."""
        terms = CallerHistory(self._shared.primary.history)
        fills: list[tuple[InflightLoad, Awaitable[bool]]] = []
        try:
            for flight, answer, row in rows:
                value, life = self._values.encode(flight.text, row)
                if flight.cell is not None:
                    flight.cell.length = len(value)
                flight.touched = False
                fills.append(
                    (
                        flight,
                        self._shared.records.fill(self._lease(flight, answer), terms, value, life),
                    )
                )
                self._shared.settler.settle(flight.bucket, answer.incarnation, answer.floor)
                self._shared.settler.settle(
                    flight.own, answer.owner.incarnation, answer.owner.floor
                )
        except CacheUnavailable as error:
            self._shared.observe(CacheFailed("fill", str(error)))
        return fills

    async def landed(
        self, fills: Sequence[tuple[InflightLoad, Awaitable[bool]]]
    ) -> set[InflightLoad]:
        """Those whose row Redis has taken."""
        landed: set[InflightLoad] = set()
        why = ""
        for flight, fill in fills:
            try:
                done = await fill
            except CacheUnavailable as error:
                why = str(error)
                continue
            self._shared.observe(Filled(flight.text, done))
            if done:
                landed.add(flight)
        if why:
            self._shared.observe(CacheFailed("fill", why))
        return landed
