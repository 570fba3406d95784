"""What a node must have replayed whose answer is stored under tags: the floors of all records that
their tokens lie under (protocol, Tags 4)."""

from __future__ import annotations

from collections.abc import Iterable

from repocache.cache.entry import RowRequest
from repocache.cache.settler import Settler
from repocache.errors import CacheUnavailable
from repocache.keys import bucket_of, owner_bucket
from repocache.records import CallerHistory, LookReply, Registrations


class TagFloors:
    """Reads them, to be called after the tokens were read."""

    def __init__(self, registrations: Registrations, settler: Settler) -> None:
        self._registrations = registrations
        self._settler = settler

    async def above(self, want: RowRequest, tags: Iterable[str]) -> RowRequest:
        """The same, of a node above these floors; nothing more where nothing is stored."""
        return want._replace(floor=await self._highest(want, tags)) if want.fills else want

    async def _highest(self, want: RowRequest, tags: Iterable[str]) -> int | None:
        """None: one is unknown, so that only the primary may answer."""
        terms, floors = CallerHistory(want.history), [want.floor]
        records = dict.fromkeys(
            record
            for tag in tags
            for record in (bucket_of(tag), owner_bucket(tag.partition(":")[0]))
        )
        try:
            pending = [self._registrations.look(each, "", terms) for each in records]
            for record, look in zip(records, pending, strict=True):
                floors.append(self._floor_of(record, await look))
        except CacheUnavailable:
            return None
        known = [floor for floor in floors if floor is not None]
        return max(known) if len(known) == len(floors) else None

    def _floor_of(self, record: int, look: LookReply | None) -> int | None:
        if look is None:
            return None
        self._settler.settle(record, look.incarnation, look.floor)
        return look.floor
