"""What callers hand over, on its way into one stream: those of one moment go together, one call at
a time.

Owns what is on its way, and what becomes of it if the connection is lost. Whether a change is right
was decided before.
"""

from __future__ import annotations

import asyncio
from collections import deque

from repocache.behind.change import RowChange, pack
from repocache.behind.flush import Flush
from repocache.behind.scripts import ACCEPT
from repocache.behind.streams import StreamNames
from repocache.errors import (
    AcceptanceUnknown,
    BacklogFull,
    BehindUnavailable,
    CacheUnavailable,
    NotStarted,
    RepocacheError,
)
from repocache.records import Nonces
from repocache.records.redis import Peer
from repocache.redis_link import Link, ReplyError

MOST_TOGETHER = 1_000
"""Changes of one call."""
BYTES_TOGETHER = 256 * 1024
"""Of one call, about; a single change may have more."""
AGAIN = 0.05
"""Seconds between two attempts of a call."""
MARKED = 3_600
"""Seconds that Redis knows the number of a process's last call; far longer than it asks again."""


class _Call:
    """Changes that go together, and who waits for them."""

    def __init__(self) -> None:
        self.changes: dict[str, RowChange] = {}
        self.waiting: list[asyncio.Future[None]] = []
        self.size = 0

    def add(self, key: str, change: RowChange) -> asyncio.Future[None]:
        before = self.changes.get(key)
        self.changes[key] = change if before is None else before.then(change)
        self.size += change.size
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def settle(self, error: RepocacheError | None) -> None:
        for future in self.waiting:
            if future.done():
                continue  # its caller was cancelled
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(type(error)(str(error)))


class Acceptor:
    """Of one stream, in one process. `run` has to run."""

    def __init__(
        self, names: StreamNames, flush: Flush, link: Link, peer: Peer, nonces: Nonces
    ) -> None:
        self._names = names
        self._flush = flush
        self._link = link
        self._peer = peer
        self._nonces = nonces
        self._most = min(MOST_TOGETHER, flush.room)
        self._queue: deque[_Call] = deque()
        self._sent: _Call | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = True
        self._number = 0
        self._life = ""

    async def accept(self, key: str, change: RowChange) -> None:
        """Returns once Redis has it. Raises BacklogFull and BehindUnavailable, and then it is not
        accepted; AcceptanceUnknown, and then it may be; NotStarted. A caller that is cancelled
        takes nothing back."""
        if not self._open:
            raise NotStarted
        last = self._queue[-1] if self._queue else None
        if last is None or (
            key not in last.changes
            and (len(last.changes) >= self._most or last.size + change.size > BYTES_TOGETHER)
        ):
            last = _Call()
            self._queue.append(last)
        future = last.add(key, change)
        self._idle.clear()
        self._wake.set()
        await future

    async def run(self) -> None:
        """For ever. What is on its way when this is cancelled is not known to be accepted."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    self._sent = self._queue.popleft()
                    self._sent.settle(await self._send(self._sent))
                    self._sent = None
                self._idle.set()
        finally:
            if self._sent is not None:
                self._sent.settle(AcceptanceUnknown())
            while self._queue:
                self._queue.popleft().settle(NotStarted())
            self._sent = None
            self._idle.set()

    async def close(self) -> None:
        """Nothing is taken any more; returns when nothing is on its way."""
        self._open = False
        await self._idle.wait()

    async def _send(self, call: _Call) -> RepocacheError | None:
        """Until it is answered. What was sent once is sent again for `patience` seconds: it is
        accepted once, however often it comes."""
        self._number += 1
        data = pack(call.changes)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._flush.patience
        why, life, lost = "", "", False
        while True:
            try:
                answered = self._ask(data, len(call.changes), life)
            except CacheUnavailable as error:
                why = str(error)
                if not lost:
                    return BehindUnavailable(f"nothing was accepted: {why}")
            else:
                try:
                    return self._heard(await answered, len(call.changes))
                except ReplyError as error:
                    why = f"Redis: {error}"
                    if not lost:
                        return BehindUnavailable(f"nothing was accepted: {why}")
                except CacheUnavailable as error:
                    why, life, lost = str(error), self._life or "?", True
            if loop.time() > until:
                return AcceptanceUnknown(
                    f"the connection was lost before Redis said whether it has the change: {why}"
                )
            await asyncio.sleep(AGAIN)

    def _ask(self, data: bytes, count: int, life: str) -> asyncio.Future[list[bytes]]:
        names = self._names
        keys = (names.items, names.state, names.mark(self._nonces.process))
        given = (self._peer.server, self._nonces(), self._number, life)
        return self._link.run(ACCEPT, keys, (*given, self._flush.room, count, data, MARKED))

    def _heard(self, reply: list[bytes], count: int) -> RepocacheError | None:
        what = reply[0]
        if what == b"accepted":
            self._life = reply[1].decode() or self._life
            return None
        if what == b"full":
            return BacklogFull(
                f"{reply[1]!r} changes wait in {self._names.items}, {count} have come, and "
                f"{self._flush.room} may wait: nothing of these was accepted; see why the flush "
                "does not keep up (FlushFailed), or give Flush(backlog=...) more"
            )
        return AcceptanceUnknown(
            "the connection was lost before Redis said whether it has the change, and what it "
            "knew then is gone"
        )
