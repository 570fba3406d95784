"""`db.invalidations(...)`: the channel, for services that keep something derived of their own."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from repocache.bookmark import Bookmark, Seen
from repocache.errors import RepocacheError
from repocache.keys import Keys
from repocache.message import Message

I = TypeVar("I")  # noqa: E741  # the id of the repository, as everywhere


@dataclass(frozen=True, slots=True)
class Changed(Generic[I]):
    """Rows were written. Read them behind `bookmark`, as in `db.causal_session(change.bookmark)`, or a lagging
    replica answers."""

    ids: tuple[I, ...]
    bookmark: Bookmark


@dataclass(frozen=True, slots=True)
class ChangedAll:
    """Anything may have changed: rebuild. `why`: "start", "connected", "gap", "overflow", "owner", "history"."""

    why: str


class Feed(Generic[I]):
    """An async iterator over the changes of one owner, first of all `ChangedAll("start")`.

    At most `room` changes wait for a slow reader; beyond, they become one `ChangedAll("overflow")`. `window`: seconds
    for which a change's bookmark counts.
    """

    def __init__(self, keys: Keys, room: int, window: float, closed: Callable[[Feed[I]], None]) -> None:
        self._keys = keys
        self._room = room
        self._window = window
        self._closed = closed
        self._waiting: deque[Changed[I] | ChangedAll] = deque([ChangedAll("start")])
        self._wake = asyncio.Event()
        self._wake.set()
        self._seen: dict[int, Seen] = {}
        self._history: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Changed[I] | ChangedAll:
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    def up(self) -> None:
        self._seen.clear()
        self._all("connected")

    def down(self) -> None:
        """Nothing can be said before it is up again."""

    def forget_all(self) -> None:
        self._all("gap")

    def apply(self, message: Message) -> None:
        """A hole in a bucket's sequence is a loss; a record made anew is not, unless its history is new too."""
        seen = self._seen.get(message.bucket)
        self._seen[message.bucket] = Seen(message.incarnation, message.seq)
        if self._history is not None and message.history != self._history:
            self._all("history")
        self._history = message.history
        if seen is not None and seen.incarnation == message.incarnation and message.seq != seen.seq + 1:
            return self._all("gap")
        if self._keys.prefix in message.generations:
            return self._all("owner")
        ids = self._ids(message)
        if ids:
            self._add(Changed(ids, self._bookmark(message)))

    def _ids(self, message: Message) -> tuple[I, ...]:
        mark = self._keys.prefix + ":"
        try:
            return tuple(self._keys.id(text) for text in message.keys if text.startswith(mark))
        except RepocacheError:
            self._all("gap")
            return ()

    def _bookmark(self, message: Message) -> Bookmark:
        return Bookmark(
            history=message.history,
            position=message.position,
            wrote={message.bucket: Seen(message.incarnation, message.seq)},
            covered=True,
            expires=time.time() + self._window,
        )

    def _all(self, why: str) -> None:
        """What waits is part of it."""
        if self._waiting and isinstance(self._waiting[-1], ChangedAll):
            return
        self._waiting.clear()
        self._waiting.append(ChangedAll(why))
        self._wake.set()

    def _add(self, change: Changed[I]) -> None:
        if len(self._waiting) >= self._room:
            self._waiting.clear()
            return self._all("overflow")
        self._waiting.append(change)
        self._wake.set()
