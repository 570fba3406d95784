"""How often tables were read and written, as PostgreSQL counts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.doctor.postgres_facts import rows_of, scalar

_COUNTS = text(
    """
SELECT CAST(schemaname AS text) || '.' || CAST(relname AS text),
  n_live_tup, n_tup_ins, n_tup_upd, n_tup_del,
  coalesce(seq_scan, 0) + coalesce(idx_scan, 0),
  pg_catalog.pg_relation_size(relid)
FROM pg_catalog.pg_stat_user_tables
WHERE CAST(schemaname AS text) || '.' || CAST(relname AS text) = ANY (CAST(:names AS text[]))
"""
)
_SINCE = text(
    "SELECT CAST(stats_reset AS text) FROM pg_catalog.pg_stat_database"
    " WHERE datname = pg_catalog.current_database()"
)


@dataclass(frozen=True, slots=True)
class TableCount:
    """Of one table on one node. `rows`, `bytes`: now, about; the others since the statistics
    began."""

    rows: int
    inserted: int
    updated: int
    deleted: int
    scans: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """By table, with its schema. `since`: when the statistics began, empty: it is not told.
    `unreachable`: why there are none."""

    tables: Mapping[str, TableCount]
    since: str = ""
    unreachable: str = ""


async def read_counts(tables: Iterable[str], engine: AsyncEngine) -> NodeCounts:
    """`engine`: is disposed of. Raises nothing of the database's."""
    try:
        async with engine.connect() as connection:
            rows = await rows_of(connection, _COUNTS, names=sorted(tables))
            since = await scalar(connection, _SINCE)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return NodeCounts({}, unreachable=type(error).__name__)
    finally:
        await engine.dispose()
    return NodeCounts({name: TableCount(*counts) for name, *counts in rows}, since or "")
