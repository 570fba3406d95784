"""What users write: `class PageViews(WriteBehind[PageView, int])`. Changes are accepted at once,
and written to the database soon, exactly once.

Owns the few methods and the declaration. What each does is its part's affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from repocache.behind.accepting import Acceptor
from repocache.behind.change import Number, RowChange
from repocache.behind.columns import WrittenColumns
from repocache.behind.dead_letters import DeadLetters
from repocache.behind.flush import Flush
from repocache.behind.flusher import Flusher
from repocache.behind.reading import PendingReader
from repocache.behind.streams import Stream
from repocache.errors import NotFound, UsageError
from repocache.keys import KeyOwner, bucket_of, shown
from repocache.mapping.options import MappingOptions

M = TypeVar("M")
I = TypeVar("I")  # noqa: E741  # as in Repository


@dataclass(frozen=True, slots=True)
class Backlog:
    """`changes` that wait in Redis, and for how many seconds the first of them has: the lag."""

    changes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBehind(Generic[M]):
    """What a `WriteBehind` of a running database works with. `acceptors`: of the streams that are
    written to; `flushers`: of these, and of those that were once. `check`: raises NotStarted once
    the database was left, and OtherLoop."""

    columns: WrittenColumns[M]
    acceptors: Sequence[Acceptor]
    flushers: Sequence[Flusher]
    reader: PendingReader[M]
    dead: DeadLetters
    check: Callable[[], None]

    async def accept(self, key: str, change: RowChange) -> None:
        """In the stream of this key."""
        self.check()
        await self.acceptors[bucket_of(key) % len(self.acceptors)].accept(key, change)

    @property
    def runs(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for ever."""
        accepting = [each.run for each in self.acceptors]
        return [*accepting, *(each.run for each in self.flushers)]

    @property
    def streams(self) -> Sequence[Stream]:
        return [each.stream for each in self.flushers]


class WriteBehind(Generic[M, I]):
    """Accepts changes of entities `M`, by their id `I`, into Redis, and writes them in batches, for
    counters, metrics and logs. Declare `owner`; get one from `db[PageViews]`.

    What `add` and `put` have returned for is written exactly once, whoever of the processes dies,
    and whatever becomes of the database's connections; it is lost only if Redis loses it
    (docs/behind.md). Each raises, and has changed nothing: BacklogFull, BehindUnavailable if Redis
    cannot answer, InvalidId, UsageError. AcceptanceUnknown: it may have.
    """

    owner: ClassVar[KeyOwner]
    flush: ClassVar[Flush] = Flush()
    mapping: ClassVar[MappingOptions] = MappingOptions()

    def __init__(self, opened: OpenBehind[M] | None = None) -> None:
        if opened is None:
            name = type(self).__name__
            raise UsageError(f"{name}() belongs to a database: use db[{name}]")
        self._opened = opened
        self._columns = opened.columns

    async def add(self, id: I, /, **numbers: Number) -> None:
        """Add to columns of a row: `add(7, hits=1)`. In any order the sum is the same. A row that
        is not there is made, and begins at 0; where it needs more columns than these it has to be
        put first."""
        change = self._columns.adding(numbers)
        await self._opened.accept(self._columns.keys.text(id), change)

    async def put(self, entity: M) -> None:
        """Set the columns that the entity has, and leave the others as they are. Of two the last
        one wins; what is added after it counts on top. Nothing of relationships is taken. Raises
        CachedEntityRefused."""
        id, change = self._columns.setting(entity)
        await self._opened.accept(self._columns.keys.text(id), change)

    async def get(self, id: I) -> M | None:
        """The row as the primary has it, with what is pending; None if there is neither. A fresh
        entity, detached, that is refused as the base of a write. Raises BehindUnavailable,
        DatabaseUnavailable."""
        return (await self.get_many((id,))).get(id)

    async def get_many(self, ids: Sequence[I]) -> dict[I, M]:
        """Those that exist, in the order asked, each as of `get`."""
        self._opened.check()
        return await self._opened.reader.entities(self._columns.keys.distinct(ids))

    async def require(self, id: I) -> M:
        """As `get`. Raises NotFound."""
        found = await self.get(id)
        if found is None:
            raise NotFound(f"{self._columns.plan.model.__name__} {shown(id)} does not exist")
        return found

    async def flushed(self) -> None:
        """Returns once all that was accepted before, by any process, is in the database or among
        the dead letters; flushes it, if nobody else does. Waits as long as it takes: give it a
        deadline. Raises BehindUnavailable, AcceptedLost, and what the database raises."""
        self._opened.check()
        await asyncio.gather(*(each.flushed() for each in self._opened.flushers))

    async def backlog(self) -> Backlog:
        """What waits, of all processes. Raises BehindUnavailable."""
        self._opened.check()
        found = await asyncio.gather(*(each.look() for each in self._opened.streams))
        return Backlog(
            sum(each.left for each in found), max((each.waited for each in found), default=0.0)
        )

    @property
    def dead(self) -> DeadLetters:
        """What the database refused: listed, replayed, dropped."""
        return self._opened.dead


AnyBehind = type[WriteBehind[Any, Any]]
