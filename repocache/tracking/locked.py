"""The values that rows have in the columns of lookups before an UPDATE or a DELETE takes them: read
under the rows' lock, since what a session has loaded may be older (protocol, Write path 1).

Owns the question, and what the statement then makes of the answer. The statement would lock the
same rows a moment later, in the same order: it is asked about only if its WHERE consists of
equalities with the primary key among them, and the lock is the weakest that an UPDATE takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Connection,
    Enum,
    Select,
    SmallInteger,
    String,
    Table,
    Update,
    bindparam,
    collate,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from repocache.tracking.cascades import MOST_ASKED
from repocache.tracking.dml import (
    Equalities,
    Id,
    Parameters,
    Sent,
    compared,
    kept_as_given,
    located_ids,
    new_values,
    with_new_values,
)
from repocache.tracking.owners import KeyColumns, Owners


@dataclass(frozen=True, slots=True, eq=False)
class LockedRows:
    """The rows that a statement is about to take. `located`: for each list of its parameters, what
    it compares them with; `values`: of each row that is there, by the same, its values in
    `columns`."""

    located: Sequence[Sequence[Id]]
    columns: tuple[Column[Any], ...]
    values: Mapping[Id, Id]

    def tells(self, each: KeyColumns) -> bool:
        """Whether these are the lookup's columns."""
        return set(each.columns) <= set(self.columns)

    def before_and_after(
        self, sent: Sent, each: KeyColumns, set_columns: frozenset[str]
    ) -> list[Id] | None:
        """The lookup's values in these rows, and those that an UPDATE gives them. `set_columns`:
        keys of those that it sets, said or unsaid. None: they cannot be told, as of an expression.

        A row that was not there may have come meanwhile, so that what it is given counts.
        """
        order = list(map(hash, self.columns))
        places = [order.index(hash(column)) for column in each.columns]
        taken: list[tuple[Id | None, Parameters]] = []
        for ids, row in zip(self.located, sent.rows, strict=True):
            for id in ids:
                values = self.values.get(id)
                taken.append((values and tuple(values[at] for at in places), row))
        before = [old for old, _ in taken if old is not None]
        if not isinstance(sent.statement, Update):
            return before
        names = new_values(sent, each.columns, set_columns)
        if not each.trusted or names is None or (len(before) < len(taken) and not all(names)):
            return None
        nothing = (None,) * len(names)
        after = [with_new_values(old or nothing, names, row) for old, row in taken]
        return before + after if kept_as_given(sent, after, each.columns) else None


def asked_before(sent: Sent, owners: Owners) -> tuple[Column[Any], ...]:
    """The lookups' columns whose values have to be read before: RETURNING would give those that an
    UPDATE has set, and nothing for a list of statements. Not where nobody can tell what it sets."""
    set_columns = sent.sets(owners)
    if not isinstance(sent.statement, Update):
        asked = [each for each in owners.lookups if sent.many]
    else:
        asked = [
            each
            for each in owners.lookups
            if each.trusted
            and owners.unsaid.isdisjoint(column.key for column in each.columns)
            and each.is_moved(set_columns)
            and (sent.many or not set_columns.isdisjoint(column.key for column in each.columns))
        ]
    return tuple(dict.fromkeys(column for each in asked for column in each.columns))


def locked_rows(
    connection: Connection,
    sent: Sent,
    restricted: Equalities,
    columns: Sequence[Column[Any]],
    options: Mapping[str, Any],
) -> LockedRows | None:
    """Reads them. `options`: those of the statement that say where its tables are. None: WHERE does
    not name them so, or they are too many, or are taken in another order than that of their
    keys."""
    named = compared(sent.statement, restricted)
    table = sent.statement.table
    key = set(table.primary_key) if isinstance(table, Table) else set()
    if not key or not key <= set(named) or not _may_be_asked(named):
        return None
    sets = sent.said | sent.given if isinstance(sent.statement, Update) else frozenset()
    if sent.many and any(column.key in sets for column in key):
        return None  # the next one may take the row that this one has renamed
    located = located_ids(sent, restricted, named)
    if located is None:
        return None
    try:
        ids = list(dict.fromkeys(id for some in located for id in some))
        in_order = not sent.many or all(one <= other for one, other in pairwise(ids))
    except TypeError:
        return None  # what is no value to be looked up
    if len(ids) > MOST_ASKED or not in_order or not all(map(_fits, named, zip(*ids, strict=True))):
        return None
    values: dict[Id, Id] = {}
    if ids:
        wanted = [id[0] for id in ids] if len(named) == 1 else ids
        question = _question(named, columns, connection.dialect)
        for row in connection.execute(question, {"ids": wanted}, execution_options=options):
            values[tuple(row[: len(named)])] = tuple(row[len(named) :])
    if not values.keys() <= set(ids):
        return None  # the database's values are not what the application gave
    return LockedRows(located, tuple(columns), values)


def _may_be_asked(named: Sequence[Column[Any]]) -> bool:
    """A tuple knows no type's `bind_expression`."""
    return len(named) == 1 or not any(each.type._has_bind_expression for each in named)  # noqa: SLF001


def _fits(column: Column[Any], values: Sequence[object]) -> bool:
    """Whether the driver takes them for the column's type: a statement's own bind may be wider."""
    kind = column.type
    bits = 63 if isinstance(kind, BigInteger) else 15 if isinstance(kind, SmallInteger) else 31
    return not any(isinstance(each, int) and not -1 << bits <= each < 1 << bits for each in values)


def _question(
    named: Sequence[Column[Any]], columns: Sequence[Column[Any]], dialect: Dialect
) -> Select[Any]:
    """On PostgreSQL, which locks rows, in the order in which the statement takes them, which is
    that of their keys: no circle of waits arises with who locks rows one by one. Texts by their
    characters, as Python has them."""
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    among = named[0].in_(ids) if len(named) == 1 else tuple_(*named).in_(ids)
    rows = select(*named, *columns).where(among)
    if dialect.name != "postgresql":
        return rows
    order = [collate(each, "C") if _has_collation(each.type) else each for each in named]
    return rows.order_by(*order).with_for_update(key_share=True)


def _has_collation(kind: TypeEngine[Any]) -> bool:
    while isinstance(kind, DOMAIN):
        kind = kind.data_type
    return isinstance(kind, String) and not (isinstance(kind, Enum) and kind.native_enum)
