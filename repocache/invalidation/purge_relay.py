"""Has edges purge what no process has had purged, as one that died after its COMMIT."""

from __future__ import annotations

from collections.abc import Mapping

from repocache.errors import CacheUnavailable
from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.bus import MOST_KEYS
from repocache.invalidation.relay import Relay


class PurgeRelay(Relay):
    """Of the table of purges. If an edge does not take what it is told, that is no fault of a row:
    all of them wait, and become one when they are many."""

    async def _publish(self, batches: Mapping[int, Batch]) -> dict[int, str]:
        why = await self._attempt(merged(batches.values(), MOST_KEYS))
        if why:
            raise CacheUnavailable(why)
        return {}
