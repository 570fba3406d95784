"""What an INSERT, UPDATE or DELETE says about the ids of the rows that it touches, and how to make it say more. Pure.

Reads SQLAlchemy's statements and parameters; what the database answered is `tracking.returned`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, BooleanClauseList, Column, Delete, Insert, Update
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import Grouping

from repocache.tracking.tables import Owners

Id = tuple[Any, ...]
"""An id's parts as the application or the database gave them, in the key's order."""
Parameters = Mapping[str, Any]


Equalities = Mapping[int, BindParameter[Any]]
"""The parameters that WHERE compares columns with, by the column's hash: the ORM's annotated copies have the same, and
to compare them by `==` would build an expression each time."""


def equalities(statement: Update | Delete) -> Equalities:
    """`column = value` and `column IN (values)`, joined with whatever else by AND: only such rows are touched."""
    found: dict[int, BindParameter[Any]] = {}
    for clause in _conjuncts(statement.whereclause):
        if not isinstance(clause, BinaryExpression) or clause.operator not in {operators.eq, operators.in_op}:
            continue
        column, bind = clause.left, clause.right
        if isinstance(column, BindParameter):
            column, bind = bind, column
        if isinstance(column, Column) and isinstance(bind, BindParameter):
            found[hash(column)] = bind
    return found


def with_ids_returned(
    statement: UpdateBase, owners: Owners, rows: Sequence[Parameters], dialect: Dialect, restricted: Equalities
) -> UpdateBase:
    """The statement, made to return ids that its own words do not give, where that changes nothing else.

    `restricted`: its equalities, none for an INSERT.
    By `return_defaults`, which leaves rows and `rowcount` to the caller as they were. An UPDATE or DELETE of all rows
    is left alone: it moves the whole owner anyhow.
    """
    if statement._returning or statement._return_defaults:  # noqa: SLF001 - there is no public way to ask
        return statement
    if isinstance(statement, Insert):
        wanted = _hides_generated_ids(statement, owners, rows) and (
            dialect.insert_executemany_returning and dialect.use_insertmanyvalues
        )
    elif isinstance(statement, Update | Delete):
        able = dialect.update_returning if isinstance(statement, Update) else dialect.delete_returning
        wanted = able and len(rows) == 1 and statement.whereclause is not None and not _locates(restricted, owners)
    else:
        wanted = False
    return statement.return_defaults(*owners.columns) if wanted else statement


def located_ids(
    restricted: Equalities, columns: Sequence[Column[Any]], rows: Sequence[Parameters]
) -> list[list[Id]] | None:
    """For each row of parameters the ids to which WHERE restricts the statement; None if it does not name them all.

    There may be fewer rows than ids. An id with a NULL is no row's.
    """
    found = [restricted[hash(column)] for column in columns if hash(column) in restricted]
    if len(found) != len(columns):
        return None
    located: list[list[Id]] = []
    for row in rows:
        alternatives = [
            value if bind.expanding and isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
            for bind in found
            for value in (row.get(bind.key, bind.effective_value),)
        ]
        located.append([id for id in product(*alternatives) if None not in id])
    return located


def ids_after(
    located: Sequence[Sequence[Id]],
    columns: Sequence[Column[Any]],
    set_columns: frozenset[str],
    rows: Sequence[Parameters],
) -> list[Id] | None:
    """The ids that an UPDATE leaves: the old ones with the parts that it sets. None if a part is no parameter."""
    after: list[Id] = []
    for ids, row in zip(located, rows, strict=True):
        if any(column.key in set_columns and column.key not in row for column in columns):
            return None
        after.extend(
            tuple(
                row[column.key] if column.key in set_columns else part for column, part in zip(columns, id, strict=True)
            )
            for id in ids
        )
    return after


def gives_its_rows(statement: Insert, columns: Sequence[Column[Any]]) -> bool:
    """Whether the only rows that an INSERT touches are those whose ids it gives.

    So without ON CONFLICT; with DO NOTHING; with DO UPDATE on a conflict of these columns that does not set them.
    Otherwise an upsert touches a row with another id than its own.
    """
    if statement._prefixes:  # noqa: SLF001 - INSERT OR REPLACE deletes rows that it does not name
        return False
    clause = getattr(statement, "_post_values_clause", None)
    kind = getattr(clause, "__visit_name__", "")
    if kind == "on_conflict_do_update":
        targets = getattr(clause, "inferred_target_elements", None) or ()
        set_columns = dict(getattr(clause, "update_values_to_set", ()))
        names = {column.name for column in columns}
        return {_name(target) for target in targets} == names and names.isdisjoint(map(_name, set_columns))
    return clause is None or kind == "on_conflict_do_nothing"


def updates(statement: UpdateBase) -> bool:
    """Whether the statement may set columns of rows that exist: an UPDATE or an upsert."""
    return isinstance(statement, Update) or getattr(statement, "_post_values_clause", None) is not None


def multiple_rows(statement: Insert) -> int:
    """How many rows `values([...])` gives; 0: it was not used."""
    return sum(map(len, statement._multi_values))  # noqa: SLF001 - there is no public way to ask


def _name(target: object) -> str:
    return target if isinstance(target, str) else str(getattr(target, "name", target))


def _hides_generated_ids(statement: Insert, owners: Owners, rows: Sequence[Parameters]) -> bool:
    """A list of rows whose ids the database makes: not fetched unless asked for, unlike a single row's."""
    if len(rows) < 2 or statement.select is not None or multiple_rows(statement):
        return False
    if getattr(statement, "_post_values_clause", None) is not None:
        # As one statement of many rows, an upsert that meets a row twice would be an error.
        return False
    return not all(
        column.key in rows[0]
        or (column.default is not None and (column.default.is_callable or column.default.is_scalar))
        for column in owners.columns
    )


def _locates(restricted: Equalities, owners: Owners) -> bool:
    return all(each.trusted and all(hash(column) in restricted for column in each.columns) for each in owners.keyed)


def _conjuncts(clause: object) -> Iterator[object]:
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _conjuncts(part)
    elif isinstance(clause, Grouping):
        yield from _conjuncts(clause.element)
    else:
        yield clause
