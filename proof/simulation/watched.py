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

from proof.simulation.forger import FORGER
from proof.simulation.server import Key
from repocache.bookmark import Bookmark
from repocache.cache.entry import CachedRow, Row, Source
from repocache.cache.inflight import InflightLoad
from repocache.cache.loader import Loader
from repocache.cache.tiered import TieredCache
from repocache.records.message import Message
from repocache.routing.around import current_session
from repocache.runtime.cache import RunningCache

if TYPE_CHECKING:
    from proof.simulation.service import Service


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

    def __init__(self, source: Source, cache: RunningCache, service: Service) -> None:
        super().__init__(source, cache.shared, current_session)
        self.service = service
        loader = WatchedLoader(source, cache.shared, self._values, self.switch.tier)
        loader.service, loader.owner = service, self._owner
        self._loader = loader
        taken_away = self._fallback._taken_away

        async def noted(asked: InflightLoad) -> CachedRow | None:
            """It is no load's answer: the database is away, and nobody demands anything of it but
            the sessions that wrote."""
            found, notes = await taken_away(asked), JOINED.get()
            if found is not None and notes is not None:
                notes.pop((self._owner, asked.key[1]), None)
            return found

        self._fallback._taken_away = noted  # type: ignore[method-assign]

    def _ask(self, id: Any, bookmark: Bookmark | None) -> InflightLoad:
        asked = super()._ask(id, bookmark)
        if asked.reply is not None:
            self.service.began[asked] = (self.service.applied((self._owner, id)), self.service.now)
        return asked

    def _hit(self, asked: InflightLoad, value: bytes | None) -> CachedRow | None:
        need, began = self.service.began.pop(asked)
        cell = super()._hit(asked, value)
        if cell is not None:
            key = (self._owner, asked.key[1])
            self.service.served_far(key, version_of(cell), need)
            self.service.loaded(key, began)
        return cell


class WatchedLoader(Loader):
    """The loads of one owner; the oracle is told of each, of who joined it and of what it
    brought."""

    service: Service
    owner: str

    def load(self, asked: InflightLoad) -> asyncio.Future[CachedRow]:
        key, began = (self.owner, asked.key[1]), self.service.began
        before = self._inflight.get(key, direct=asked.direct)
        waiter = super().load(asked)
        load = self._inflight.get(key, direct=asked.direct)
        if load is not None and load is before:
            self._note_joined(asked, load)
        if load is not None and load not in began:
            began[load] = (self.service.applied(key), self.service.now)
        return waiter

    def _note_joined(self, asked: InflightLoad, load: InflightLoad) -> None:
        notes, key = JOINED.get(), (self.owner, asked.key[1])
        if notes is None:
            return
        _, began = self.service.began.get(load, (0, 0.0))
        need = None if asked.direct else self.service.heard.need_of_load(key, began)
        mark = asked.bookmark
        behind = mark is not None and bool(mark.position) and mark is not load.bookmark
        behind = behind and mark is not None and mark.expires > time.time()
        notes[key] = Joined(need, load.direct, behind, load)

    def _answer(self, load: InflightLoad, cached: CachedRow, tier: str) -> None:
        need, _ = self.service.began.get(load, (0, 0.0))
        if tier in ("l2", "stale"):
            self.service.served_far((self.owner, load.key[1]), version_of(cached), need)
            self.service.by_redis.add(load)
        super()._answer(load, cached, tier)

    def _end(self, load: InflightLoad, *, landed: bool) -> None:
        _, began = self.service.began.pop(load, (0, 0.0))
        if landed:
            self.service.loaded((self.owner, load.key[1]), began)
        super()._end(load, landed=landed)

    def _fail(self, loads: Sequence[InflightLoad], error: BaseException) -> None:
        for load in loads:
            self.service.began.pop(load, None)
        super()._fail(loads, error)


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
        if self._service.redis is not None:
            self._heard.note(self._oracle.cached_selects(self._service.redis))

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
