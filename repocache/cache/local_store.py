"""L1: the bounded store inside one process, with S3-FIFO eviction and a TTL for each entry.

Owns room and time: what is kept, what is evicted, what has expired. Whether an entry may be served
or stored at all (channel, bookmark, counters) is decided by the read path. For the event-loop
thread only: no lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from sys import getsizeof
from typing import Any

from repocache.cache.shelf import Entry, LocalKey, Queue, Shelf
from repocache.errors import ConfigurationError

MOST_FREQ = 3
"""Hits beyond this many since an entry's last second chance do not count (S3-FIFO's two bits)."""
PROBATION = 10
"""One of so many entries is on probation."""
LARGEST = 8
"""An entry above one of so many shares of `max_bytes` is not admitted: it would push out too many
others."""
PATIENCE = 64
"""Second chances given in one eviction at most: bounds what one `put` may cost the event loop."""
SWEPT = 16
"""Entries of a cleared owner that one `put` or `discard` lets go of: to free them all at once would
stop the event loop, 0.3 s for a million. Until then they take memory that is not counted."""
ENTRY = 768
"""Bytes that an entry takes beside its id and its row: its places in the store's indexes and the
cached row, 500 to 600 as measured, and a frozen view."""


def held(key: LocalKey, size: int) -> int:
    """Bytes that an entry takes in all. `size`: those of its value."""
    id = key[1]
    return ENTRY + size + getsizeof(id) + (sum(map(getsizeof, id)) if isinstance(id, tuple) else 0)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store has done so far; `entries` and `bytes` are what it holds now.

    `stored == entries + evicted + expired + invalidated`, and `stored + replaced + refused` is the
    number of puts: one for a key that was here counts in `replaced`, one too large in `refused`.
    """

    entries: int
    bytes: int
    hits: int
    misses: int
    stored: int
    replaced: int
    refused: int
    evicted: int
    expired: int
    invalidated: int


