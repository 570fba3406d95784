"""Reads inside a unit of work: the transaction's own, tracked entities from the primary, never from
a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Self, TypeVar

from sqlalchemy import Executable, Result, Select
from sqlalchemy import Row as SqlRow
from sqlalchemy import inspect as inspect_entity
from sqlalchemy import select as select_entities
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import with_polymorphic
from sqlalchemy.sql.selectable import SelectBase

from repocache.cache.entry import CachedRow, Row
from repocache.cache.l1_reader import Peek, no_l1
from repocache.errors import UsageError
from repocache.mapping.lookup import LookupPlan
from repocache.mapping.plan import EntityPlan
from repocache.mapping.statement import load_statement
from repocache.repository.beside import CountBinding
from repocache.repository.cached_queries import NOT_CACHED, CachingWish
from repocache.repository.count_rows import CountAccess, CountsInWork
from repocache.repository.matches import LookupBinding, Matches
from repocache.repository.relations import Branch
from repocache.repository.relationships import NOTHING_CACHED
from repocache.repository.unreadable import any_row, one_row, readable

M = TypeVar("M")
T = TypeVar("T")


class SessionAccess(Generic[M]):
    """The fit of `Access` for one unit of work.

    `alone`: gives its session for one statement. Raises UsageError once it has ended, and while
    another statement of it is under way.
    """

    def __init__(
        self,
        plan: EntityPlan[M],
        alone: Callable[[], AbstractContextManager[AsyncSession]],
        lookups: Mapping[str, LookupBinding],
        counts: Mapping[str, CountBinding],
    ) -> None:
        self._plan = plan
        self._alone = alone
        self.peek: Peek = no_l1
        self._has_children = len(list(plan.mapper.self_and_descendants)) > 1
        self.all_rows = self.all_entities = plan.entities
        self.lists = NOTHING_CACHED.lists
        self.lookups: Mapping[str, Matches[M]] = {
            name: InUnitOfWork(each.in_work, self) for name, each in lookups.items()
        }
        self.counts: Mapping[str, CountAccess] = {
            name: CountsInWork(each, self) for name, each in counts.items()
        }

    async def cached_rows(self, ids: Sequence[Any]) -> Mapping[Any, CachedRow]:
        plan = self._plan

        def kept(result: Result[Any]) -> dict[Any, Row]:
            rows = map(plan.row, result)
            return {plan.id_of_row(row): row for row in rows}

        with self._alone() as session:
            rows = await self._by_id(session, plan.select, ids, kept)
        return {id: CachedRow(rows.get(id)) for id in ids}

    async def locked(self, ids: Sequence[Any]) -> Mapping[Any, Row]:
        """Rows by id, locked until the transaction ends, in the order of their ids: two who lock
        the same do not wait for each other. Those that are not there are missing."""
        plan = self._plan
        rows = plan.select.order_by(*plan.id_columns).with_for_update(of=list(plan.mapper.tables))

        def kept(result: Result[Any]) -> dict[Any, Row]:
            return {plan.id_of_row(row): row for row in map(plan.row, result)}

        with self._alone() as session:
            return await self._by_id(session, rows, ids, kept)

    async def entity(self, id: Any) -> M | None:
        with self._alone() as session:
            held = self._held(session, id)
            if held is not None:
                return held
            return (await self._load(session, (id,))).get(_key(id))

    async def entities(self, ids: Sequence[Any]) -> dict[Any, M]:
        """One statement for those that the session does not hold."""
        with self._alone() as session:
            await _flush(session)
            found = {id: self._held(session, id) for id in ids}
            asked = [id for id, entity in found.items() if entity is None]
            loaded = await self._load(session, asked) if asked else {}
        found.update((id, loaded.get(_key(id))) for id in asked)
        return {id: entity for id, entity in found.items() if entity is not None}

    async def select(self, statement: Select[Any]) -> list[M]:
        with self._alone() as session:
            return await self._answer(session, statement, _entities, any_row(self._plan.model))

    async def load(self, statement: Select[Any]) -> list[M]:
        return await self.select(statement)

    async def rows(self, statement: Executable) -> Sequence[SqlRow[Any]]:
        with self._alone() as session:
            return await self._answer(session, statement, Result.all, "a row")

    async def bring(self, entities: Iterable[M], wanted: Sequence[Branch]) -> None:
        """SQLAlchemy's own way: a select that finds them in the session, and fills what they have
        not loaded."""
        ids = [inspect_entity(each).identity for each in entities]
        options = [each.options for each in wanted]
        model = self._plan.model
        with self._alone() as session:
            dialect = session.get_bind(self._plan.mapper).dialect
            rows = self.all_entities.options(*options)
            statement = load_statement(rows, self._plan.layout.id_stored, dialect)
            single = len(self._plan.id_columns) == 1
            parameters = statement.parameters([id[0] if single else id for id in ids if id])
            select = statement.select.params(parameters)
            await self._answer(session, select, _entities, any_row(model))

    def caching(self, wish: CachingWish) -> Self:
        raise UsageError(NOT_CACHED)

    def analysed(self, statement: SelectBase) -> Sequence[str]:
        raise UsageError(NOT_CACHED)

    async def by_value(self, lookup: LookupPlan, values: Sequence[Any]) -> dict[Any, M]:
        """The entities of the rows that have these values in the lookup's columns: whatever the
        session itself believes of those that it holds."""
        columns = lookup.columns

        def by_value(result: Result[Any]) -> dict[Any, M]:
            found = {tuple(value): entity for entity, *value in map(tuple, result.unique())}
            return {_id(value): entity for value, entity in found.items()}

        with self._alone() as session:
            dialect = session.get_bind(self._plan.mapper).dialect
            stored = lookup.ids.layout.id_stored
            rows = load_statement(self.all_rows.add_columns(*columns), stored, dialect)
            select = rows.select.params(rows.parameters(values))
            what = any_row(self._plan.model)
            found = await self._answer(session, select, by_value, what)
        return {value: found[value] for value in values if value in found}

    def _held(self, session: AsyncSession, id: Any) -> M | None:
        """The session's own entity, if it is as its transaction knows it: what `session.get` would
        give without a statement."""
        key = self._plan.mapper.identity_key_from_primary_key(_key(id))
        entity = session.sync_session.identity_map.get(key)
        if not isinstance(entity, self._plan.model) or inspect_entity(entity).expired:
            return None
        return entity

    async def _load(self, session: AsyncSession, ids: Sequence[Any]) -> dict[tuple[Any, ...], M]:
        model: Any = self._plan.model
        rows = select_entities(with_polymorphic(model, "*") if self._has_children else model)
        loaded: list[M] = await self._by_id(session, rows, ids, _entities)
        return {inspect_entity(entity).identity: entity for entity in loaded}

    async def _by_id(
        self,
        session: AsyncSession,
        rows: Select[Any],
        ids: Sequence[Any],
        answer: Callable[[Result[Any]], T],
    ) -> T:
        """By arrays: one statement, and one text of it, for any number of ids."""
        model = self._plan.model
        dialect = session.get_bind(self._plan.mapper).dialect
        statement = load_statement(rows, self._plan.layout.id_stored, dialect)
        select = statement.select.params(statement.parameters(ids))
        what = one_row(model, ids[0]) if len(ids) == 1 else any_row(model)
        return await self._answer(session, select, answer, what)

    async def _answer(
        self,
        session: AsyncSession,
        statement: Executable,
        answer: Callable[[Result[Any]], T],
        what: str,
    ) -> T:
        """Behind what the session has not flushed yet; SQLAlchemy 2.0 does so only before
        statements of the ORM."""
        await _flush(session)
        with readable(what):
            return answer(await session.execute(statement))


class InUnitOfWork(Generic[M]):
    """The fit of `Matches` for one unit of work."""

    def __init__(self, lookup: LookupPlan, access: SessionAccess[M]) -> None:
        self._lookup = lookup
        self._access = access
        self.peek: Peek = no_l1

    async def by_value(self, values: Sequence[Any]) -> dict[Any, M]:
        return await self._access.by_value(self._lookup, values)


def _entities(result: Result[Any]) -> list[Any]:
    return list(result.scalars().unique())


async def _flush(session: AsyncSession) -> None:
    if session.autoflush:
        await session.flush()


def _id(key: tuple[Any, ...]) -> Any:
    return key if len(key) > 1 else key[0]


def _key(id: Any) -> tuple[Any, ...]:
    return tuple(id) if isinstance(id, tuple) else (id,)
