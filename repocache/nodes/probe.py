"""The sampler's own connection to one node: one statement, one round trip, under a deadline.

Owns the connection and what it asks. What the answers mean is `wal`'s, who shares them
`shared_poll`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repocache.engines.driver_errors import POOLED, WRITABLE, sqlstate
from repocache.engines.poolers import Way
from repocache.engines.server import READ_ONLY_SQL, SERVER_SQL, Process, Server, System
from repocache.events import Out
from repocache.nodes.wal import PrimaryIdentity, ReplicaReading, WalReceiver

# Here and wherever the library asks the catalogue, every function has its schema, and every
# operator is for exactly its types: none comes before PostgreSQL's own that somebody has put into a
# schema of the search_path.
PRIMARY_SQL = """
SELECT (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000.0)::bigint,
       CASE WHEN NOT r THEN (pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint END,
       CASE WHEN NOT r THEN (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint END,
       CASE WHEN NOT r THEN
           pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1,
               8)
       END,
       extract(epoch FROM pg_catalog.clock_timestamp())::float8
FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) recovery
"""
# The position is read before the receiver: what was replayed while the receiver was already on this
# timeline, or earlier, is of it or of its ancestors. The other way round, a change of timeline
# between the two would be missed. What bounds the rows that it shows from above is read last: a
# receiver runs, so what was replayed before it began is covered by the replay position, and what
# came since then by what was received (`positions.judge`).
REPLICA_SQL = """
SELECT p.started, p.in_recovery, p.replayed, w.pid, w.status, w.received_tli,
       CASE WHEN NOT p.in_recovery THEN
           ('x' || pg_catalog.substr(
               pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1,
                   8))::bit(32)::int
       WHEN w.received_tli IS NULL THEN
           (SELECT greatest(c.timeline_id, m.min_recovery_end_timeline)
            FROM pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() m)
       END,
       CASE WHEN w.pid IS NOT NULL THEN
           (greatest(pg_catalog.pg_last_wal_replay_lsn(), pg_catalog.pg_last_wal_receive_lsn())
               - '0/0'::pg_lsn)::bigint
       END
FROM (SELECT (pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint AS replayed,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000.0)::bigint AS started
    OFFSET 0) p LEFT JOIN pg_catalog.pg_stat_wal_receiver w ON true
"""
ALIVE_SQL = "SELECT 1"
CLOCK_SQL = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8"
# Its commit writes a record, which the WAL writer flushes soon, and with it whatever waits before.
# It changes nothing, and is allowed in a read-only transaction.
COMPLETE_SQL = "SELECT CAST(pg_catalog.pg_current_xact_id() AS text)"
REFUSALS = ("42501", "42883", "0A000")
"""SQLSTATE: not permitted, no such function, not supported: what databases without positions say
(Aurora)."""


class ProbeFailed(Exception):
    """The node did not answer as hoped. `why`: "in recovery", "elsewhere" (another server process
    answered), "an older timeline" (one that has been replaced)."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class PrimaryReading:
    """What one poll saw of the primary. `address`: as the server sees itself; positions in bytes;
    `clock`: the server's, Unix time in seconds; `began` and `ended`: monotonic seconds."""

    identity: PrimaryIdentity
    address: str
    flush: int
    insert: int
    clock: float
    began: float
    ended: float


def refuses_positions(error: BaseException) -> bool:
    """Whether the database says that it has no positions to give, to this role or at all."""
    return sqlstate(error) in REFUSALS


def replica_reading(
    row: Sequence[Any], server: Server, began: float, ended: float
) -> ReplicaReading:
    """The reading in a row of REPLICA_SQL, from that server."""
    _, in_recovery, replayed, pid, status, received, control, shown = row
    return ReplicaReading(
        in_recovery=in_recovery,
        position=replayed or 0,
        shown=shown,
        system=server.system,
        process=server.process,
        receiver=None if pid is None else WalReceiver(server.process, pid),
        streaming=pid is not None and status in (None, "streaming"),
        timeline=control if received is None else received,
        timeline_seen=received is not None,
        began=began,
        ended=ended,
    )


