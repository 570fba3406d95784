"""What a trigger's notice means: rows of a table, as JSON, to the keys of their owners. Pure."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Table

from repocache.errors import InvalidId
from repocache.invalidation.batch import Batch
from repocache.invalidation.notice import TableNotice, in_any_schema
from repocache.tracking.owners import KeyColumns
from repocache.tracking.schema_tables import NO_SCHEMAS, Schemas, WrittenTables
from repocache.tracking.tables import OwnedTables

_READERS: Mapping[type, tuple[type, Callable[[Any], Any]]] = {
    int: (int, int),
    str: (str, str),
    uuid.UUID: (str, uuid.UUID),
    bytes: (str, lambda text: bytes.fromhex(text.removeprefix("\\x"))),
    datetime.date: (str, datetime.date.fromisoformat),
    bool: (bool, bool),
}
"""From the JSON that PostgreSQL's `to_jsonb` makes of a column, and the type of that: no other is
an id."""


class Notices:
    """The tables whose triggers are understood here. `places`: where each is in the database, as
    `schema.name`; a partition is at several. `schemas`: of scopes, whose tables are others."""

    def __init__(
        self, owned: OwnedTables, places: Mapping[str, Table], schemas: Schemas = NO_SCHEMAS
    ) -> None:
        self._owned = owned
        self._tables = places
        self._schemas = schemas

    @property
    def tables(self) -> Iterable[str]:
        """As `schema.name`, or `*.name`: in any schema."""
        return [*self._tables, *map(in_any_schema, self._schemas.names)]

    @property
    def owners(self) -> frozenset[str]:
        """Everybody who is declared, by prefix."""
        owned = self._owned
        return frozenset().union(*(owned.of(table).all for table in owned.concerning))

    def resolve(self, notice: TableNotice) -> Batch:
        """The keys of the rows, before and after; an owner as a whole where its keys cannot be
        told.

        What foreign keys' actions do is not derived from it, unlike from a statement: a table that
        they change has its own trigger. Raises ValueError for a table that is not one of these.
        """
        table = self._tables.get(notice.table)
        found = self._schemas.noticed(notice.table)
        written = WrittenTables(self._owned)
        if found is not None:
            written, table = found
        elif table is None:
            raise ValueError(f"nobody here owns rows of {notice.table}")
        owners = written.tables.of(table)
        whole = set(owners.written)
        keys: dict[str, frozenset[str]] = {}
        for each in owners.keyed:
            schema = written.schema if each.by_schema else ""
            texts = None if notice.rows is None else _texts(each, notice.rows, schema)
            if texts is None:
                whole.add(each.keys.prefix)
            else:
                keys[each.keys.prefix] = texts
        return Batch(keys, frozenset(whole))


def _texts(
    owner: KeyColumns, rows: Iterable[Mapping[str, Any]], schema: str
) -> frozenset[str] | None:
    """`schema`: with which ids begin; empty: with none. None: not to be told from these rows, as
    where the application gives values another form (`trusted`)."""
    if not owner.trusted:
        return None
    begin = [schema] if schema else []
    readers = [_READERS[each] for each in owner.keys.types[len(begin) :]]
    names = [column.name for column in owner.columns]
    try:
        ids = [
            begin + [_part(row[name], *each) for each, name in zip(readers, names, strict=True)]
            for row in rows
            if not (owner.is_lookup and any(row[name] is None for name in names))
        ]
        single = owner.keys.single
        return frozenset(owner.keys.text(id[0] if single else tuple(id)) for id in ids)
    except (KeyError, TypeError, ValueError, InvalidId):
        return None


def _part(value: Any, kind: type, read: Callable[[Any], Any]) -> Any:
    """Of an id. Raises ValueError."""
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} is not {kind.__name__}")
    return read(value)
