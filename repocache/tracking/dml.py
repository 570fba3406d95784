"""What an INSERT, UPDATE or DELETE says about the ids of the rows that it touches. Pure.

Reads SQLAlchemy's statements as they were compiled, and the values that were sent with them; what
the database answered is `tracking.returned`'s affair.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    Column,
    Delete,
    Insert,
    Table,
    Update,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ClauseElement, Grouping
from sqlalchemy.types import Integer, NullType

from repocache.tracking.owners import BareTag, KeyColumns, Owners

Id = tuple[Any, ...]
"""An id's parts as the application or the database gave them, in the key's order."""
Parameters = Mapping[str, Any]

Equalities = Mapping[int, BindParameter[Any]]
"""The parameters that WHERE compares columns with, by the column's hash: the ORM's annotated copies
have the same, and to compare them by `==` would build an expression each time."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One execution of an INSERT, UPDATE or DELETE.

    `statement`: as it was compiled: the ORM's forms name one table of a mapped class only here.
    `rows`: the values that were sent, by the compiled parameters' names; no callable of a
    `bindparam` is called again for them. `expanded`: the names of a list's values, by the list's.
    `many`: the driver was given a list of rows. `count`: of rows of values, in a list or in
    `values([...])`.
    """

    statement: UpdateBase
    compiled: SQLCompiler
    rows: Sequence[Parameters]
    expanded: Mapping[str, Sequence[str]]
    many: bool
    count: int

    @classmethod
    def by(cls, context: DefaultExecutionContext) -> Sent | None:
        """None: it is another statement, or was given as compiled without its parameters."""
        compiled = context.compiled
        if not isinstance(compiled, SQLCompiler) or compiled.column_keys is None:
            return None
        statement = getattr(compiled.compile_state, "statement", None)
        if not isinstance(statement, UpdateBase):
            return None
        expanded = context._expanded_parameters  # noqa: SLF001 - there is no public way to ask
        rows = context.compiled_parameters
        count = multiple_rows(statement) if isinstance(statement, Insert) else 0
        many = context.executemany
        return cls(statement, compiled, rows, expanded, many, count or len(rows))

    @property
    def writing_ctes(self) -> bool:
        return any(isinstance(cte.element, UpdateBase) for cte in self.compiled.ctes or ())

    @property
    def said(self) -> frozenset[str]:
        """Keys of the columns that the statement's own words set."""
        values = getattr(self.compiled.compile_state, "_dict_parameters", None) or ()
        return frozenset(each if isinstance(each, str) else str(each.key) for each in values)

    @property
    def given(self) -> frozenset[str]:
        """Keys of the columns that are set to values of `rows` under the same names."""
        return frozenset(self.compiled.column_keys or ()) - self.said

    def parameter(self, column: Column[Any]) -> str:
        """The name in `rows` of the value that the column is set to; empty: it is no plain value,
        as of an expression."""
        if column.key in self.given:
            return column.key
        values = getattr(self.compiled.compile_state, "_dict_parameters", None) or {}
        bind = next((values[each] for each in values if _key(each) == column.key), None)
        # Within a CTE names are others.
        if not isinstance(bind, BindParameter) or not is_sent_as(bind, column) or self.writing_ctes:
            return ""
        name = column.key if bind.unique else str(bind.key)
        return name if all(name in row for row in self.rows) else ""

    def sets(self, owners: Owners) -> frozenset[str]:
        """Keys of the columns that may be set in rows that exist; of an upsert, of all that
        matter."""
        if isinstance(self.statement, Update):
            return self.said | self.given | owners.unsaid
        if isinstance(self.statement, Insert) and _post_values(self.statement) is not None:
            return frozenset(owners.updated)
        return frozenset()

    def concerned(self, owners: Owners) -> Sequence[KeyColumns]:
        """Whose rows it touches: an UPDATE only theirs whose answers depend on what it sets, an
        INSERT of new rows alone (no upsert, no OR REPLACE) only theirs who tell them."""
        if not owners.selective:
            return owners.keyed
        if isinstance(self.statement, Insert):
            if _post_values(self.statement) is not None or self.statement._prefixes:  # noqa: SLF001
                return owners.keyed
            return [each for each in owners.keyed if each.tells_inserts]
        if not isinstance(self.statement, Update):
            return owners.keyed
        set_columns = self.sets(owners)
        return [each for each in owners.keyed if each.is_moved(set_columns)]

    def moved(self, bare: Sequence[BareTag], set_columns: frozenset[str]) -> list[str]:
        """The texts of those whose rows it changes; an UPDATE by what it sets."""
        if not isinstance(self.statement, Update):
            return [each.text for each in bare]
        return [
            each.text
            for each in bare
            if not set_columns.isdisjoint(column.key for column in each.moved_by)
        ]

    def values(self, bind: BindParameter[Any], row: Parameters) -> list[Any] | None:
        """What a parameter stood for; None: it was not sent, as a value that is rendered into the
        text."""
        name = self.compiled.bind_names.get(bind, "")
        names = self.expanded.get(name) if bind.expanding else [name]
        return (
            None if names is None or not row.keys() >= set(names) else [row[each] for each in names]
        )


