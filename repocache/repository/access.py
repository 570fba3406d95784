"""Where a repository's reads go: through the cache, to a node, or into a unit of work. One port,
three fits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec
from sqlalchemy import Executable, Select
from sqlalchemy import Row as SqlRow
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.sql.selectable import SelectBase

from repocache.background.tasks import AT_ONCE
from repocache.bookmark import Bookmark
from repocache.cache.entry import CachedRow, Row
from repocache.cache.l1_reader import Peek, ReadRecorder, no_l1
from repocache.cache.switch import CacheMode
from repocache.cache.tiered import TieredCache
from repocache.errors import UsageError
from repocache.events import SerialReads
from repocache.repository.beside import CountBinding
from repocache.repository.cached_queries import NOT_CACHED, CachingWish
from repocache.repository.count_rows import CountAccess
from repocache.repository.matches import (
    CachedLookup,
    LookupBinding,
    Matches,
    NodeMatches,
    ThroughCaches,
)
from repocache.repository.relations import Branch
from repocache.repository.relationships import (
    NOTHING_CACHED,
    CachedTargets,
    Members,
    Relationships,
)
from repocache.repository.rows import Rows
from repocache.routing.around import current_session
from repocache.routing.serial_count import MANY, caller

M = TypeVar("M")

NONE: Mapping[Any, Any] = MappingProxyType({})
"""No lookups, no counts."""


class Access(Protocol[M]):
    """What a repository needs of the place that it reads from. Ids come checked, and each once."""

    peek: Peek
    """The answer that is at hand without waiting, if there is one."""
    all_rows: Select[Any]
    """What `select` takes, to be narrowed down."""

    @property
    def all_entities(self) -> Select[Any]:
        """What `load` takes, to be narrowed down, and given SQLAlchemy's loader options."""
        ...

    lookups: Mapping[str, Matches[M]]
    """By their names."""
    counts: Mapping[str, CountAccess]
    """By their names."""
    lists: Mapping[RelationshipProperty[Any], Members]
    """The ids that these relationships lead to, where they are cached."""

    async def cached_rows(self, ids: Sequence[Any]) -> Mapping[Any, CachedRow]:
        """For views: a cached for every id."""
        ...

    async def entity(self, id: Any) -> M | None:
        """The most frequent case."""
        ...

    async def entities(self, ids: Sequence[Any]) -> dict[Any, M]:
        """Those that exist, in the order asked."""
        ...

    async def select(self, statement: Select[Any]) -> list[M]:
        """The entities of `all_rows`, narrowed down."""
        ...

    async def load(self, statement: Select[Any]) -> list[M]:
        """The entities of `all_entities`, narrowed down."""
        ...

    async def rows(self, statement: Executable) -> Sequence[SqlRow[Any]]:
        """Of a select of columns."""
        ...

    async def bring(self, entities: Iterable[M], wanted: Sequence[Branch]) -> None:
        """Set these relationships of entities that were read here."""
        ...

    def caching(self, wish: CachingWish) -> Self:
        """The same, whose selects are cached so. Raises UsageError where that is not to be
        had."""
        ...

    def analysed(self, statement: SelectBase) -> Sequence[str]:
        """What the cached answer of a select depends on, in words. Raises UsageError."""
        ...


class NodeAccess(Generic[M]):
    """Reads nodes of the topology, past the cache."""

    def __init__(
        self,
        rows: Rows[M],
        lookups: Mapping[str, LookupBinding],
        counts: Mapping[str, CountBinding] = NONE,
        cached: CachedTargets = NOTHING_CACHED,
    ) -> None:
        """`cached`: what relationships lead to, where it is read by id."""
        self._rows = rows
        self._relationships = Relationships(rows.plan, self, cached)
        self._entity = rows.plan.entity
        self.peek: Peek = no_l1
        self.all_rows = rows.plan.select
        self.lists = cached.lists
        self.past_caches = {name: NodeMatches(each, rows) for name, each in lookups.items()}
        self.lookups: Mapping[str, Matches[M]] = self.past_caches
        self.counts: Mapping[str, CountAccess] = {
            name: NodeAccess(replace(each.ids, route=rows.route), NONE)
            for name, each in counts.items()
        }

    @property
    def all_entities(self) -> Select[Any]:
        return self._rows.plan.entities

    async def cached_rows(self, ids: Sequence[Any]) -> Mapping[Any, CachedRow]:
        rows = await self._rows.by_id(ids)
        return {id: CachedRow(rows.get(id)) for id in ids}

    async def entity(self, id: Any) -> M | None:
        row = (await self._rows.by_id((id,))).get(id)
        return None if row is None else self._entity(row)

    async def entities(self, ids: Sequence[Any]) -> dict[Any, M]:
        rows = await self._rows.by_id(ids)
        return {id: self._entity(rows[id]) for id in ids if id in rows}

    async def select(self, statement: Select[Any]) -> list[M]:
        return [self._entity(row) for row in await self._rows.select(statement)]

    async def load(self, statement: Select[Any]) -> list[M]:
        return await self._rows.entities(statement)

    async def rows(self, statement: Executable) -> Sequence[SqlRow[Any]]:
        return await self._rows.rows(statement)

    async def bring(self, entities: Iterable[M], wanted: Sequence[Branch]) -> None:
        await self._relationships.bring(entities, wanted)

    def caching(self, wish: CachingWish) -> Self:
        raise UsageError(NOT_CACHED)

    def analysed(self, statement: SelectBase) -> Sequence[str]:
        raise UsageError(NOT_CACHED)


