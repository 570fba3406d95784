"""What L1 holds of one owner: entries by id, and which ids lie in a bucket."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

from repocache.cache.owner_count import OwnerCount

LocalKey = tuple[str, Any]
"""(owner prefix, id): what L1 and loads in flight are keyed by."""


class Shelf:
    """The entries of one owner, by id, and the ids in each bucket. One that is not here any more
    lies in its queue until it is swept. `bytes`: that the entries take."""

    __slots__ = ("buckets", "bytes", "count", "entries", "owner")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.entries: dict[Any, Entry] = {}
        self.buckets: dict[int, set[Any]] = {}
        self.bytes = 0
        self.count = OwnerCount()


class Entry:
    """A value in L1. `since`, `expires`: seconds on the clock; `size`: bytes in all; `freq`: hits,
    up to MOST_FREQ."""

    __slots__ = ("bucket", "expires", "freq", "id", "queue", "shelf", "since", "size", "value")

    def __init__(self, shelf: Shelf, id: Any, bucket: int, queue: Queue) -> None:
        self.shelf = shelf
        self.id = id
        self.bucket = bucket
        self.queue = queue
        self.value: object = None
        self.since = self.expires = 0.0
        self.size = 0
        self.freq = 0

    @property
    def key(self) -> LocalKey:
        return self.shelf.owner, self.id

    @property
    def alive(self) -> bool:
        """Its owner was not cleared since it came."""
        return self.shelf.entries.get(self.id) is self


Queue: TypeAlias = "OrderedDict[Entry, None]"
