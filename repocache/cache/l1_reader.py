"""The hit in L1, the one path that every caller takes: one function, since each call in it would be
felt."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from repocache.bookmark import Bookmark
from repocache.cache.entry import CachedRow
from repocache.cache.local_store import MOST_FREQ, LocalStore
from repocache.cache.process_cache import ProcessCache
from repocache.cache.shelf import Entry
from repocache.cache.switch import Gate
from repocache.events import HitSampled, Observer, Served
from repocache.keys import Keys, owner_bucket

Peek = Callable[[Any], CachedRow | None]
"""The answer at hand for an id of the key's type, without waiting."""
SAMPLED = 64
"""One of so many hits is told of, on the average: which keys are hot, and how old what they show
is."""


class ReadRecorder(Protocol):
    """Hears of what a session is given. `of`: the caches of the database that gave it, for a
    session may read several."""

    def row(self, of: object, owner: str, id: Any, cached: CachedRow) -> None:
        """This answer of an owner, by its prefix, which no invalidation has met, as far as this
        process has heard."""
        ...

    def tokens(self, of: object, tokens: Mapping[str, str], shapes: Mapping[str, str]) -> None:
        """What depends on these tags, and was found, or read, under these tokens. `shapes`: their
        texts, by tag; empty of the application's own tags."""
        ...

    def behind(self, why: str) -> None:
        """What may be older than what was invalidated."""
        ...

    def unknown(self, why: str) -> None:
        """What nobody tells of when it changes."""
        ...


class Session(Protocol):
    """What the caches ask of the caller's session, and tell it. `recorder`: who records what it is
    given, if somebody does."""

    recorder: ReadRecorder | None

    @property
    def bookmark(self) -> Bookmark: ...

    def shown_stale(self, key: str) -> None:
        """It is given a row past its time, under this key."""
        ...


Tell = Callable[[Entry], None]


def hits_told(keys: Keys, local: LocalStore, observe: Observer) -> Tell:
    """Tells of the hit that is due, of one owner. The next is drawn at random: keys that are asked
    for in turn are met alike."""
    count = local.shelf(keys.prefix).count

    def tell(entry: Entry) -> None:
        hits, count.told = count.hits - count.told, count.hits
        count.due = count.hits + random.randrange(1, 2 * SAMPLED)  # noqa: S311  # a sample
        age = local.clock() - entry.since
        observe(HitSampled(keys.prefix, keys.text(entry.id), hits, age))

    return tell


def l1_peek(
    owner: str,
    shared: ProcessCache,
    gate: Gate,
    tell: Tell,
    session_of: Callable[[], Session | None],
) -> Peek:
    """Reads L1 as `LocalStore.get` does, without the calls: it was 2 us, and is 0.3.

    A hit counts only if the gate is open, the channel is alive, and the views of the bucket and of
    the owner are not older than what the caller's session wrote (protocol, Read path 1).
    """
    views, shelf = shared.views, shared.local.shelf(owner)
    count, covers, own = shelf.count, views.covers, owner_bucket(owner)
    clock = shared.local.clock

    def peek(id: Any) -> CachedRow | None:
        if not views.alive or not gate.open:
            return None
        entry = shelf.entries.get(id)
        if entry is None or entry.expires <= clock():
            count.misses += 1
            return None
        session = session_of()
        if session is not None:
            if not covers((entry.bucket, own), session.bookmark):
                return None
            if session.recorder is not None:
                session.recorder.row(shared, owner, id, entry.value)  # type: ignore[arg-type]  # as below
        if entry.freq < MOST_FREQ:
            entry.freq += 1
        count.hits += 1
        if count.hits >= count.due:
            tell(entry)
        return entry.value  # type: ignore[return-value]  # a cast would be one more call

    return peek


def observed(peek: Peek, owner: str, observe: Observer) -> Peek:
    """Tells the observer of every hit, which costs several times the hit itself."""
    hit = Served(owner, "l1", "", "at hand")

    def peek_and_tell(id: Any) -> CachedRow | None:
        cached = peek(id)
        if cached is not None:
            observe(hit)
        return cached

    return peek_and_tell


def no_l1(_id: Any) -> CachedRow | None:
    """Where L1 is not to be read."""
    return None
