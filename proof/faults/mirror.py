"""A copy of all rows, kept as the documentation says: by what `db.invalidations` tells."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from proof.faults.items import KEYS, Item
from proof.faults.place import HANG, PATIENCE, Place, kind_of
from proof.faults.records import Failed, Read, now
from repocache import Changed, ChangedAll
from repocache.errors import NotStarted
from repocache.invalidation.feed import Feed

PAUSE = 0.1
"""Seconds before what failed is tried again."""


class Mirror:
    """`versions`: by id, as new as the last change that was followed."""

    def __init__(self, place: Place) -> None:
        self.versions: dict[int, int] = {}
        self._place = place
        self._rebuilds = 0
        self._changes: Feed[int] | None = None
        self._following = False

    @property
    def is_behind(self) -> bool:
        """It has been told of changes that it has not read yet."""
        return self._following or (self._changes is not None and bool(self._changes._waiting))

    async def follow(self) -> None:
        """Until the database is left."""
        async with self._place.db.invalidations(self._place.items) as self._changes:
            async for change in self._changes:
                self._following = True
                try:
                    while True:
                        if await self._followed(change):
                            break
                        await asyncio.sleep(PAUSE)
                except NotStarted:
                    return
                self._following = False

    async def _followed(self, change: Changed[int] | ChangedAll) -> bool:
        """False if the database did not answer: it has to be asked again. Raises NotStarted."""
        start, patience = now(), asyncio.timeout(PATIENCE)
        trace = self._place.witness.begin()
        how = "find" if isinstance(change, ChangedAll) and self._rebuilds % 2 else "get_many"
        try:
            async with patience, self._place.db.causal_session(change.bookmark):
                found = await self._read(how, change)
        except NotStarted:
            raise
        except Exception as error:  # noqa: BLE001  # the checker judges it
            why = HANG if patience.expired() else kind_of(error)
            told = Failed(self._caller, how, why, str(error)[:300], start, now())
            self._place.recorder.tell(told)
            return False
        ways, end = self._place.witness.ways(trace), now()
        past = how == "find" or self._place.db.settings.monotonic
        for item in found:
            way = ("past", "") if past else ways(item.id)
            shown = (how, item.id, item.version, item.token, *way)
            self._place.recorder.tell(Read(self._caller, "", *shown, start, end))
        if isinstance(change, ChangedAll):
            self._rebuilds += 1
            self.versions.clear()
        else:
            for id in change.ids:
                self.versions.pop(id, None)
        self.versions.update({item.id: item.version for item in found})
        return True

    async def _read(self, how: str, change: Changed[int] | ChangedAll) -> Sequence[Item]:
        items = self._place.db[self._place.items]
        if how == "find":
            return await items.find()
        ids = change.ids if isinstance(change, Changed) else KEYS  # rows neither come nor go
        return list((await items.get_many(ids)).values())

    @property
    def _caller(self) -> str:
        return f"{self._place.name}/mirror"
