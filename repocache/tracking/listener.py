"""Follows what is executed on the primary's engine and writes it into the transaction's changes.

Owns the engine events: one layer sees flushes, bulk statements of the ORM and Core alike, for all
of them arrive here. What a statement says is `tracking.dml`'s affair, what came back
`tracking.returned`'s, publishing `transactions.commit_watch`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Connection,
    CursorResult,
    Delete,
    Executable,
    Insert,
    Table,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import TextualSelect
from sqlalchemy.sql.visitors import ExternallyTraversible

from repocache.engines.listeners import Listeners
from repocache.events import Observer, UndeclaredWrite
from repocache.queries.shape import Shape
from repocache.tracking.asking import Asked, asked_for
from repocache.tracking.dml import Equalities, Id, Sent, equalities, ids_after, located_ids
from repocache.tracking.foreseen import AskedAbout, Foreseen
from repocache.tracking.functions import NO_FUNCTIONS, Functions
from repocache.tracking.locked import LockedRows
from repocache.tracking.owners import KeyColumns, Owners
from repocache.tracking.returned import inserted_ids, key_texts, returned_ids
from repocache.tracking.schema_tables import NO_SCHEMAS, NOBODY, Schemas, WrittenTables
from repocache.tracking.shaped import KnownShapes, NoShapes, with_shapes
from repocache.tracking.tables import OwnedTables
from repocache.transactions.changes import MOST_KEYS, Changes
from repocache.transactions.sql_text import Judgement, judge
from repocache.transactions.transaction import Transaction

NO_SHAPES = NoShapes()
_MOST_SHAPED = 512


class Tracker:
    """Tracks the statements of one engine from now on, until `stop`.

    `transaction_of`: the transaction of a connection, whose changes are `Changes`. Textual SQL that
    may write is seen as such, and so are calls of `functions` that may, not what they touch;
    UndeclaredWrite is observed at COMMIT if the application did not say. `schemas`: of scopes whose
    tables are others than `tables`. Not seen: the driver's own connection; what the database does
    by itself beyond what `OwnedTables` knows.
    """

    def __init__(  # noqa: PLR0913  # keyword-only, the last
        self,
        engine: AsyncEngine,
        tables: OwnedTables,
        transaction_of: Callable[[Connection], Transaction],
        observe: Observer,
        functions: Functions = NO_FUNCTIONS,
        *,
        shapes: KnownShapes = NO_SHAPES,
        schemas: Schemas = NO_SCHEMAS,
    ) -> None:
        self._tables = tables
        self._schemas = schemas
        self._alone = WrittenTables(tables)
        self._has_lookups = tables.has_lookups or bool(schemas.everybody)
        self._shapes = shapes
        self._shaped: dict[Table, tuple[Sequence[Shape], Owners]] = {}
        self._transaction_of = transaction_of
        self._observe = observe
        self._functions = functions
        listeners: dict[str, Callable[..., Any]] = {
            "do_execute": self._do_execute,
            "do_executemany": self._do_execute,
            "after_execute": self._after_execute,
            "before_cursor_execute": self._before_cursor_execute,
            "handle_error": self._handle_error,
            "commit": self._on_commit,
        }
        # SQLAlchemy keeps what it has compiled, for the same statements are sent again and again.
        self._known: WeakKeyDictionary[SQLCompiler, Equalities] = WeakKeyDictionary()
        self._suspected: WeakKeyDictionary[SQLCompiler, bool] = WeakKeyDictionary()
        self._asked: WeakKeyDictionary[DefaultExecutionContext, Asked] = WeakKeyDictionary()
        self._reached: WeakKeyDictionary[
            DefaultExecutionContext, Mapping[str, list[str] | None]
        ] = WeakKeyDictionary()
        self._locked: WeakKeyDictionary[DefaultExecutionContext, LockedRows] = WeakKeyDictionary()
        self._foreseen = Foreseen()
        self._listeners = Listeners(engine.sync_engine, listeners)

    def stop(self) -> None:
        """Leave the engine as it was."""
        self._listeners.stop()

    def _changes(self, connection: Connection) -> Changes:
        changes = self._transaction_of(connection).changes
        assert isinstance(changes, Changes)
        return changes

    def _do_execute(
        self,
        cursor: DBAPICursor,
        statement: str,
        parameters: object,
        context: DefaultExecutionContext,
    ) -> bool:
        """Execute a statement that has to be asked for ids, in the dialect's place. False: it need
        not be."""
        # While defaults are executed, the context has no statement yet.
        if getattr(context, "statement", None) is None or not context.is_crud:
            return False
        sent = Sent.by(context)
        if sent is None:
            return False
        owners = self._owners_of(
            sent.statement.table, self._written(sent.statement.table, context).tables
        )
        asked = asked_for(sent, owners, self._equalities(sent), context)
        if asked is None:
            return False
        self._asked[context] = asked
        asked.run(cursor, statement, parameters, context)
        return True

    def _after_execute(
        self,
        connection: Connection,
        _statement: Executable,
        _multiparams: object,
        _params: object,
        _options: object,
        result: object,
    ) -> None:
        if not isinstance(result, CursorResult):
            return  # the value of a sequence or default
        context = result.context
        if context.isinsert or context.isupdate or context.isdelete:
            if result.rowcount != 0:
                self._changes(connection).write()
            sent = Sent.by(context)
            if sent is None:
                self._suspect(connection, context)
            else:
                self._touch(self._changes(connection), sent, result)
        if getattr(context.compiled, "ctes", None):
            self._suspect_ctes(connection, context)

    def _written(self, table: object, context: DefaultExecutionContext) -> WrittenTables:
        if not self._schemas.everybody:
            return self._alone
        return self._schemas.written(self._tables, table, context.execution_options)

    def _owners_of(self, table: ExternallyTraversible, tables: OwnedTables) -> Owners:
        """Whom a write to one of these tables concerns, with the tags that are known by now."""
        owners = tables.of(table)
        if not owners.tags or not isinstance(table, Table):
            return owners
        shapes = self._shapes.of(owners.tags)
        known = self._shaped.get(table)
        if known is None or known[0] is not shapes:
            if len(self._shaped) >= _MOST_SHAPED:
                self._shaped.clear()
            known = self._shaped[table] = (shapes, with_shapes(owners, table, shapes))
        return known[1]

    def _touch(self, changes: Changes, sent: Sent, result: CursorResult[Any]) -> None:
        written = self._written(sent.statement.table, result.context)
        owners = self._owners_of(sent.statement.table, written.tables)
        if owners.untold:
            changes.unseen(sent.compiled.string)
        set_columns = sent.sets(owners)
        moved = owners.written.union(
            written.whole,
            *(prefixes for key, prefixes in owners.updated.items() if key in set_columns),
        )
        if isinstance(sent.statement, Delete) and owners.cascade is not None:
            reached = self._reached.get(result.context)
            moved |= owners.deleted if reached is None else owners.cascade.whole
            for prefix, keys in ({} if reached is None else reached).items():
                changes.touch(prefix, keys)
        for prefix in moved:
            changes.touch(prefix, None)
        if owners.known and owners.tags not in moved:
            changes.touch(owners.tags, [owners.known, *sent.moved(owners.bare, set_columns)])
        for each in sent.concerned(owners) if owners.selective else owners.keyed:
            if each.owner not in moved:
                # More are not told one by one: no key is made, which would stop the loop.
                few = sent.count <= MOST_KEYS
                ids = self._touched_ids(each, sent, owners, result) if few else None
                if ids is not None and each.is_lookup:
                    ids = [id for id in ids if None not in id]
                if ids and each.is_shape and len(ids) * len(owners.lookups) > MOST_KEYS:
                    ids = None  # for so many shapes they are too many
                schema = written.schema if each.by_schema else ""
                texts = None if ids is None else key_texts(each.keys, ids, schema)
                changes.touch(each.owner, texts)

    def _touched_ids(
        self, each: KeyColumns, sent: Sent, owners: Owners, result: CursorResult[Any]
    ) -> Sequence[Id] | None:
        """The ids of the rows that a statement touched, old and new ones; None: not known."""
        set_columns = sent.sets(owners)
        renames = not set_columns.isdisjoint(column.key for column in each.columns)
        asked = self._asked.get(result.context)
        if asked is not None and (not renames or isinstance(sent.statement, Insert)):
            return asked.ids_of(each.columns)
        if isinstance(sent.statement, Insert):
            return inserted_ids(sent, result, each, owners.unsaid)
        locked = self._locked.get(result.context)
        if locked is not None and each.is_lookup and locked.tells(each):
            return locked.before_and_after(sent, each, set_columns)
        located = located_ids(sent, self._equalities(sent), each.columns) if each.trusted else None
        if located is None:
            # RETURNING names the new id, the old one is gone.
            return None if renames else returned_ids(result, each.columns)
        before = [id for some in located for id in some]
        if not renames:
            return before
        after = ids_after(sent, located, each.columns, set_columns)
        return None if after is None else before + after

    def _equalities(self, sent: Sent) -> Equalities:
        known = self._known.get(sent.compiled)
        if known is None:
            known = self._known[sent.compiled] = equalities(sent.statement)
        return known

    def _suspect(self, connection: Connection, context: DefaultExecutionContext) -> None:
        """Everybody whom this INSERT, UPDATE or DELETE may concern, as a whole."""
        statement = getattr(
            context.compiled.compile_state if context.compiled else None, "statement", None
        )
        self._suspect_statement(connection, statement, context)

    def _suspect_ctes(self, connection: Connection, context: DefaultExecutionContext) -> None:
        for cte in getattr(context.compiled, "ctes", None) or ():
            if isinstance(cte.element, TextualSelect):
                text = str(cte.element.element)
                if judge(text).writes:
                    self._changes(connection).write()
                    self._changes(connection).unseen(text)
            else:
                self._suspect_statement(connection, cte.element, context)

    def _suspect_statement(
        self, connection: Connection, statement: object, context: DefaultExecutionContext
    ) -> None:
        if isinstance(statement, UpdateBase):
            written = self._written(statement.table, context)
            owners, changes = written.tables.of(statement.table), self._changes(connection)
            changes.write()
            for prefix in owners.all | written.whole:
                changes.touch(prefix, None)
            if owners.untold:
                changes.unseen(str(statement))

    def _before_cursor_execute(
        self,
        connection: Connection,
        _cursor: DBAPICursor,
        statement: str,
        _parameters: object,
        context: DefaultExecutionContext,
        _executemany: bool,
    ) -> None:
        if context.isdelete or (self._has_lookups and context.isupdate):
            self._ask_before(connection, context)
        suspected = self._calls_writing(statement, context)
        judgement = Judgement() if _is_built(statement, context) else judge(statement)
        if not judgement.writes:
            if suspected:
                self._changes(connection).unseen(statement)
            return
        changes = self._changes(connection)
        changes.write()
        emptied = self._tables.emptied(judgement.truncates, cascade=judgement.cascades)
        among = judgement.cascades and not self._schemas.names.isdisjoint(judgement.truncates)
        for prefix in (emptied or frozenset()) | (self._schemas.everybody if among else NOBODY):
            changes.touch(prefix, None)
        if emptied is None or suspected or not judgement.only_truncates:
            changes.unseen(statement)

    def _ask_before(self, connection: Connection, context: DefaultExecutionContext) -> None:
        """What lookups' columns hold in the rows that will be written, and whom their deletion
        reaches."""
        sent = Sent.by(context)
        if sent is None:
            return
        written = self._written(sent.statement.table, context)
        owners = self._owners_of(sent.statement.table, written.tables)
        if not owners.lookups and not (context.isdelete and owners.cascade):
            return
        restricted = self._equalities(sent)
        about = AskedAbout(connection, sent, restricted, context.execution_options, written.schema)
        if self._has_lookups and (locked := self._foreseen.locked(about, owners)) is not None:
            self._locked[context] = locked
        if context.isdelete and (reached := self._foreseen.reached(about, owners)) is not None:
            self._reached[context] = reached

    def _calls_writing(self, statement: str, context: DefaultExecutionContext) -> bool:
        compiled = context.compiled
        if not isinstance(compiled, SQLCompiler):
            return compiled is None and self._functions.suspected_text(statement)
        known = self._suspected.get(compiled)
        if known is None:
            suspected = (
                self._functions.suspected_text if context.is_text else self._functions.suspected
            )
            known = self._suspected[compiled] = suspected(compiled.string)
        return known

    def _handle_error(self, context: ExceptionContext) -> None:
        """A statement that failed may have changed rows before: not on PostgreSQL, where only
        ROLLBACK can follow."""
        execution, connection = context.execution_context, context.connection
        if (
            connection is None
            or context.is_disconnect
            or not isinstance(execution, DefaultExecutionContext)
        ):
            return
        if execution.isinsert or execution.isupdate or execution.isdelete:
            self._suspect(connection, execution)
        self._suspect_ctes(connection, execution)

    def _on_commit(self, connection: Connection) -> None:
        for statement in self._changes(connection).undeclared:
            self._observe(UndeclaredWrite(statement))


def _is_built(statement: str, context: DefaultExecutionContext) -> bool:
    """Whether the text is SQLAlchemy's own, and what it may write is in the statement that it was
    made of."""
    if context.compiled is None or context.is_text:
        return False
    written = (
        context.isinsert
        or context.isupdate
        or context.isdelete
        or getattr(context.compiled, "ctes", None)
    )
    return bool(written) or statement.startswith("SELECT")