def equalities(statement: UpdateBase) -> Equalities:
    """`column = value` and `column IN (values)`, joined with whatever else by AND: only such rows
    are touched."""
    found: dict[int, BindParameter[Any]] = {}
    if not isinstance(statement, Update | Delete):
        return found
    for clause in _conjuncts(statement.whereclause):
        if not isinstance(clause, BinaryExpression) or clause.operator not in {
            operators.eq,
            operators.in_op,
        }:
            continue
        column, bind = clause.left, clause.right
        if isinstance(column, BindParameter):
            column, bind = bind, column
        if (
            isinstance(column, Column)
            and isinstance(bind, BindParameter)
            and is_sent_as(bind, column)
        ):
            found[hash(column)] = bind
    return found


def is_sent_as(bind: BindParameter[Any], column: Column[Any]) -> bool:
    """Whether the value is sent as the column's type would send it: one of another type may make
    another value of it."""
    kind, own = bind.type, column.type
    if kind is own or isinstance(kind, NullType):
        return True
    # No public way to ask.
    plain = not kind._variant_mapping and not own._variant_mapping  # noqa: SLF001
    if isinstance(kind, Integer) and isinstance(own, Integer):
        return plain and type(kind).__module__ == type(own).__module__ == Integer.__module__
    return plain and type(kind) is type(own)


def is_given_plainly(sent: Sent, column: Column[Any]) -> bool:
    """Whether the parameter of the column's key, of an INSERT, is the value that is sent for it."""
    values = getattr(sent.statement, "_multi_values", None)
    if values:
        rows = (row for some in values for row in some)
        given = [value for row in rows for each, value in row.items() if _key(each) == column.key]
        return not any(isinstance(value, ClauseElement) for value in given)
    if column.key not in sent.said:
        return True
    return sent.parameter(column) == column.key


def compared(statement: UpdateBase, restricted: Equalities) -> tuple[Column[Any], ...]:
    """The columns of the written table of whose equalities WHERE consists; none if it says anything
    else.

    `restricted`: its equalities.
    """
    if not isinstance(statement, Update | Delete) or not isinstance(statement.table, Table):
        return ()
    columns = tuple(column for column in statement.table.columns if hash(column) in restricted)
    return columns if len(columns) == sum(1 for _ in _conjuncts(statement.whereclause)) else ()


def located_ids(
    sent: Sent, restricted: Equalities, columns: Sequence[Column[Any]]
) -> list[list[Id]] | None:
    """For each row of parameters the ids to which WHERE restricts the statement; None if it does
    not name them all.

    `restricted`: its equalities. There may be fewer rows than ids. An id with a NULL is no row's.
    """
    binds = [restricted[hash(column)] for column in columns if hash(column) in restricted]
    if len(binds) != len(columns):
        return None
    located: list[list[Id]] = []
    for row in sent.rows:
        alternatives = [values for bind in binds if (values := sent.values(bind, row)) is not None]
        if len(alternatives) != len(binds):
            return None
        located.append([id for id in product(*alternatives) if None not in id])
    return located


