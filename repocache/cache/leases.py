"""What a batch of loads says to the records: it asks for values or leases, and gives rows for the
leases.

Owns the order of asking where a record's history or state is in doubt. What Redis does not answer
is an event and no error: its load goes past the cache.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from repocache.bookmark import Seen
from repocache.cache.belief import At
from repocache.cache.entry import Row, Source
from repocache.cache.inflight import InflightLoad
from repocache.cache.process_cache import ProcessCache
from repocache.cache.values import NOT_KEPT, Values
from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Filled
from repocache.records import CallerHistory, Fill, Lease, OpenReply, OpenRequest
from repocache.records.names import KEEP

RENEWED = 10.0 * 365 * 86_400
"""Seconds: longer than any row has to live."""


def knows_of(load: InflightLoad, answer: OpenReply) -> bool:
    """Whether a value counts for the load's session: only in the records that it wrote in, not
    before its write.

    Another record is a newer one, as a rule. But a Redis that was cut off or demoted, and does not
    know it, has one of before the session's write, of which another Redis was told: what the
    protocol's assumption excludes, and a failover brings for a moment.
    """
    bookmark, owner = load.bookmark, answer.owner
    return bookmark is None or (
        bookmark.known_to(load.bucket, answer.incarnation, answer.seq)
        and bookmark.known_to(load.own, owner.incarnation, owner.seq)
    )


class Offer(NamedTuple):
    """A fill on its way."""

    load: InflightLoad
    value: bytes
    landing: Awaitable[bool]


class Leases:
    """Those of one owner."""

    def __init__(self, source: Source, shared: ProcessCache, values: Values) -> None:
        self._owner = source.keys.prefix
        self._fingerprint = source.fingerprint
        self._keep = source.policy.freshness.fail_safe
        self._life = shared.settings.lease if source.policy.stores_values else 0.0
        self._shared = shared
        self._values = values
        self._views = shared.views
        self._line = shared.primary.lineage

    async def open(
        self, batch: Sequence[InflightLoad]
    ) -> Sequence[tuple[InflightLoad, OpenReply | None]]:
        """The records' answers; None, or "history" where its record is of another line of WAL than
        this process lives in, for a load that goes past the cache."""
        answers: dict[InflightLoad, OpenReply | None] = dict.fromkeys(batch)
        asked = [load for load in batch if not load.direct]
        terms = CallerHistory(self._line.history)
        for _ in range(3):
            if not asked:
                break
            again: list[InflightLoad] = []
            refused: list[tuple[InflightLoad, OpenReply]] = []
            met: set[tuple[int, str]] = set()
            answered = await self._ask(asked, terms)
            if terms.history != self._line.history:
                # 1. asked under one history; 2. a failover is noticed, and all views go; 3. the old
                # answer comes.
                self.release(answered, terms)
                terms = CallerHistory(self._line.history)
                continue
            for load, answer in answered:
                if answer.kind == "history":
                    places = ((load.bucket, answer.history), (load.own, answer.owner_history))
                    met.update(place for place in places if place[1])
                    answers[load] = answer
                    again.append(load)
                elif self._opened(load, answer):
                    known = answer.kind != "value" or knows_of(load, answer)
                    answers[load] = answer if known else None
                    if not known:
                        self._shared.inflight.goes_past(load)
                else:
                    answers[load] = None
                    refused.append((load, answer))
                    again.append(load)
            if refused:
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
        self, loads: Sequence[InflightLoad], terms: CallerHistory
    ) -> list[tuple[InflightLoad, OpenReply]]:
        """All at once; what Redis does not answer is missing from the list."""
        pending: list[tuple[InflightLoad, Awaitable[OpenReply]]] = []
        answers: list[tuple[InflightLoad, OpenReply]] = []
        why = ""
        try:
            for load in loads:
                load.asked = self._views.before(load.bucket), self._views.before(load.own)
                load.invalidated_since_fill = False
            asks = list(map(self._ask_for, loads))
            pending = list(zip(loads, self._shared.records.open_all(asks, terms), strict=True))
        except CacheUnavailable as error:
            why = str(error)
        for load, answer in pending:
            try:
                answers.append((load, await answer))
            except CacheUnavailable as error:
                # One record that Redis cannot work with is no reason to do without the others.
                why = str(error)
        if why:
            self._shared.observe(CacheFailed("open", why))
        return answers

    def _opened(self, load: InflightLoad, answer: OpenReply) -> bool:
        """Take over the state of both records. False: the answer is older than what is known by
        now."""
        load.turns = False
        of_bucket, of_owner = load.asked
        at, owner = At(answer.incarnation, answer.seq, answer.tip), answer.owner
        own_at = At(owner.incarnation, owner.seq, owner.tip)
        own = self._views.adopt_generation(
            load.own, self._owner, of_owner, own_at, answer.generation
        )
        view = self._views.adopt(load.bucket, of_bucket, at)
        if view is None or own is None:
            return False
        load.views = view, own
        load.began = Seen(at.incarnation, at.seq), Seen(own_at.incarnation, own_at.seq)
        return True

    def _ask_for(self, load: InflightLoad) -> OpenRequest:
        return OpenRequest(
            load.bucket,
            load.own,
            self._owner,
            self._fingerprint,
            load.text,
            self._life,
            load.refused,
            load.over,
            RENEWED if load.renews else self._keep,
        )

    def _lease(self, load: InflightLoad, answer: OpenReply) -> Lease:
        under = answer.incarnation, answer.generation
        return Lease(self._ask_for(load), *under, answer.nonce, answer.beside)

    def release(
        self, answered: Sequence[tuple[InflightLoad, OpenReply]], terms: CallerHistory
    ) -> None:
        """Leases under which nothing will be filled: who asks next, perhaps the same load, would
        wait for them. Nobody waits for a renewal's: it is not tried again before it ends."""
        given = [
            Fill(self._lease(load, answer), NOT_KEPT, 1.0)
            for load, answer in answered
            if answer.kind == "lease" and self._life and not load.renews
        ]
        try:
            self._shared.records.fill_all(given, terms)
        except CacheUnavailable as error:
            self._shared.observe(CacheFailed("fill", str(error)))

    async def store(
        self, rows: Sequence[tuple[InflightLoad, OpenReply, Row | None]]
    ) -> set[InflightLoad]:
        """Offer the rows for the leases. Those that L1 may keep, if nothing has met them: Redis has
        taken the row, or it takes none of this owner's. Then what keeps out of L1 is what came
        since the records were asked: no message that was published later can be missed unnoticed,
        and of what was published before they have told the floor."""
        fills = self.fill(rows)
        return await self.landed(fills) if self._life else {load for load, _, _ in rows}

    def fill(self, rows: Sequence[tuple[InflightLoad, OpenReply, Row | None]]) -> list[Offer]:
        """Offer the rows for the leases."""
        terms = CallerHistory(self._line.history)
        fills: list[Fill] = []
        for load, answer, row in rows if self._life else ():
            kept = load.beside
            if answer.beside and kept is not None and row is kept.row:
                value, life, length = KEEP, self._values.life(load.text, row), kept.length
            else:
                value, life = self._values.encode(load.text, row)
                length = len(value)
            if load.cached is not None:
                load.cached.length = length
            load.invalidated_since_fill = False
            fills.append(Fill(self._lease(load, answer), value, life))
        try:
            landing = self._shared.records.fill_all(fills, terms)
            for load, answer, _ in rows:
                self._shared.settler.settle(load.bucket, answer.incarnation, answer.floor)
                self._shared.settler.settle(load.own, answer.owner.incarnation, answer.owner.floor)
        except CacheUnavailable as error:
            self._shared.observe(CacheFailed("fill", str(error)))
            return []
        return [
            Offer(load, fill.value, landed)
            for (load, _, _), fill, landed in zip(rows, fills, landing, strict=False)
        ]

    async def landed(self, offers: Sequence[Offer]) -> set[InflightLoad]:
        """Those whose row Redis has taken."""
        landed: set[InflightLoad] = set()
        why = ""
        for load, value, landing in offers:
            try:
                done = await landing
            except CacheUnavailable as error:
                why = str(error)
                continue
            size, kept = 0 if value == KEEP else len(value), value != NOT_KEPT
            self._shared.observe(Filled(load.text, done, self._owner, size, kept))
            if done:
                landed.add(load)
        if why:
            self._shared.observe(CacheFailed("fill", why))
        return landed