class Probe:
    """One connection, made when it is needed and dropped at the first failure. Not for two callers
    at once.

    `positions`: whether the database has them; without, a poll only asks for a sign of life. `lost`
    is called when the server ends the connection, where the driver tells so (asyncpg). `way`: how
    the node is reached, which is found out here first.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        connect_timeout: float,
        timeout: float,
        lost: Callable[[], None],
        way: Way,
    ) -> None:
        self._engine = engine
        self._way = way
        self._lost = lost
        way.follow(engine)
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._connection: AsyncConnection | None = None
        self._asyncpg: asyncpg.Connection | None = None
        self._server = Server(System("", 0), Process(0, 0), in_recovery=False, address="")
        self.positions = engine.dialect.name == "postgresql"

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not (
            self._asyncpg is not None and self._asyncpg.is_closed()
        )

    async def connect(self) -> None:
        """Connect, anew if need be, and ask which server it is. Raises what the driver raises, and
        TimeoutError."""
        await self.drop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                try:
                    await self._connect()
                except Exception as error:
                    if not self._way.refused(error):
                        raise
                    await self.drop()
                    await self._connect()
        except BaseException:
            await self.drop()
            raise

    async def _connect(self) -> None:
        self._connection = await self._engine.connect()
        driver = (await self._connection.get_raw_connection()).driver_connection
        if isinstance(driver, asyncpg.Connection):
            self._asyncpg = driver
            driver.add_termination_listener(self._terminated)
        if self.positions:
            self._server = Server.of(await self._row(SERVER_SQL))
            self._way.learn(self._server, driver)
        elif (
            self._engine.dialect.name == "postgresql"
            and (await self._row(READ_ONLY_SQL))[0] != "on"
        ):
            self._way.reason = self._way.reason or WRITABLE

    async def primary(self) -> PrimaryReading:
        """Where the primary's WAL stands. Raises ProbeFailed, what the driver raises, and
        TimeoutError."""
        began = time.monotonic()
        started, flush, insert, timeline, clock = await self.fetch(PRIMARY_SQL)
        if flush is None:
            await self.drop()
            raise ProbeFailed(Out.IN_RECOVERY)
        await self._check(started)
        identity = PrimaryIdentity(self._server.system, int(timeline, 16), *self._server.process)
        return PrimaryReading(
            identity, self._server.address, flush, insert, clock, began, time.monotonic()
        )

    async def replica(self) -> ReplicaReading:
        """What the replica has replayed. Raises as `primary` does."""
        began = time.monotonic()
        row = await self.fetch(REPLICA_SQL)
        await self._check(row[0])
        return replica_reading(row, self._server, began, time.monotonic())

    async def complete(self) -> None:
        """Have the primary flush all of its WAL, soon, to the end of a record. Raises as `primary`
        does."""
        await self.fetch(COMPLETE_SQL)

    async def alive(self) -> None:
        """Return if the node answers. Raises as `primary` does."""
        await self.fetch(ALIVE_SQL)

    async def clock(self) -> float | None:
        """The server's clock, Unix time in seconds; None of SQLite, which has this machine's.
        Raises as `primary`."""
        if self._engine.dialect.name != "postgresql":
            await self.alive()
            return None
        return float((await self.fetch(CLOCK_SQL))[0])

    async def fetch(self, sql: str) -> Sequence[Any]:
        """The one row of a statement. The connection is dropped if it fails, or takes too long
        (TimeoutError)."""
        try:
            async with asyncio.timeout(self._timeout):
                if self.positions and self._way.reason == POOLED:
                    return await self._row_of_one_server(sql)
                return await self._row(sql)
        except BaseException:
            await self.drop()
            raise

    async def drop(self) -> None:
        """Give the connection up, without waiting for a server that may be silent."""
        connection, self._connection = self._connection, None
        driver, self._asyncpg = self._asyncpg, None
        if driver is not None:
            driver.remove_termination_listener(self._terminated)
            driver.terminate()
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def abandon(self) -> None:
        """Let go of a connection whose loop was closed. SQLAlchemy keeps one that is checked out,
        its pool, and so its listeners, for as long as anybody names it: all of a node, and its
        pending tasks, until the process ends."""
        connection, self._connection = self._connection, None
        driver, self._asyncpg = self._asyncpg, None
        if driver is not None:
            driver.remove_termination_listener(self._terminated)
        if connection is not None and connection.sync_connection is not None:
            connection.sync_connection.detach()

    def _terminated(self, _: object) -> None:
        self._lost()

    async def _check(self, started: int) -> None:
        if started != self._server.process.started:
            await self.drop()
            raise ProbeFailed(Out.ELSEWHERE)

    async def _row_of_one_server(self, sql: str) -> Sequence[Any]:
        """Through a pooler: both statements of a transaction are answered by one server, in one of
        its lives."""
        await self._execute("BEGIN READ ONLY")
        self._server = Server.of(await self._row(SERVER_SQL))
        row = await self._row(sql)
        await self._execute("COMMIT")
        return row

    async def _execute(self, sql: str) -> None:
        if self._asyncpg is not None:
            await self._asyncpg.execute(sql)
            return
        assert self._connection is not None
        await self._connection.exec_driver_sql(sql)

    async def _row(self, sql: str) -> Sequence[Any]:
        if self._asyncpg is not None:
            # Past SQLAlchemy: each commit waits for this round trip (protocol, Write path 4).
            row: Sequence[Any] = await self._asyncpg.fetchrow(sql)
            return row
        assert self._connection is not None
        return (await self._connection.exec_driver_sql(sql)).one()
