"""Changes of many rows as few statements, and those that the database refuses found by halving.

Owns the statements. The transaction is `flushing`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import Column, Executable, bindparam, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from repocache.behind.change import Number, RowChange
from repocache.behind.columns import WrittenColumns
from repocache.engines.driver_errors import sqlstate
from repocache.errors import CodecError, InvalidId, OwnerClash
from repocache.mapping.statement import LoadStatement
from repocache.redaction.foreign import in_brief
from repocache.transactions.unit_of_work import PrimaryTransaction

OF_ROWS = ("21", "22", "23", "44", "54", "P0")
"""SQLSTATE: what the server refuses a row's values with: cardinality, data, integrity, a view's
check, program limits, what a trigger raises. Anything else is tried again."""
Values = dict[str, Any]


class _Row(NamedTuple):
    """`set`: the columns that are set, `added`: those that are added to, by attributes."""

    key: str
    id: tuple[Any, ...]
    set: Values
    added: dict[str, Number]

    @property
    def shape(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return tuple(sorted(self.set)), tuple(sorted(self.added))


class ChangeStatements:
    """For one mapped class. `loading`: its rows by ids."""

    def __init__(self, columns: WrittenColumns[Any], loading: LoadStatement) -> None:
        self._columns = columns
        self._loading = loading
        self._key: list[Column[Any]] = [
            each.column for each in columns.plan.layout.id_stored if isinstance(each.column, Column)
        ]

    async def write(
        self, work: PrimaryTransaction, changes: Mapping[str, RowChange]
    ) -> dict[str, str]:
        """In this transaction. Those that the database refuses, or that this release cannot read,
        by key, and why; they are left out. Raises what else goes wrong."""
        refused: dict[str, str] = {}
        shapes: defaultdict[tuple[Any, Any], list[_Row]] = defaultdict(list)
        for key, change in changes.items():
            try:
                row = self._row(key, change)
            except (CodecError, InvalidId, OwnerClash) as error:
                refused[key] = str(error)
            else:
                shapes[row.shape].append(row)
        for shape in sorted(shapes):
            # In one order everywhere: two who write the same rows do not wait for each other.
            rows = sorted(shapes[shape], key=lambda row: row.key)
            await self._write_shape(work, rows, refused)
        return refused

    def _row(self, key: str, change: RowChange) -> _Row:
        id = self._columns.keys.id(key)
        self._columns.keys.check(id)
        sets, adds = self._columns.values(change)
        parts = (id,) if self._columns.keys.single else tuple(id)
        return _Row(key, parts, sets, adds)

    async def _write_shape(
        self, work: PrimaryTransaction, rows: list[_Row], refused: dict[str, str]
    ) -> None:
        """All change the same columns. Where no row can be made of these, it has to be there:
        PostgreSQL asks for the missing values even if there is one to be updated."""
        sets, adds = rows[0].shape
        if self._columns.makes_rows(frozenset((*sets, *adds))):
            return await self._attempt(
                work,
                self._upsert(sets, adds),
                [(row.key, self._of_upsert(row)) for row in rows],
                refused,
            )
        there = await self._locked(work.session, [row.key for row in rows])
        for row in rows:
            if row.key not in there:
                refused[row.key] = (
                    f"there is no such row, and none can be made of {', '.join((*sets, *adds))}: "
                    "put() it with all that it needs before it is added to"
                )
        rows = [row for row in rows if row.key in there]
        if rows and (sets or adds):
            sent = [(row.key, self._of_update(row)) for row in rows]
            await self._attempt(work, self._update(sets, adds), sent, refused)

    async def _attempt(
        self,
        work: PrimaryTransaction,
        statement: Executable,
        rows: Sequence[tuple[str, Values]],
        refused: dict[str, str],
    ) -> None:
        """Of rows of which one is refused each half is tried by itself."""
        try:
            async with work.savepoint():
                await work.session.execute(statement, [sent for _, sent in rows])
        except (DBAPIError, StatementError) as error:
            if not is_refused(error):
                raise
            if len(rows) == 1:
                refused[rows[0][0]] = _why(error)
                return
            middle = len(rows) // 2
            await self._attempt(work, statement, rows[:middle], refused)
            await self._attempt(work, statement, rows[middle:], refused)

    async def _locked(self, session: AsyncSession, keys: Sequence[str]) -> set[str]:
        """Those of these rows that are there, kept until the transaction ends."""
        known = self._columns.keys
        ids = [known.id(key) for key in keys]
        held = [each.expression for each in self._columns.plan.layout.id_stored]
        statement = self._loading.select.with_only_columns(*held).with_for_update()
        found = await session.execute(statement, self._loading.parameters(ids))
        layout = self._columns.plan.layout
        texts = set()
        for row in found:
            parts = [
                part if stored.value is None else stored.value(part)
                for part, stored in zip(row, layout.id_stored, strict=True)
            ]
            texts.add(known.text(parts[0] if known.single else known.make(parts)))
        return texts

    def _upsert(self, sets: Sequence[str], adds: Sequence[str]) -> Executable:
        """Values are sent under the columns' own names, by which the ids are told to caches."""
        statement = insert(self._columns.table)
        by_name, new = self._columns.by_name, statement.excluded
        changed: dict[Column[Any], Any] = {}
        for name in sets:
            changed[by_name[name].column] = new[by_name[name].column.key]
        for name in adds:
            column = by_name[name].column
            changed[column] = func.coalesce(column, 0) + new[column.key]
        changed |= self._on_update(changed)
        if not changed:
            return statement.on_conflict_do_nothing(index_elements=self._key)
        named = {column.name: value for column, value in changed.items()}
        return statement.on_conflict_do_update(index_elements=self._key, set_=named)

    def _of_upsert(self, row: _Row) -> Values:
        by_name = self._columns.by_name
        ids = {column.key: part for column, part in zip(self._key, row.id, strict=True)}
        return ids | {
            by_name[name].column.key: value
            for name, value in (*row.set.items(), *row.added.items())
        }

    def _update(self, sets: Sequence[str], adds: Sequence[str]) -> Executable:
        wanted = [
            column == bindparam(f"rc_id_{at}", type_=column.type)
            for at, column in enumerate(self._key)
        ]
        by_name = self._columns.by_name
        given: dict[Column[Any], Any] = {}
        for name in (*sets, *adds):
            column = by_name[name].column
            value = bindparam(f"rc_{name}", type_=column.type)
            given[column] = value if name in sets else func.coalesce(column, 0) + value
        return update(self._columns.table).where(*wanted).values(given)

    def _of_update(self, row: _Row) -> Values:
        ids = {f"rc_id_{at}": part for at, part in enumerate(row.id)}
        return ids | {f"rc_{name}": value for name, value in (*row.set.items(), *row.added.items())}

    def _on_update(self, changed: Mapping[Column[Any], Any]) -> dict[Column[Any], Any]:
        """What SQLAlchemy would set in an UPDATE, and does not in an upsert."""
        found: dict[Column[Any], Any] = {}
        for column in self._columns.table.columns:
            default: Any = column.onupdate
            if default is None or column in changed:
                continue
            found[column] = default.arg(None) if default.is_callable else default.arg
        return found


def is_refused(error: BaseException) -> bool:
    """Whether the values of a row are at fault."""
    if sqlstate(error).startswith(OF_ROWS):
        return True
    if not isinstance(error, DBAPIError):  # SQLAlchemy could not send them
        return isinstance(error, StatementError)
    adapted = error.orig
    return isinstance(adapted.__cause__ if adapted is not None else None, asyncpg.DataError)


def _why(error: DBAPIError | StatementError) -> str:
    """What is at fault, by its names; the server's own words may quote what a row holds."""
    origin = getattr(error.orig, "__cause__", None)
    names = [
        f"{kind} {name}"
        for kind in ("constraint", "column")
        if (name := getattr(origin, f"{kind}_name", None))
    ]
    return ": ".join((in_brief(error), ", ".join(names))) if names else in_brief(error)
