"""Whom a declared change reaches: what the application names by one owner is rows of its tables,
and they may be others' too.

Pure. Rows that foreign keys' actions change are declared by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column

from repocache.tracking.dml import Id
from repocache.tracking.owners import KeyColumns, Owned
from repocache.tracking.returned import key_texts
from repocache.tracking.schema_tables import WrittenTables


def reached(
    written: WrittenTables, owner: Owned, ids: Sequence[Any] | None
) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """Prefix and keys of the owner itself, of those whose rows lie in the same tables, and of those
    that follow these; perhaps several times. `ids`: of the owner, without their schema; None, as
    for the keys: all."""
    rows = None if ids is None else [id if isinstance(id, tuple) else (id,) for id in ids]
    for table, columns in owner.tables.items():
        owners = written.tables.of(table)
        for each in owners.keyed:
            schema = written.schema if each.by_schema else ""
            yield each.keys.prefix, None if rows is None else _keys(each, columns, rows, schema)
        if rows != []:
            yield from ((prefix, None) for prefix in sorted(owners.written))


def _keys(
    each: KeyColumns, columns: Sequence[Column[Any]], rows: Sequence[Id], schema: str
) -> tuple[str, ...] | None:
    """Of the rows with these values in the columns; None: these do not say."""
    if not rows:
        return ()
    if set(each.columns) != set(columns):
        return None
    order = list(map(hash, columns))
    places = [order.index(hash(column)) for column in each.columns]
    texts = key_texts(each.keys, [tuple(row[at] for at in places) for row in rows], schema)
    return None if texts is None else tuple(texts)
