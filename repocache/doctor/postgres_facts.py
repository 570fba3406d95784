"""What PostgreSQL says of itself and of an application's tables, asked as the application's own
role, on connections of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repocache.doctor.redis_facts import Clock, beyond
from repocache.redaction.foreign import in_brief

SETTINGS = (
    *("wal_level", "synchronous_commit", "max_connections", "superuser_reserved_connections"),
    *("hot_standby_feedback", "max_standby_streaming_delay", "track_commit_timestamp"),
    *("max_slot_wal_keep_size", "fsync", "full_page_writes"),
)
_SETTINGS = text(
    "SELECT name, setting, unit FROM pg_catalog.pg_settings"
    " WHERE name = ANY (CAST(:names AS text[]))"
)
_SELF = text(
    """
SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_version'),
  CAST((SELECT system_identifier FROM pg_catalog.pg_control_system()) AS text),
  (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
  CAST(extract(epoch FROM pg_catalog.clock_timestamp()) AS double precision)
"""
)
_REPLAY = text(
    """
SELECT CAST(pg_catalog.pg_last_wal_replay_lsn() - '0/0' AS bigint),
  pg_catalog.pg_get_wal_replay_pause_state() <> 'not paused',
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_wal_receiver),
  CAST(extract(epoch FROM pg_catalog.clock_timestamp()
    - pg_catalog.pg_last_xact_replay_timestamp()) AS double precision)
"""
)
_WRITTEN = text("SELECT CAST(pg_catalog.pg_current_wal_lsn() - '0/0' AS bigint)")
_SLOTS = text(
    """
SELECT CAST(slot_name AS text), active,
  CAST(pg_catalog.pg_current_wal_lsn() - restart_lsn AS bigint)
FROM pg_catalog.pg_replication_slots WHERE NOT temporary ORDER BY slot_name
"""
)
_LIMITS = text(
    """
SELECT role.rolconnlimit, base.datconnlimit
FROM pg_catalog.pg_roles AS role, pg_catalog.pg_database AS base
WHERE role.rolname = current_user AND base.datname = pg_catalog.current_database()
"""
)


class Slot(NamedTuple):
    """`retained`: bytes of WAL that are kept for it, None: none is."""

    name: str
    active: bool
    retained: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One server. `unreachable`: why nothing is known; empty: it answers."""

    name: str
    unreachable: str = ""
    version: str = ""
    in_recovery: bool = False
    #: Of the cluster, and of the last checkpoint.
    system: str = ""
    timeline: int = 0
    #: Seconds that its clock is ahead of this process's, at least; less than 0: behind.
    skew: float = 0.0
    #: By name; times in milliseconds as PostgreSQL has them.
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: Written by a primary, replayed by a replica, bytes; None: not told.
    position: int | None = None
    #: Of a replica: it does not replay what it receives; receives nothing; seconds since the
    #: transaction that it replayed last.
    paused: bool = False
    receives: bool = True
    replayed_ago: float | None = None
    #: Of a primary.
    slots: tuple[Slot, ...] = ()
    #: Connections that the role, and the database, may have; -1: any number.
    role_limit: int = -1
    database_limit: int = -1

    def number(self, setting: str, default: int = 0) -> int:
        """A setting that is a number."""
        return int(self.settings.get(setting, default))


async def read_node(name: str, engine: AsyncEngine, *, clock: Clock = time.time) -> NodeFacts:
    """Of the server behind the engine, which is disposed of. `clock`: of this process, Unix time in
    seconds. Raises nothing of the database's: one that does not answer is a fact."""
    try:
        async with engine.connect() as connection:
            return await _facts(name, connection, clock)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return NodeFacts(name=name, unreachable=in_brief(error))
    finally:
        await engine.dispose()


async def _facts(name: str, connection: AsyncConnection, clock: Clock) -> NodeFacts:
    before = clock()
    recovery, version, system, timeline, now = (await connection.execute(_SELF)).one()
    skew = beyond(before, now, clock())
    rows = (await connection.execute(_SETTINGS, {"names": list(SETTINGS)})).all()
    settings = {setting: value for setting, value, _ in rows}
    known: dict[str, Any] = {
        "name": name,
        "version": version,
        "in_recovery": recovery,
        "system": system,
        "timeline": timeline,
        "skew": skew,
        "settings": settings,
    }
    if recovery:
        position, paused, receivers, ago = (await connection.execute(_REPLAY)).one()
        known |= {"position": position, "paused": paused, "receives": receivers > 0}
        return NodeFacts(**known, replayed_ago=ago)
    role_limit, database_limit = (await connection.execute(_LIMITS)).one()
    return NodeFacts(
        **known,
        position=await scalar(connection, _WRITTEN),
        slots=tuple(Slot(*row) for row in await rows_of(connection, _SLOTS)),
        role_limit=role_limit,
        database_limit=database_limit,
    )


async def rows_of(connection: AsyncConnection, statement: Any, **values: Any) -> Sequence[Any]:
    """None where the role may not ask."""
    try:
        return (await connection.execute(statement, values)).all()
    except DBAPIError:
        return ()


async def scalar(connection: AsyncConnection, statement: Any, **values: Any) -> Any:
    """The one value; None where the role may not ask."""
    rows = await rows_of(connection, statement, **values)
    return rows[0][0] if rows else None


Engines = Callable[[str], AsyncEngine]
"""Makes an engine to the node of a name."""
