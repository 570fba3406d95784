"""The values that rows have in the columns of lookups before an UPDATE or a DELETE takes them: read
under the rows' lock, since what a session has loaded may be older (protocol, Write path 1).

Owns the question, and what the statement then makes of the answer. The statement would lock the
same rows a moment later: it is asked about only if its WHERE names them by their primary key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Select,
    Table,
    Update,
    bindparam,
    select,
    tuple_,
)

from repocache.tracking.cascades import MOST_ASKED
from repocache.tracking.dml import (
    Equalities,
    Id,
    Sent,
    kept_as_given,
    located_ids,
    new_values,
    with_new_values,
)
from repocache.tracking.owners import KeyColumns, Owners


@dataclass(frozen=True, slots=True, eq=False)
class LockedRows:
    """The rows that a statement is about to take. `located`: for each list of its parameters the
    primary keys that it names; `values`: of each row that is there, by primary key, its values in
    `columns`."""

    located: Sequence[Sequence[Id]]
    columns: tuple[Column[Any], ...]
    values: Mapping[Id, Id]

    def before_and_after(self, sent: Sent, each: KeyColumns) -> list[Id] | None:
        """The lookup's values in these rows, and those that an UPDATE gives them. None: they cannot
        be told, as where it sets an expression.

        A row that was not there may have come meanwhile, so that what it is given counts.
        """
        places = [self.columns.index(column) for column in each.columns]
        updates = isinstance(sent.statement, Update)
        set_columns = sent.said | sent.given if updates else frozenset()
        names = new_values(sent, each.columns, set_columns)
        if not each.trusted or names is None:
            return None
        told: list[Id] = []
        for ids, row in zip(self.located, sent.rows, strict=True):
            for id in ids:
                values = self.values.get(id)
                if values is not None:
                    old = tuple(values[at] for at in places)
                    told += [old, with_new_values(old, names, row)]
                elif all(names):
                    told.append(tuple(row[name] for name in names))
                elif updates:
                    return None
        return told if kept_as_given(sent, told, each.columns) else None


def asked_before(sent: Sent, owners: Owners) -> tuple[Column[Any], ...]:
    """The lookups' columns whose values have to be read before: RETURNING would give those that an
    UPDATE has set, and nothing for a list of statements."""
    set_columns = sent.sets(owners)
    deletes = not isinstance(sent.statement, Update)
    asked = [
        each
        for each in owners.lookups
        if not set_columns.isdisjoint(column.key for column in each.columns)
        or (sent.many and (deletes or each.is_moved(set_columns)))
    ]
    return tuple(dict.fromkeys(column for each in asked for column in each.columns))


def locked_rows(
    connection: Connection, sent: Sent, restricted: Equalities, columns: Sequence[Column[Any]]
) -> LockedRows | None:
    """Reads them. None: they are not named by their primary key, or are too many."""
    table = sent.statement.table
    key = tuple(table.primary_key) if isinstance(table, Table) else ()
    # A tuple knows no type's `bind_expression`.
    if not key or (len(key) > 1 and any(each.type._has_bind_expression for each in key)):  # noqa: SLF001
        return None
    located = located_ids(sent, restricted, key)
    if located is None:
        return None
    ids = list(dict.fromkeys(id for some in located for id in some))
    if len(ids) > MOST_ASKED:
        return None
    values: dict[Id, Id] = {}
    if ids:
        wanted = [id[0] for id in ids] if len(key) == 1 else ids
        for row in connection.execute(_question(key, columns), {"ids": wanted}):
            values[tuple(row[: len(key)])] = tuple(row[len(key) :])
    if not values.keys() <= set(ids):
        return None  # the database's keys are not what the application gave
    return LockedRows(located, tuple(columns), values)


def _question(key: Sequence[Column[Any]], columns: Sequence[Column[Any]]) -> Select[Any]:
    """In the order in which a flush writes: who locks rows one by one does so too, and no circle of
    waits arises."""
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    among = key[0].in_(ids) if len(key) == 1 else tuple_(*key).in_(ids)
    return select(*key, *columns).where(among).order_by(*key).with_for_update()
