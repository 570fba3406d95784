"""Which tags a commit has an edge purge.

Redis forgets. What it has cached under a tag is out of reach then, and a commit need not tell it of
a shape that it does not list. A page at an edge is not out of reach:

1. a page is made of a select, whose shape is registered; 2. Redis loses the record that lists it;
3. a commit changes what the page shows, and finds no shape to tell; 4. the page stays. So the tags
of a table are purged as a whole until the record that lists its shapes has been familiar for long
enough that no page of an older one can still be on its way (`models/edge_tags.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from repocache.errors import CacheUnavailable
from repocache.invalidation.batch import Batch
from repocache.invalidation.registered_tags import narrowed
from repocache.keys import owner_bucket
from repocache.records import CallerHistory, LookReply, Registrations
from repocache.tags import told_tags


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """A record's incarnation as it was first seen, `at` this time. `proven`: its owner was purged
    as a whole late enough after that."""

    incarnation: str
    at: float
    proven: bool = False


class ToPurge(NamedTuple):
    """`proofs`: of owners that it purges as a whole, records that are familiar once it was."""

    batch: Batch
    proofs: Mapping[str, Acquaintance]


class FamiliarTags:
    """Of one process. `owners`: prefixes of the owners of tables' tags. `settled`: seconds after
    which a page that was made under an older record has arrived. `clock`: monotonic, seconds."""

    def __init__(
        self,
        records: Registrations,
        owners: frozenset[str],
        settled: float,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._owners = owners
        self._settled = settled
        self._clock = clock
        self._known: dict[str, Acquaintance] = {}

    async def narrowed(self, batch: Batch, history: str) -> ToPurge:
        """The batch with the tags that edges have to purge. Looks at the records after the commit
        (protocol/queries.md, rule 7). What Redis does not answer is purged as a whole."""
        told = told_tags(batch.keys)
        owners = sorted({*told, *(batch.owners & self._owners)})
        looks = {owner: await self._look(owner, history) for owner in owners}
        strange = {owner for owner, look in looks.items() if not self._is_familiar(owner, look)}
        found = narrowed(batch, told, looks)
        keys = {owner: texts for owner, texts in found.keys.items() if owner not in strange}
        late = self._clock() - self._settled
        proofs = {
            owner: replace(known, proven=True)
            for owner in strange
            if (known := self._known.get(owner)) is not None and known.at <= late
        }
        return ToPurge(Batch(keys, found.owners | strange, found.anew), proofs)

    def purged(self, done: ToPurge) -> None:
        """All edges have."""
        for owner, proof in done.proofs.items():
            known = self._known.get(owner)
            if known is not None and known.incarnation == proof.incarnation:
                self._known[owner] = proof

    async def _look(self, owner: str, history: str) -> LookReply | None:
        try:
            return await self._records.look(owner_bucket(owner), owner, CallerHistory(history))
        except CacheUnavailable:
            return None

    def _is_familiar(self, owner: str, look: LookReply | None) -> bool:
        known = self._known.get(owner)
        if look is None:
            self._known.pop(owner, None)
            return False
        if known is None or known.incarnation != look.incarnation:
            self._known[owner] = Acquaintance(look.incarnation, self._clock())
            return False
        return known.proven