def ids_after(
    sent: Sent,
    located: Sequence[Sequence[Id]],
    columns: Sequence[Column[Any]],
    set_columns: frozenset[str],
) -> list[Id] | None:
    """The ids that an UPDATE leaves: the old ones with the parts that it sets. None if a part is no
    parameter."""
    names = new_values(sent, columns, set_columns)
    if names is None:
        return None
    after = [
        with_new_values(id, names, row)
        for ids, row in zip(located, sent.rows, strict=True)
        for id in ids
    ]
    return after if kept_as_given(sent, after, columns) else None


def new_values(
    sent: Sent, columns: Sequence[Column[Any]], set_columns: Collection[str]
) -> tuple[str, ...] | None:
    """For each column the name of the parameter that it is set to, empty: it stays as it is. None:
    one is set to what is no parameter."""
    names = [sent.parameter(each) if each.key in set_columns else "" for each in columns]
    told = all(
        name or column.key not in set_columns for name, column in zip(names, columns, strict=True)
    )
    return tuple(names) if told else None


def with_new_values(id: Id, names: Sequence[str], row: Parameters) -> Id:
    """`names`: of `new_values`."""
    return tuple(row[name] if name else part for name, part in zip(names, id, strict=True))


def gives_its_rows(statement: Insert, columns: Sequence[Column[Any]]) -> bool:
    """Whether the only rows that an INSERT touches are those whose ids it gives.

    So without ON CONFLICT; with DO NOTHING; with DO UPDATE on a conflict of these columns.
    Otherwise an upsert touches a row with another id than its own.
    """
    if statement._prefixes:  # noqa: SLF001 - INSERT OR REPLACE deletes rows that it does not name
        return False
    clause = _post_values(statement)
    kind = getattr(clause, "__visit_name__", "")
    if kind == "on_conflict_do_update":
        targets = getattr(clause, "inferred_target_elements", None) or ()
        return {_name(target) for target in targets} == {column.name for column in columns}
    return clause is None or kind == "on_conflict_do_nothing"


def may_rename(statement: Insert, columns: Collection[Column[Any]], unsaid: frozenset[str]) -> bool:
    """Whether an upsert may give a row another id: the old one is then told by nothing. `unsaid`:
    of the owners."""
    clause = _post_values(statement)
    if getattr(clause, "__visit_name__", "") != "on_conflict_do_update":
        return False
    # A text is the key of a column, or its name if no column has that key.
    names = {
        name
        for each in dict(getattr(clause, "update_values_to_set", ()))
        for name in (_name(each), _key(each))
    }
    return any(
        not names.isdisjoint((each.key, each.name)) or each.key in unsaid for each in columns
    )


def multiple_rows(statement: Insert) -> int:
    """How many rows `values([...])` gives; 0: it was not used."""
    return sum(map(len, statement._multi_values))  # noqa: SLF001 - there is no public way to ask


def hides_generated_ids(sent: Sent, columns: Sequence[Column[Any]]) -> bool:
    """A list of rows whose ids the database makes: unlike a single row's, SQLAlchemy does not fetch
    them unasked."""
    statement = sent.statement
    if (
        not isinstance(statement, Insert)
        or statement.select is not None
        or multiple_rows(statement)
    ):
        return False
    # As in gives_its_rows.
    if statement._prefixes or _post_values(statement) is not None:  # noqa: SLF001
        return False
    return sent.many and not all(column.key in sent.rows[0] for column in columns)


def kept_as_given(sent: Sent, ids: Sequence[Id], columns: Sequence[Column[Any]]) -> bool:
    """Whether the database stores these values as they are: of a text that is too long for a
    VARCHAR(n) it drops the blanks beyond.
    """
    dialect = sent.compiled.dialect
    lengths = [getattr(column.type.dialect_impl(dialect), "length", None) for column in columns]
    return all(
        length is None or not isinstance(part, str) or len(part) <= length
        for id in ids
        for part, length in zip(id, lengths, strict=True)
    )


def _post_values(statement: Insert) -> object:
    return getattr(statement, "_post_values_clause", None)


def _name(target: object) -> str:
    return target if isinstance(target, str) else str(getattr(target, "name", target))


def _key(target: object) -> str:
    return target if isinstance(target, str) else str(getattr(target, "key", target))


def _conjuncts(clause: object) -> Iterator[object]:
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _conjuncts(part)
    elif isinstance(clause, Grouping):
        yield from _conjuncts(clause.element)
    else:
        yield clause
