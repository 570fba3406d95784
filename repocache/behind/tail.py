"""What waits in one stream, as a process that reads knows it: kept, and asked for what is new.

Owns the items and where each key has its own. What a row is with them is `reading`'s affair.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from functools import reduce

from repocache.behind.change import RowChange, unpack
from repocache.behind.positions import Item, Positions, StreamId
from repocache.behind.streams import Stream
from repocache.errors import CodecError

_Held = tuple[Item, RowChange]


class Tail:
    """Of one stream.

    1. A reader asks for what is new in the stream; 2. he reads the row, and in the same statement
    how far the stream is written; 3. what is beyond that is pending. What was accepted before 1 is
    in the tail or, taken out because it was written, in the row: nothing is missing. What is in
    both is told by its id: nothing counts twice.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._life = ""
        self._last: StreamId | None = None
        self._items: deque[tuple[Item, list[tuple[str, RowChange]]]] = deque()
        self._by_key: dict[str, list[_Held]] = {}
        self._turn = asyncio.Lock()
        self._begun = 0
        self._done = 0

    async def refresh(self) -> None:
        """All that was accepted before this call is known. Callers share a question that was not
        sent when they came. Raises BehindUnavailable."""
        wanted = self._begun + 1
        async with self._turn:
            if self._done >= wanted:
                return
            self._begun += 1
            asked = self._begun
            life, new = await self.stream.since(self._life, self._last)
            if life != self._life:
                self._forget()
                self._life = life
            for item in new:
                self._keep(item)
            self._done = asked

    def pending(self, key: str, positions: Positions) -> RowChange | None:
        """What is to be done to the row of this key still, None: nothing. `positions`: that were
        read with it."""
        held = self._by_key.get(key, ())
        changes = [each for item, each in held if not positions.covers(item.life, item.id)]
        return reduce(RowChange.then, changes) if changes else None

    def settle(self, positions: Positions) -> None:
        """What was read says what is written: nobody asks for that again."""
        while self._items and positions.covers(self._items[0][0].life, self._items[0][0].id):
            item, changes = self._items.popleft()
            for key, _ in changes:
                held = self._by_key.get(key, [])
                held[:] = [each for each in held if each[0] is not item]
                if not held:
                    self._by_key.pop(key, None)

    def _keep(self, item: Item) -> None:
        changes = list(_readable(item))
        self._last = item.id
        self._items.append((item, changes))
        for key, change in changes:
            self._by_key.setdefault(key, []).append((item, change))

    def _forget(self) -> None:
        self._items.clear()
        self._by_key.clear()
        self._last = None


def _readable(item: Item) -> Iterator[tuple[str, RowChange]]:
    """Nothing of what will be a dead letter."""
    try:
        yield from unpack(item.data)
    except CodecError:
        return