class LocalStore:
    """At most `max_entries` entries that take at most `max_bytes` of memory, each for its own TTL.

    New entries are on probation in a small queue; those hit there, or put again soon after they
    left, go to the main queue. So a scan passes through without touching what is popular (S3-FIFO,
    SOSP 2023).
    `clock`: monotonic seconds.

    `shelf(owner).entries` and its `count` are open to the read path, which does what `get` does
    without the call: an entry counts only while `expires` is above the clock.

    Raises ConfigurationError if a bound is not positive.
    """

    __slots__ = (
        "_cleared", "_count", "_ghosts", "_main", "_max_bytes", "_max_entries",
        "_shelves", "_small", "bytes", "clock", "refused", "replaced",
    )  # fmt: skip

    def __init__(self, max_entries: int, max_bytes: int, clock: Callable[[], float]) -> None:
        for name, bound in (("max_entries", max_entries), ("max_bytes", max_bytes)):
            if bound < 1:
                raise ConfigurationError(
                    f"LocalStore({name}={bound}): give at least 1; an owner with local_ttl=0 has "
                    "no L1"
                )
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.clock = clock
        self._small: Queue = OrderedDict()
        self._main: Queue = OrderedDict()
        # Hashes of keys that left lately: a key may be long, and to mistake one for another only
        # wastes room.
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self._shelves: dict[str, Shelf] = {}
        self._cleared: list[dict[Any, Any]] = []
        self._count = 0
        self.bytes = 0
        self.replaced = self.refused = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: LocalKey) -> bool:
        return self.find(key) is not None

    def entries(self) -> list[Entry]:
        """All that are here, expired or not."""
        return [entry for shelf in self._shelves.values() for entry in shelf.entries.values()]

    def find(self, key: LocalKey) -> Entry | None:
        """The entry of `key`, expired or not; nobody has asked for it."""
        shelf = self._shelves.get(key[0])
        return None if shelf is None else shelf.entries.get(key[1])

    def shelf(self, owner: str) -> Shelf:
        """An owner's, the same one for ever."""
        shelf = self._shelves.get(owner)
        if shelf is None:
            shelf = self._shelves[owner] = Shelf(owner)
        return shelf

    @property
    def stats(self) -> Stats:
        """The counters as they are now, of all owners."""
        counts = [shelf.count for shelf in self._shelves.values()]
        return Stats(
            entries=self._count,
            bytes=self.bytes,
            hits=sum(each.hits for each in counts),
            misses=sum(each.misses for each in counts),
            stored=sum(each.stored for each in counts),
            replaced=self.replaced,
            refused=self.refused,
            evicted=sum(each.evicted for each in counts),
            expired=sum(each.expired for each in counts),
            invalidated=sum(each.invalidated for each in counts),
        )

    def get(self, key: LocalKey) -> Entry | None:
        """The live entry of `key`, or None. An expired one is removed."""
        shelf = self.shelf(key[0])
        entry = shelf.entries.get(key[1])
        if entry is not None:
            if entry.expires > self.clock():
                if entry.freq < MOST_FREQ:
                    entry.freq += 1
                shelf.count.hits += 1
                return entry
            shelf.count.expired += 1
            self._remove(entry)
        shelf.count.misses += 1
        return None

    def put(self, key: LocalKey, value: object, bucket: int, ttl: float, size: int) -> None:
        """Keep `value` for `ttl` seconds, evicting others for its `size` bytes and what the entry
        itself takes. One too large is not kept.

        `bucket` is the key's, always the same one. The entry of a key that is put again is changed
        in place; if it has grown it may itself be the one that is evicted. It never keeps its old
        value.
        """
        shelf = self.shelf(key[0])
        entry = shelf.entries.get(key[1])
        size = held(key, size)
        if size * LARGEST > self._max_bytes:
            self.refused += 1
            if entry is not None:  # what it would have replaced is out of date
                shelf.count.evicted += 1
                self._remove(entry)
            return
        if entry is None:
            self._make_room(self._max_entries - 1, self._max_bytes - size)
            entry = self._admit(shelf, key, bucket)
            shelf.count.stored += 1
        else:
            assert entry.bucket == bucket
            self.replaced += 1
        self.bytes += size - entry.size
        shelf.bytes += size - entry.size
        entry.value = value
        entry.size = size
        entry.since = self.clock()
        entry.expires = entry.since + ttl
        self._make_room(self._max_entries, self._max_bytes)
        if self._cleared:
            self._sweep()

    def discard(self, key: LocalKey) -> bool:
        """Invalidate one key. True if it was here."""
        entry = self.find(key)
        if entry is None:
            return False
        entry.shelf.count.invalidated += 1
        self._remove(entry)
        if self._cleared:
            self._sweep()
        return True

    def clear_bucket(self, bucket: int) -> int:
        """Invalidate all entries of a bucket, looking at no others. Returns how many there were."""
        entries = [
            shelf.entries[id]
            for shelf in self._shelves.values()
            for id in shelf.buckets.get(bucket, ())
        ]
        for entry in entries:
            entry.shelf.count.invalidated += 1
            self._remove(entry)
        return len(entries)

    def clear_owner(self, owner: str) -> int:
        """Invalidate all entries of an owner, looking at none. Returns how many there were."""
        shelf = self.shelf(owner)
        count = len(shelf.entries)
        if not count:
            return 0
        self._cleared += [shelf.entries, shelf.buckets]
        shelf.entries, shelf.buckets = {}, {}
        self.bytes -= shelf.bytes
        shelf.bytes = 0
        self._count -= count
        shelf.count.invalidated += count
        return count

    def clear(self) -> int:
        """Invalidate everything. Returns how many entries there were."""
        if self._ghosts:
            self._cleared.append(self._ghosts)
            self._ghosts = OrderedDict()
        return sum(map(self.clear_owner, self._shelves))

    def _sweep(self) -> None:
        """Let go of some entries of those that were cleared."""
        for _ in range(SWEPT):
            if not self._cleared[-1]:
                self._cleared.pop()
                if not self._cleared:
                    return
            else:
                _, entry = self._cleared[-1].popitem()
                if type(entry) is Entry:
                    entry.queue.pop(entry, None)

    def _admit(self, shelf: Shelf, key: LocalKey, bucket: int) -> Entry:
        ghost = hash(key)
        if ghost in self._ghosts:
            del self._ghosts[ghost]
            queue = self._main
        else:
            queue = self._small
        id = key[1]
        entry = shelf.entries[id] = Entry(shelf, id, bucket, queue)
        queue[entry] = None
        self._count += 1
        peers = shelf.buckets.get(bucket)
        if peers is None:
            shelf.buckets[bucket] = {id}
        else:
            peers.add(id)
        return entry

    def _make_room(self, most_entries: int, most_bytes: int) -> None:
        while self._count > most_entries or self.bytes > most_bytes:
            self._evict(self.clock())

    def _evict(self, now: float) -> None:
        """Drop one entry: the first in line that has expired, or that nobody asked for while it
        queued."""
        entry = self._first_in_line(now)
        for _ in range(PATIENCE):
            if not entry.freq or entry.expires <= now:
                break
            self._give_second_chance(entry)
            entry = self._first_in_line(now)
        if entry.expires > now:
            entry.shelf.count.evicted += 1
        else:
            entry.shelf.count.expired += 1
        self._remove(entry)

    def _first_in_line(self, now: float) -> Entry:
        small, main = _oldest(self._small), _oldest(self._main)
        # What has expired in the main queue goes before what is alive on probation.
        if main is None or (
            small is not None and len(self._small) * PROBATION >= self._count and main.expires > now
        ):
            assert small is not None
            return small
        return main

    def _give_second_chance(self, entry: Entry) -> None:
        if entry.queue is self._main:
            entry.freq -= 1
            self._main.move_to_end(entry)
        else:
            entry.freq = 0
            del self._small[entry]
            entry.queue = self._main
            self._main[entry] = None

    def _remove(self, entry: Entry) -> None:
        """Take the entry out of every index, and remember its key as long as others take to
        leave."""
        shelf, id = entry.shelf, entry.id
        del shelf.entries[id]
        del entry.queue[entry]
        self._count -= 1
        self.bytes -= entry.size
        shelf.bytes -= entry.size
        peers = shelf.buckets[entry.bucket]
        peers.discard(id)
        if not peers:
            del shelf.buckets[entry.bucket]
        ghosts = self._ghosts
        ghosts[hash((shelf.owner, id))] = None
        for _ in range(min(SWEPT, len(ghosts) - self._count)):
            ghosts.popitem(last=False)


def _oldest(queue: Queue) -> Entry | None:
    """The first in line that is alive; what is not leaves it."""
    while queue:
        entry = next(iter(queue))
        if entry.alive:
            return entry
        del queue[entry]
    return None
