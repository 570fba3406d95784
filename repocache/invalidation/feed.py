"""`db.invalidations(...)`: the channel, for services that keep something derived of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field, replace
from typing import Generic, Self, TypeVar

import msgspec

from repocache.background.home import Home
from repocache.bookmark import Bookmark, Seen
from repocache.errors import RepocacheError, UsageError
from repocache.invalidation.channel import Receiver
from repocache.keys import Keys
from repocache.records.message import Message

I = TypeVar("I")  # noqa: E741  # the id of the repository, as everywhere


@dataclass(frozen=True, slots=True)
class Changed(Generic[I]):
    """Rows were written. Read them behind `bookmark`, as in `db.causal_session(change.bookmark)`,
    or a lagging replica answers."""

    ids: tuple[I, ...]
    bookmark: Bookmark


@dataclass(frozen=True, slots=True)
class ChangedAll:
    """Anything may have changed: rebuild, behind `bookmark`, or a lagging replica answers.

    `why`: "start", "connected", "gap", "overflow", "owner" (all of its rows), "history".
    """

    why: str
    bookmark: Bookmark = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Audience:
    """`receivers`: who hears the channel, in the loop that is `home`. `history`: the line of WAL
    that this process lives in."""

    receivers: MutableSequence[Receiver]
    home: Home
    history: Callable[[], str]


class Feed(Generic[I]):
    """An async iterator over the changes of one owner, first of all `ChangedAll("start")`.

    At most `room` changes wait for a slow reader; beyond, they become one `ChangedAll("overflow")`.
    `window`: seconds for which a change's bookmark counts, from when it is handed over, by the
    `clock` that bookmarks live by. `audience`: it joins them. To be entered once; the iteration
    ends when the block is left, or the database is. In another loop than theirs it raises
    OtherLoop.
    """

    def __init__(
        self,
        keys: Keys,
        audience: Audience,
        *,
        room: int,
        window: float,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._home = audience.home
        self._line = audience.history
        self._receivers = audience.receivers
        self._room = room
        self._window = window
        self._clock = clock
        self._waiting: deque[Changed[I] | ChangedAll] = deque()
        self._last: dict[int, tuple[str, int, str]] = {}
        self._reached = 0
        self._state = "not entered"

    async def __aenter__(self) -> Self:
        if self._state != "not entered":
            raise UsageError(
                "this feed was entered before: call `db.invalidations(...)` for another"
            )
        self._home.check()
        self._state, self._wake = "open", asyncio.Event()
        self._receivers.append(self)
        self._all("start")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """No more changes are taken; who waits for the next one learns that there is none."""
        if self._state == "open":
            self._receivers.remove(self)
        self._state = "ended"
        self._waiting.clear()
        self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Changed[I] | ChangedAll:
        while not self._waiting:
            if self._state == "ended":
                raise StopAsyncIteration
            if self._state == "not entered":
                raise UsageError(
                    "use the feed in a block: `async with db.invalidations(...) as changes:`"
                )
            self._home.check()
            self._wake.clear()
            await self._wake.wait()
        change, now = self._waiting.popleft(), self._clock()
        mark = msgspec.structs.replace(change.bookmark, expires=now + self._window, made=now)
        return replace(change, bookmark=mark)

    def up(self) -> None:
        self._last.clear()
        self._all("connected")

    def down(self) -> None:
        """Nothing can be said before it is up again."""

    def forget_all(self) -> None:
        self._all("gap")

    def new_history(self) -> None:
        """What was lost was perhaps read by now, and nobody will say anything of it any more:

        1. the primary fails over, and loses a commit; 2. a message of the new history comes, and
        the consumer rebuilds; 3. this process has not noticed yet, and answers with the lost
        commit; 4. it notices.
        """
        self._reached = 0
        self._all("history")

    def apply(self, message: Message) -> None:
        """What does not follow on a record's last change is a loss, or a forged message took its
        place; a record made anew begins at 0, which is no loss unless its history is new too.

        Anybody may publish. So a history that this process has not found itself says no more than
        that something may have been lost, and no message lets a replica answer that has not
        replayed what an earlier one asked for.
        """
        at = (message.incarnation, message.seq, message.tip)
        last = self._last.get(message.bucket)
        if at == last:
            return None
        self._last[message.bucket] = at
        if message.history != self._line():
            return self._all("history")
        if last is not None and not message.follows(last):
            return self._all("gap")
        if self._keys.prefix in message.generations:
            return self._all("owner")
        ids = self._ids(message)
        if ids:
            self._reached = max(self._reached, message.position or 0)
            position = None if message.position is None else self._reached
            wrote = {message.bucket: Seen(message.incarnation, message.seq)}
            self._add(Changed(ids, self._bookmark(message.history, position, wrote)))

    def _ids(self, message: Message) -> tuple[I, ...]:
        mark = self._keys.prefix + ":"
        try:
            return tuple(self._keys.id(text) for text in message.keys if text.startswith(mark))
        except RepocacheError:
            self._all("gap")
            return ()

    def _bookmark(
        self, history: str, position: int | None, wrote: dict[int, Seen] | None
    ) -> Bookmark:
        """Its life begins when it is handed over."""
        return Bookmark(history, position, wrote, covered=True, expires=0.0)

    def _all(self, why: str) -> None:
        """What waits is part of it. Where what may have been missed was written is not known, nor
        whether a cache has heard of it: the primary answers."""
        if self._waiting and isinstance(self._waiting[-1], ChangedAll):
            why = self._waiting[-1].why
        self._waiting.clear()
        self._waiting.append(ChangedAll(why, self._bookmark("", None, None)))
        self._wake.set()

    def _add(self, change: Changed[I]) -> None:
        if len(self._waiting) >= self._room:
            return self._all("overflow")
        self._waiting.append(change)
        self._wake.set()
