"""What is asked before a statement takes rows, since nothing tells it afterwards: the values of
lookups in them, and whom foreign keys' actions will reach with them.

Owns when it is asked, and that no question fails a transaction that would go well. The questions
are `locked`'s and `cascades`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Delete, Select, Table

from repocache.tracking.cascades import MOST_ASKED, Cascade, Questions, rights_statement
from repocache.tracking.dml import Equalities, Sent, compared, located_ids
from repocache.tracking.locked import LockedRows, asked_before, locked_rows
from repocache.tracking.owners import Owners
from repocache.tracking.returned import key_texts


@dataclass(frozen=True, slots=True)
class AskedAbout:
    """A statement that is about to be sent. `restricted`: its equalities. `execution`: its options.
    `schema`: of its table, with which ids begin; empty: with none."""

    connection: Connection
    sent: Sent
    restricted: Equalities
    execution: Mapping[str, Any]
    schema: str

    @property
    def options(self) -> Mapping[str, Any]:
        """Those that say where its tables are."""
        return {
            name: self.execution[name]
            for name in ("schema_translate_map",)
            if name in self.execution
        }


class Foreseen:
    """Of one engine. What the role may do is looked at once, and questions are built once."""

    def __init__(self) -> None:
        self._askable: dict[tuple[str, ...], bool] = {}
        self._questions: dict[tuple[Cascade, tuple[str, ...]], Questions] = {}

    def locked(self, about: AskedAbout, owners: Owners) -> LockedRows | None:
        """What lookups' columns hold in the rows that will be written. None: it is not asked."""
        sent = about.sent
        columns = asked_before(sent, owners) if owners.lookups else ()
        table = sent.statement.table
        if not columns or not isinstance(table, Table) or not self._may_ask(about, (table,)):
            return None
        return locked_rows(about.connection, sent, about.restricted, columns, about.options)

    def reached(self, about: AskedAbout, owners: Owners) -> Mapping[str, list[str] | None] | None:
        """Before a DELETE of rows that it names: the keys of whom the foreign keys' actions will
        reach with them, by owner. None: nobody knows."""
        sent, cascade = about.sent, owners.cascade
        if not isinstance(sent.statement, Delete) or about.connection.dialect.name != "postgresql":
            return None
        if cascade is None or not cascade.reached:
            return None
        columns = compared(sent.statement, about.restricted)
        located = (
            located_ids(sent, about.restricted, columns) if cascade.named_by(columns) else None
        )
        ids = list(dict.fromkeys(id for some in located or () for id in some))
        if not 0 < len(ids) <= MOST_ASKED or not self._may_ask(about, cascade.tables):
            return None
        wanted = [id[0] for id in ids] if len(columns) == 1 else ids

        def execute(rows: Select[Any], ids: Sequence[Any]) -> Sequence[Any]:
            found = about.connection.execute(rows, {"ids": ids}, execution_options=about.options)
            return found.one()

        told = {each.keys.prefix: each for each in cascade.told}
        found = self._questions_of(cascade, columns).ask(wanted, execute)
        return {
            prefix: key_texts(
                told[prefix].keys, ids, about.schema if told[prefix].by_schema else ""
            )
            for prefix, ids in found.items()
        }

    def _may_ask(self, about: AskedAbout, tables: tuple[Table, ...]) -> bool:
        """What the role may do is looked at once: a question must not fail a transaction that would
        go well."""
        connection = about.connection
        if connection.dialect.name != "postgresql":
            return True
        names = (about.schema, *(table.fullname for table in tables))
        if names not in self._askable:
            question = rights_statement(tables, connection.dialect, about.schema)
            self._askable[names] = bool(connection.execute(question).scalar_one())
        return self._askable[names]

    def _questions_of(self, cascade: Cascade, columns: Sequence[Column[Any]]) -> Questions:
        by = (cascade, tuple(column.name for column in columns))
        if by not in self._questions:
            self._questions[by] = Questions(cascade, columns)
        return self._questions[by]
