"""What a statement reads, as SQLAlchemy compiles it.

Owns the look at a statement: the ORM's entities, options and criteria are expanded by SQLAlchemy
itself, and what it renders is noted, so that nothing which is sent is overlooked. A column that is
rendered matters; WHERE and ON are looked at once more for conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ARRAY, Alias, Date, DateTime, String, Time
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.postgresql.base import PGCompiler
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BindParameter, ColumnClause, Grouping, Label
from sqlalchemy.sql.expression import Join, TableClause
from sqlalchemy.sql.selectable import FromGrouping
from sqlalchemy.types import NullType

from repocache.errors import QueryRefused
from repocache.queries.condition_column import ConditionColumn
from repocache.queries.conditions import condition_of
from repocache.queries.sheet import Occurrence, Sheet
from repocache.queries.steady_functions import is_steady

_CONSTANT = re.compile(r"-?\d+(\.\d+)?|null|true|false", re.IGNORECASE)
_OPERATOR = re.compile(
    r"[^\w()]+|(not |is |distinct |from |at |time |zone |similar |to |overlaps )+", re.IGNORECASE
)
_SYSTEM = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})


@dataclass(eq=False)
class _Scope:
    """One SELECT, while it is compiled. `leaves`: the tables of its FROM, by their hashes, which
    the ORM's annotated copies share. `hides`: whether its plain columns say nothing; `keys`: but
    for primary keys."""

    leaves: dict[int, Occurrence] = field(default_factory=dict)
    hides: bool = False
    keys: bool = False


class Recorder(PGCompiler):
    """Compiles a statement, for PostgreSQL, onto a sheet. What it makes of it is thrown away.

    Raises QueryRefused for what cannot be cached rightly, and what SQLAlchemy raises.
    """

    def __init__(self, statement: Any, sheet: Sheet) -> None:
        self._sheet = sheet
        self._scopes: list[_Scope] = []
        self._muted = False
        self._within_exists = False
        self._within_count = False
        super().__init__(PGDialect_asyncpg(), statement)

    # SELECT

    def visit_select(self, select_stmt: Any, *args: Any, **kw: Any) -> str:
        depth = len(self._scopes)
        text: str = super().visit_select(select_stmt, *args, **kw)
        del self._scopes[depth:]
        return text

    def _setup_select_stack(self, select: Any, *args: Any) -> Any:
        exists, self._within_exists = self._within_exists, False
        top = not self.stack
        froms = super()._setup_select_stack(select, *args)
        if self._muted:
            self._scopes.append(_Scope())
            return froms
        if select._for_update_arg is not None:  # noqa: SLF001 - no public way to ask, here and below
            raise QueryRefused(
                "the statement locks rows (FOR UPDATE or FOR SHARE), and a cached answer locks "
                "none: read them in a unit of work"
            )
        hints = [*select._hints.values(), *(each[1] for each in select._statement_hints)]  # noqa: SLF001
        for hint in hints:
            self._sheet.refuse_text(hint)
        self._sheet.refuse_own_compilers(select)
        ids = top and self._sheet.only_ids
        hides = ids or (exists and not select._distinct)  # noqa: SLF001
        scope = _Scope(hides=hides, keys=ids)
        self._scopes.append(scope)
        for each in froms:
            for leaf in _leaves(each):
                scope.leaves[hash(leaf)] = self._occurrence(leaf)
        for each in froms:
            self._take_joins(each)
        self._take(select._where_criteria, list(scope.leaves.values()))  # noqa: SLF001
        return froms

    def _occurrence(self, leaf: TableClause | Alias) -> Occurrence:
        table = _table(leaf)
        assert table is not None
        place = self._sheet.sources.place(table)
        found = Occurrence(len(self._sheet.occurrences), place)
        if not self._sheet.sources.is_known(place):
            raise QueryRefused(
                f"the statement reads {place.text}, which is not among the tables of the metadata, "
                "so that nobody sees its writes: map it, or read it uncached"
            )
        if self._sheet.sources.is_view(place):
            self._sheet.add_whole(place, f"{place.text} is a view")
        self._sheet.occurrences.append(found)
        return found

    def _take_joins(self, source: object) -> list[Occurrence]:
        """Notes what ON says, and gives the tables in it. Of a LEFT JOIN it says nothing of the
        left side, whose rows are there in any case; of a FULL JOIN nothing of either."""
        while isinstance(source, FromGrouping):
            source = source.element
        if not isinstance(source, Join):
            leaf = self._scopes[-1].leaves.get(hash(source)) if _is_leaf(source) else None
            return [] if leaf is None else [leaf]
        left, right = self._take_joins(source.left), self._take_joins(source.right)
        if not source.full:
            self._take([source.onclause], right if source.isouter else [*left, *right])
        return [*left, *right]

    def _take(self, clauses: Sequence[object], of: Sequence[Occurrence]) -> None:
        for clause in clauses:
            condition = condition_of(clause, self._condition_column)
            for occurrence in of:
                occurrence.conditions.append(condition)

    def _condition_column(self, column: ColumnClause[Any]) -> tuple[int, ConditionColumn] | None:
        table = column.table
        occurrence = None if table is None else self._scopes[-1].leaves.get(hash(table))
        if occurrence is None:
            return None
        verdict = self._sheet.sources.condition(occurrence.place, column.name)
        if isinstance(verdict, str):
            self._sheet.unfit[occurrence.place, column.name] = verdict
            return None
        return occurrence.number, verdict

    # Columns

    def _label_select_column(self, select: Any, column: Any, *args: Any, **kw: Any) -> Any:
        scope, muted = self._scopes[-1], self._muted
        # A function in EXISTS may give no rows, as unnest does.
        if scope.keys:
            self._muted = muted or not getattr(column, "primary_key", False)
        elif scope.hides:
            self._muted = muted or isinstance(column, ColumnClause)
        try:
            return super()._label_select_column(select, column, *args, **kw)
        finally:
            self._muted = muted

    def visit_label(self, label: Label[Any], *args: Any, **kw: Any) -> str:
        # ORDER BY by a label names what was not noted among the columns.
        if self._sheet.only_ids and kw.get("render_label_as_label") is label and not self._muted:
            self.process(label.element)
        return str(super().visit_label(label, *args, **kw))

    def visit_column(self, column: ColumnClause[Any], *args: Any, **kw: Any) -> str:
        if not self._muted:
            self._note(column)
        return super().visit_column(column, *args, **kw)

    def visit_table_valued_column(self, element: Any, **kw: Any) -> str:
        whole = self._resolved(element.scalar_alias)
        if whole is not None:
            whole.everything = True
        elif _is_leaf(element.scalar_alias):
            self._note_everything()
        return str(super().visit_column(element, **kw))

    def _note(self, column: ColumnClause[Any]) -> None:
        if column.is_literal:
            self._note_literal(column.name)
            return
        if getattr(column.name, "quote", None) is False and not column.name.isidentifier():
            self._sheet.refuse_text(column.name)
        table = column.table
        if table is None:
            self._note_everything()
            return
        found = self._resolved(table)
        if found is not None:
            self._note_in(found, column)
        elif _is_leaf(table):
            # As in ORDER BY of a UNION: whichever of the tables that were read it is.
            base = _table(table)
            place = None if base is None else self._sheet.sources.place(base)
            for each in self._sheet.occurrences:
                if each.place == place:
                    self._note_in(each, column)

    def _note_in(self, occurrence: Occurrence, column: ColumnClause[Any]) -> None:
        if column.name in _SYSTEM or getattr(column, "system", False):
            occurrence.everything = True
        occurrence.columns.add(column.name)

    def _note_literal(self, sql: str) -> None:
        if sql != "*":
            if not _CONSTANT.fullmatch(sql.strip()):
                self._sheet.refuse_text(sql)
        elif not self._within_count:
            self._note_everything()

    def _note_everything(self) -> None:
        """A name that may be any table's column."""
        scopes = [each for scope in self._scopes for each in scope.leaves.values()]
        for each in scopes or self._sheet.occurrences:
            each.everything = True

    def _resolved(self, table: object) -> Occurrence | None:
        """The occurrence that a column of this is of: the innermost SELECT's that has it."""
        for scope in reversed(self._scopes):
            if (found := scope.leaves.get(hash(table))) is not None:
                return found
        return None

    def visit_cte(self, cte: Any, *args: Any, **kw: Any) -> Any:
        # It is rendered once, and may be named again where it counts.
        muted, self._muted = self._muted, False
        text = super().visit_cte(cte, *args, **kw)
        self._muted = muted
        return text

    def visit_table(self, table: TableClause, *args: Any, **kw: Any) -> str:
        alias = kw.get("enclosing_alias")
        unseen = kw.get("asfrom", False) and not self._muted
        if unseen and self._resolved(table) is None and self._resolved(alias) is None:
            self._occurrence(table).everything = True
        return str(super().visit_table(table, *args, **kw))

    # Functions and operators

    def visit_unary(self, unary: Any, *args: Any, **kw: Any) -> str:
        self._within_exists = unary.operator is operators.exists
        text = str(super().visit_unary(unary, *args, **kw))
        self._within_exists = False
        return text

    def visit_function(self, func: Any, *args: Any, **kw: Any) -> str:
        name = func.name.lower()
        schemas = tuple(func.packagenames)
        if not self._muted and not is_steady(name, schemas, self._sheet.sources.functions):
            raise QueryRefused(
                f"the statement calls {'.'.join([*schemas, name])}(), whose answer may change "
                "without a write: pass its value as a parameter, declare the function IMMUTABLE "
                "in the database if it is, or read the statement uncached"
            )
        within, self._within_count = self._within_count, name == "count"
        text = super().visit_function(func, *args, **kw)
        self._within_count = within
        return text

    def visit_cast(self, cast: Any, **kw: Any) -> str:
        clause = cast.clause
        while isinstance(clause, Grouping):
            clause = clause.element
        if isinstance(clause, BindParameter) and isinstance(clause.type, String | NullType):
            kind = cast.type
            while isinstance(kind, ARRAY | DOMAIN):
                kind = kind.item_type if isinstance(kind, ARRAY) else kind.data_type
            # There is no public way to ask what a type is at bottom.
            if kind._type_affinity in (Date, DateTime, Time):  # noqa: SLF001
                raise QueryRefused(
                    "the statement casts a text to a date or time, which may say 'now': pass a "
                    "date or a datetime"
                )
        return str(super().visit_cast(cast, **kw))

    def visit_custom_op_binary(self, element: Any, operator: Any, **kw: Any) -> str:
        self._check_operator(operator.opstring)
        return str(super().visit_custom_op_binary(element, operator, **kw))

    def visit_custom_op_unary_operator(self, element: Any, operator: Any, **kw: Any) -> str:
        self._check_operator(operator.opstring)
        return str(super().visit_custom_op_unary_operator(element, operator, **kw))

    def visit_custom_op_unary_modifier(self, element: Any, operator: Any, **kw: Any) -> str:
        self._check_operator(operator.opstring)
        return str(super().visit_custom_op_unary_modifier(element, operator, **kw))

    def _check_operator(self, sql: str) -> None:
        if not _OPERATOR.fullmatch(f"{sql.strip()} "):
            self._sheet.refuse_text(sql)

    # Refused

    def visit_textclause(self, textclause: Any, *args: Any, **kw: Any) -> str:
        if not _CONSTANT.fullmatch(textclause.text.strip()):
            self._sheet.refuse_text(textclause.text)
        return str(super().visit_textclause(textclause, *args, **kw))

    def visit_tstring(self, tstring: Any, *args: Any, **kw: Any) -> str:
        self._sheet.refuse_text(str(tstring))
        return str(super().visit_tstring(tstring, *args, **kw))

    def visit_tablesample(self, tablesample: Any, *args: Any, **kw: Any) -> str:
        raise QueryRefused(
            "the statement takes a sample (TABLESAMPLE), another one at each read: read it uncached"
        )

    def visit_sequence(self, *args: Any, **kw: Any) -> str:
        raise QueryRefused("the statement draws from a sequence: run it in a unit of work")

    def visit_insert(self, insert_stmt: Any, *args: Any, **kw: Any) -> str:
        raise _writes("INSERT")

    def visit_update(self, update_stmt: Any, *args: Any, **kw: Any) -> str:
        raise _writes("UPDATE")

    def visit_delete(self, delete_stmt: Any, *args: Any, **kw: Any) -> str:
        raise _writes("DELETE")


def _writes(verb: str) -> QueryRefused:
    return QueryRefused(f"the statement writes ({verb}): run it in a unit of work")


def _leaves(source: object) -> Iterator[TableClause | Alias]:
    while isinstance(source, FromGrouping):
        source = source.element
    if isinstance(source, Join):
        yield from _leaves(source.left)
        yield from _leaves(source.right)
    elif isinstance(source, TableClause | Alias) and _is_leaf(source):
        yield source


def _is_leaf(source: object) -> bool:
    return _table(source) is not None


def _table(source: object) -> TableClause | None:
    """The table that it is, or an alias of."""
    while isinstance(source, Alias):
        source = source.element
    return source if isinstance(source, TableClause) else None
