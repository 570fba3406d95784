"""The read path of one process as the oracle watches it, and the codec of its rows.

Owns what is told to the oracle, and when. What is right is `oracle`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import column, select

from repocache.bookmark import Bookmark
from repocache.cache.asked import Asked
from repocache.cache.entry import CachedRow, Row
from repocache.cache.inflight import InflightLoad
from repocache.cache.tiered import TieredCache
from repocache.records.message import Message
from tests.simulation.forger import FORGER
from tests.simulation.server import Key

if TYPE_CHECKING:
    from tests.simulation.service import Service


class Joined(NamedTuple):
    """How a caller came to another's load. `need`: the version that his process had applied then,
    None: he does not use the cache himself; `goes_past`: nor does that load; `behind`: his bookmark
    asks for a position."""

    need: int | None
    goes_past: bool
    behind: bool
    flight: InflightLoad


JOINED: ContextVar[dict[Key, Joined] | None] = ContextVar("joined", default=None)
"""Of the caller's read."""


class Found(dict[int, int | None]):
    """Versions by id. `joined`: of those that came with another's load."""

    def __init__(self, versions: Mapping[int, int | None] = MappingProxyType({})) -> None:
        super().__init__(versions)
        self.joined: dict[Key, Joined] = {}


class Versions:
    """A codec of rows (id, version), and what `Rows` asks of a plan and of a statement."""

    model = tuple
    primary_only = False

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.select: Any = select(column("id"), column("version"))

    def encode(self, row: Row) -> bytes:
        return b"%d of %d" % (row[1], row[0])

    def decode(self, payload: bytes) -> Row:
        version, id = payload.split(b" of ")
        return (int(id), int(version))

    def row(self, row: Row) -> Row:
        return row

    def entity(self, row: Row) -> Row:
        return row

    def id_of_row(self, row: Row) -> Any:
        return row[0]

    def parameters(self, ids: Sequence[int]) -> list[Key]:
        return [(self._owner, id) for id in ids]


class WatchedCache(TieredCache):
    """The read path; what L2 answers is shown to the oracle, with what was applied there before it
    was asked."""

    service: Service

    def _ask(self, id: Any, bookmark: Bookmark | None) -> Asked:
        asked = super()._ask(id, bookmark)
        if asked.reply is not None:
            self.service.began[asked] = (self.service.applied((self._owner, id)), self.service.now)
        return asked

    def _hit(self, asked: Asked, value: bytes | None) -> CachedRow | None:
        need, began = self.service.began.pop(asked)
        cell = super()._hit(asked, value)
        if cell is not None:
            key = (self._owner, asked.key[1])
            self.service.served_far(key, version_of(cell), need)
            self.service.loaded(key, began)
        return cell

    def _load(self, asked: Asked) -> asyncio.Future[CachedRow]:
        id = asked.key[1]
        before = self._flights.get((self._owner, id), direct=asked.direct)
        waiter = super()._load(asked)
        flight = self._flights.get((self._owner, id), direct=asked.direct)
        if flight is not None and flight is before:
            self._note_joined(asked, flight)
        if flight is not None and flight not in self.service.began:
            self.service.began[flight] = (self.service.applied((self._owner, id)), self.service.now)
        return waiter

    def _note_joined(self, asked: Asked, flight: InflightLoad) -> None:
        notes, key = JOINED.get(), (self._owner, asked.key[1])
        if notes is not None:
            _, began = self.service.began.get(flight, (0, 0.0))
            need, bookmark = (
                None if asked.direct else self.service.heard.need_of_load(key, began),
                asked.bookmark,
            )
            behind = (
                bookmark is not None and bool(bookmark.position) and bookmark is not flight.bookmark
            )
            behind = behind and bookmark is not None and bookmark.expires > time.time()
            notes[key] = Joined(need, flight.direct, behind, flight)

    def answered(self, flight: InflightLoad, cell: CachedRow, tier: str) -> None:
        need, _ = self.service.began.get(flight, (0, 0.0))
        if tier == "l2":
            self.service.served_far((self._owner, flight.key[1]), version_of(cell), need)
            self.service.by_redis.add(flight)
        super().answered(flight, cell, tier)

    def ended(self, flight: InflightLoad, keep: bool) -> None:
        _, began = self.service.began.pop(flight, (0, 0.0))
        if keep:
            self.service.loaded((self._owner, flight.key[1]), began)
        super().ended(flight, keep)

    def failed(self, flight: InflightLoad, error: BaseException) -> None:
        self.service.began.pop(flight, None)
        super().failed(flight, error)


def version_of(cell: CachedRow) -> int | None:
    return None if cell.row is None else cell.row[1]


async def no_load(_: object) -> Mapping[Any, Row]:
    """Nothing is loaded to be stored."""
    return {}


class Hears:
    """The last of the channel's receivers: what this process was told."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._oracle = service.oracle
        self._heard = service.heard
        self._last: dict[int, tuple[str, int]] = {}

    def up(self) -> None:
        """What only a deposed Redis has told does not bind the next one, nor who believes that."""
        self._service.ups += 1
        self._last.clear()
        self._heard.leave(self._oracle.astray)

    def down(self) -> None: ...
    def forget_all(self) -> None: ...
    def new_history(self) -> None: ...

    def apply(self, message: Message) -> None:
        """With those that were lost before it. What somebody forged tells nothing."""
        if message.origin == FORGER:
            return
        incarnation, seq = self._last.get(message.bucket, ("", 0))
        first = seq + 1 if incarnation == message.incarnation else message.seq
        for each in range(first, message.seq + 1):
            self._heard.note(self._oracle.meant(message.incarnation, each))
        self._last[message.bucket] = (message.incarnation, message.seq)
