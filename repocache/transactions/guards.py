"""Commits that could not be followed, and are refused: each would happen unseen, and its
invalidation would be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor

from repocache.errors import ConfigurationError, TransactionRefused
from repocache.transactions.sql_text import judge


def check_watchable(engine: Engine, left_behind: Callable[..., None]) -> None:
    """Raises ConfigurationError for an engine in AUTOCOMMIT, or one whose commits are watched
    already.

    `left_behind`: what an earlier watch, which is closed, has put in the place of `do_commit`; it
    is taken away.
    """
    wrappers = engine.dialect.__dict__
    if getattr(wrappers.get("do_commit"), "__func__", None) is left_behind:
        del wrappers["do_commit"]
    if "do_commit" in wrappers:
        raise ConfigurationError(
            "this engine's commits are watched already: give each database its own engine"
        )
    levels = (
        engine.get_execution_options().get("isolation_level"),
        getattr(engine.dialect, "_on_connect_isolation_level", None),
    )
    if any(map(_is_autocommit, levels)):
        raise ConfigurationError(
            "the primary's engine must not be in AUTOCOMMIT: leave isolation_level out"
        )


def refuse_textual(
    connection: Connection,
    _cursor: DBAPICursor,
    statement: str,
    _parameters: object,
    context: DefaultExecutionContext,
    _executemany: bool,
) -> None:
    """Listener to `before_cursor_execute`. Raises TransactionRefused for a textual COMMIT and its
    kin."""
    if context.compiled is not None and not (context.is_text or context.isddl):
        return
    ends = judge(statement).ends
    if ends and not (ends == "BEGIN" and connection.dialect.name == "sqlite"):
        raise TransactionRefused(
            f"textual {ends} begins or ends a transaction unseen, and its invalidation would be "
            "lost: use commit() and rollback() of the unit of work, session or connection, or "
            "savepoint()"
        )


def refuse_autocommit(_target: Connection | Engine, options: dict[str, Any]) -> None:
    """Listener to execution options. Raises TransactionRefused for AUTOCOMMIT."""
    if _is_autocommit(options.get("isolation_level")):
        raise TransactionRefused(
            "AUTOCOMMIT on the primary would commit unseen, and its invalidation would be lost: "
            "use another engine for it, or leave isolation_level out"
        )


def refuse_twophase(*_arguments: object, **_options: object) -> None:
    """In the place of a dialect's two-phase commit. Raises TransactionRefused."""
    raise TransactionRefused(
        "a two-phase commit may be finished by anybody at any time, and its invalidation would be "
        "lost: use an ordinary transaction"
    )


def _is_autocommit(level: object) -> bool:
    return isinstance(level, str) and level.upper() == "AUTOCOMMIT"
