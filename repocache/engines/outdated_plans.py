"""Statements that a connection has prepared before DDL: one that meets such a plan is sent again,
where nothing is lost by it.

Owns when that is, and who else forgets its plans. Which errors say so is `driver_errors`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

import asyncpg
from sqlalchemy import URL
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.engines.driver_errors import is_outdated
from repocache.engines.engine import Purpose
from repocache.engines.topology_settings import TopologySettings

AGAIN = 3
"""How often a statement is sent again: DDL may come in a row, and to each node by itself."""


Execute = Callable[[DBAPICursor, str, Any, ExecutionContext], None]
"""As a dialect's `do_execute`."""


class OutdatedPlans:
    """Makes the engines of one database. Whichever hears of DDL, all their connections prepare anew
    what they execute next: each would be told by itself, and not each can be told without harm.

    A statement is sent again in AUTOCOMMIT, and as the first one of a transaction. A later one has
    failed its transaction, on the server.
    """

    def __init__(self, engines: Callable[[URL, Purpose, TopologySettings], AsyncEngine]) -> None:
        self._engines = engines
        # Of engines that are still there: replicas come and go.
        self._dialects: WeakSet[PGDialect_asyncpg] = WeakSet()

    def __call__(self, url: URL, purpose: Purpose, settings: TopologySettings) -> AsyncEngine:
        engine = self._engines(url, purpose, settings)
        if isinstance(engine.dialect, PGDialect_asyncpg):
            dialect = engine.dialect
            self._dialects.add(dialect)
            # The dialect is this engine's alone. Not by the event: who handles that one first hides
            # it from the others.
            dialect.__dict__["do_execute"] = partial(self._execute, dialect.do_execute)
        return engine

    def _execute(
        self,
        execute: Execute,
        cursor: DBAPICursor,
        statement: str,
        parameters: Any,
        context: ExecutionContext,
    ) -> None:
        """In the place of the dialect's own."""
        connection = context.root_connection.connection
        driver = connection.driver_connection
        tries = (
            AGAIN
            if isinstance(driver, asyncpg.Connection) and not driver.is_in_transaction()
            else 0
        )
        while True:
            try:
                execute(cursor, statement, parameters, context)
            except Exception as error:
                if not is_outdated(error):
                    raise
                self._forget()
                if tries == 0:
                    raise
                tries -= 1
                connection.rollback()
                context.pre_exec()  # tells the cursor that the plans are outdated
            else:
                return

    def _forget(self) -> None:
        for dialect in tuple(self._dialects):
            # What SQLAlchemy does by itself for the one engine, and some of the errors.
            dialect._invalidate_schema_cache()  # type: ignore[no-untyped-call]  # noqa: SLF001