def past_caches(bookmark: Bookmark | None) -> Bookmark:
    """Asks the same of a node, and no cache."""
    return _NO_CACHE if bookmark is None else msgspec.structs.replace(bookmark, covered=False)


def never(_id: Any) -> bool:
    """Of ids that are all short."""
    return False


_NO_CACHE = Bookmark("", 0, {}, covered=False, expires=0.0)

Compared = Callable[[Mapping[Any, Row | None], Mapping[Any, Row | None]], None]
"""Is told what the cache had and what the database answered, for the same ids."""


class CachedAccess(NodeAccess[M]):
    """Reads by id go through the cache; whatever else goes to a node.

    Whatever L1 has not is read in the loop of the database alone (OtherLoop).
    A session with monotonic reads goes past the cache: an entry does not say how new a row it
    holds. `compared`: hears of the reads in shadow mode. `is_long`: whether an id is longer than
    caches keep.
    """

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        rows: Rows[M],
        cache: TieredCache,
        compared: Compared,
        *,
        monotonic: bool,
        is_long: Callable[[Any], bool] = never,
        lookups: Mapping[str, LookupBinding] = NONE,
        cached_lookups: Mapping[str, CachedLookup] = NONE,
        counts: Mapping[str, CountBinding] = NONE,
        cached_counts: Mapping[str, CountAccess] = NONE,
        cached: CachedTargets = NOTHING_CACHED,
    ) -> None:
        super().__init__(rows, lookups, counts, cached)
        self.counts = {**self.counts, **cached_counts}
        self.lookups = {
            name: ThroughCaches(past.lookup, cached_lookups[name], self, past)
            if name in cached_lookups
            else past
            for name, past in self.past_caches.items()
        }
        self._cache = cache
        self._compared = compared
        self._is_long = is_long
        self._asking = rows.nodes.routing.asking
        self._require_started = rows.nodes.topology.require_started
        self._monotonic = monotonic
        self.peek: Peek = no_l1 if monotonic else cache.peek_for_caller

    async def cached_rows(self, ids: Sequence[Any]) -> Mapping[Any, CachedRow]:
        self._require_started()
        session = current_session()
        if session is not None and self._monotonic:
            return await super().cached_rows(ids)
        bookmark = None if session is None else self._asking()
        if self._cache.switch.mode is CacheMode.SHADOW:
            return await self._shadowed(ids, bookmark)
        return await self._cached(ids, bookmark, None if session is None else session.recorder)

    async def entity(self, id: Any) -> M | None:
        self._require_started()
        session = current_session()
        if session is not None and self._monotonic:
            return await super().entity(id)
        if session is None:
            return await self._entity_past_l1(id, None)
        if session.recorder is not None:
            return (await self.entities((id,))).get(id)
        owner, serial = self._rows.owner, session.serial
        if serial.begin(owner):
            self._rows.nodes.observe(SerialReads(owner, MANY, caller()))
        try:
            return await self._entity_past_l1(id, self._asking())
        finally:
            serial.end(owner)

    async def _entity_past_l1(self, id: Any, bookmark: Bookmark | None) -> M | None:
        if self._cache.switch.mode is CacheMode.SHADOW:
            row = (await self._shadowed((id,), bookmark))[id].row
        else:
            row = (
                await self._cache.read_past_l1(
                    id, past_caches(bookmark) if self._is_long(id) else bookmark
                )
            ).row
        return None if row is None else self._entity(row)

    async def _cached(
        self,
        ids: Sequence[Any],
        bookmark: Bookmark | None,
        recorder: ReadRecorder | None = None,
    ) -> Mapping[Any, CachedRow]:
        if len(ids) == 1 and recorder is None:
            id = ids[0]
            if self._is_long(id):
                bookmark = past_caches(bookmark)
            return {id: self.peek(id) or await self._cache.read_past_l1(id, bookmark)}
        long = list(filter(self._is_long, ids))
        if not long:
            return await self._cache.get_many(ids, bookmark, recorder)
        beside = await self._cache.get_many(long, past_caches(bookmark), recorder)
        rest = [id for id in ids if id not in beside]
        return beside | await self._cache.get_many(rest, bookmark, recorder)

    async def _shadowed(
        self, ids: Sequence[Any], bookmark: Bookmark | None
    ) -> Mapping[Any, CachedRow]:
        """The database's answer. The cache is read beside it, and what goes wrong there is not the
        caller's."""
        cached: Mapping[Any, CachedRow] | BaseException
        answered: Mapping[Any, CachedRow] | BaseException
        cached, answered = await asyncio.gather(
            self._cached(ids, bookmark), super().cached_rows(ids), return_exceptions=True
        )
        if isinstance(answered, BaseException):
            raise answered
        if not isinstance(cached, BaseException):
            self._compared(
                {id: cached.row for id, cached in cached.items()},
                {id: cached.row for id, cached in answered.items()},
            )
        return answered

    async def entities(self, ids: Sequence[Any]) -> dict[Any, M]:
        cached_rows = await self.cached_rows(ids)
        found: dict[Any, M] = {}
        for number, id in enumerate(ids, 1):
            row = cached_rows[id].row
            if row is not None:
                found[id] = self._entity(row)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return found
