"""The outbox: invalidations in a table, written by the transactions that they belong to, deleted
once delivered.

Owns the table's statements and its connections. How a row is written is `seal`'s affair, what it
says `notice`'s, how the table is made `alembic_ops`'s, how it is found `outbox_table`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repocache.errors import DatabaseUnavailable, RepocacheError
from repocache.invalidation.batch import Batch
from repocache.invalidation.notice import LONGEST, WATCHED, notices_of
from repocache.invalidation.taken import OutboxRow, Retry
from repocache.redaction.foreign import in_brief

TABLE = "repocache_outbox"
PURGES = "repocache_purges"
"""Of the same columns: what edges have still to purge."""
CHANNEL = "repocache_outbox"
"""Where a trigger's notice that nobody publishes inline wakes the relays (LISTEN)."""
DEADLINE = 10.0
"""Seconds for one statement: a primary that is silent costs the connection."""
ROOM = 4 * LONGEST
"""Bytes of rows that are taken together."""

# OUTBOX stands for the table, with its schema: an application may change its search_path as it
# likes. IS_WATCHED: its trigger is understood here.
# The relays share the work, and none waits for another. Ids are no order of commits: none is
# remembered. Bytes are counted before any are sent, and those that the disk holds before they are
# unpacked: a row may be of any size. What exceeds the room waits for the next turn.
_TAKE = """
WITH taken AS (
    SELECT id, source, tries,
        CASE WHEN pg_catalog.pg_column_size(notices) <= CAST(:held AS integer)
            THEN notices::text END AS said
    FROM OUTBOX
    WHERE due <= pg_catalog.clock_timestamp()
      AND (source IS NULL OR IS_WATCHED)
    LIMIT CAST(:most AS bigint) FOR UPDATE SKIP LOCKED
), measured AS (
    SELECT id, source, tries,
        CASE WHEN pg_catalog.octet_length(said) <= CAST(:longest AS integer) THEN said END AS said
    FROM taken
), counted AS (
    SELECT *, pg_catalog.sum(pg_catalog.octet_length(said)) OVER (ORDER BY id) AS bytes
        FROM measured
)
SELECT id, said, source, tries FROM counted WHERE bytes IS NULL OR bytes <= CAST(:room AS bigint)
"""
# After a failover to a replica that had not seen all, ids are given out once more: a row of that id
# that is due at another time is another transaction's, and nobody has published it.
# A deletion that a crash undoes costs a second delivery: nobody waits for the disk.
_ACKNOWLEDGE = """
DELETE FROM OUTBOX AS o USING
    ROWS FROM (pg_catalog.unnest(CAST(:ids AS bigint[])),
        pg_catalog.unnest(CAST(:dues AS bigint[]))) AS done (id, due),
    (SELECT pg_catalog.set_config('synchronous_commit'::text, 'off'::text, true) OFFSET 0) AS quick
WHERE o.id = done.id
    AND o.due = 'epoch'::timestamptz + done.due::double precision * '1 microsecond'::interval
"""
_PUT = """
INSERT INTO OUTBOX (notices, due) VALUES (CAST(:notices AS jsonb),
    pg_catalog.clock_timestamp() +
        pg_catalog.make_interval(secs => CAST(:wait AS double precision)))
"""
# What nobody here owns may be somebody's who is away: one row for the whole table says as much as
# many do.
_FOLD_FOREIGN = """
WITH many AS (
    SELECT source FROM OUTBOX
    WHERE NOT IS_WATCHED
      AND pg_catalog.octet_length(source) <= 127  -- two names: no table has a longer one
    GROUP BY source HAVING pg_catalog.count(*) > CAST(:most AS bigint)
), gone AS (
    DELETE FROM OUTBOX WHERE id IN (
        SELECT id FROM OUTBOX WHERE source IN (SELECT source FROM many) FOR UPDATE SKIP LOCKED
    ) RETURNING source
), folded AS (
    INSERT INTO OUTBOX (source, notices)
    SELECT source, pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('t'::text, source))
    FROM gone GROUP BY source
)
SELECT source, pg_catalog.count(*) FROM gone GROUP BY source
"""
_DELETE = "DELETE FROM OUTBOX WHERE id = ANY (CAST(:ids AS bigint[]))"
# No relay takes what is due at infinity: it is put aside.
_POSTPONE = """
UPDATE OUTBOX AS o SET tries = retry.tries, why = retry.why,
    due = CASE WHEN retry.wait IS NULL THEN 'infinity'::timestamptz
        ELSE pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => retry.wait) END
FROM ROWS FROM (pg_catalog.unnest(CAST(:ids AS bigint[])),
    pg_catalog.unnest(CAST(:tries AS integer[])),
        pg_catalog.unnest(CAST(:whys AS text[])), pg_catalog.unnest(CAST(:waits AS float8[])))
    AS retry (id, tries, why, wait)
WHERE o.id = retry.id
"""
_RETRY = ("ids", "tries", "whys", "waits")
"""Parameters of `_POSTPONE`, in the order of `Retry`."""


class Mark(NamedTuple):
    """A row as the transaction that wrote it knows it. `due`: when the relays may take it,
    microseconds since 1970."""

    id: int
    due: int


class OutboxMode(Enum):
    """`AUTO`: used if its table exists, else missed with an event. `REQUIRED`: else an error.
    `OFF`: not used."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


def on_table(sql: str, place: str) -> TextClause:
    """The statement, on this table."""
    return text(sql.replace("OUTBOX", place.replace(":", "\\:")).replace("IS_WATCHED", WATCHED))


class Outbox:
    """The table, on connections of its own. `place`: with its schema, as SQL has it. `tables`: as
    in `Watched`.

    Raises DatabaseUnavailable, whatever failed.
    """

    def __init__(self, engine: AsyncEngine, place: str, tables: Iterable[str]) -> None:
        self._engine = engine
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        known = msgspec.json.encode(sorted(tables)).decode()
        self._take = on_table(_TAKE, place).bindparams(
            known=known, longest=LONGEST, held=2 * LONGEST, room=ROOM
        )
        self._fold_foreign = on_table(_FOLD_FOREIGN, place).bindparams(known=known)
        self._acknowledge, self._put = on_table(_ACKNOWLEDGE, place), on_table(_PUT, place)
        self._delete, self._postpone = on_table(_DELETE, place), on_table(_POSTPONE, place)

    @asynccontextmanager
    async def connected(self, heard: Callable[[], None]) -> AsyncIterator[AsyncConnection]:
        """A connection that hears of new notices at once, if the driver can (asyncpg)."""
        async with available(None), self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            listen = getattr(driver, "add_listener", None)

            def hear(*_: object) -> None:
                heard()

            try:
                if listen is not None:
                    async with asyncio.timeout(DEADLINE):
                        await listen(CHANNEL, hear)
                yield connection
            finally:
                await connection.invalidate()  # it listens: nobody else is to have it

    async def take(self, connection: AsyncConnection, most: int) -> list[OutboxRow]:
        """Rows whose time has come, as many as there is room for, locked until the transaction that
        this begins has ended."""
        async with available():
            return [OutboxRow(*row) for row in await connection.execute(self._take, {"most": most})]

    async def delivered(self, connection: AsyncConnection, ids: Sequence[int]) -> None:
        """Delete them, in the connection's transaction that has taken them."""
        async with available():
            await connection.execute(self._delete, {"ids": list(ids)})

    async def postpone(self, connection: AsyncConnection, rows: Sequence[Retry]) -> None:
        """They give way to the others: another release may understand them, or Redis take them
        later. In the connection's transaction that has taken them."""
        async with available():
            await connection.execute(
                self._postpone, dict(zip(_RETRY, map(list, zip(*rows, strict=True)), strict=True))
            )

    async def put(self, connection: AsyncConnection, batch: Batch, wait: float = 0.0) -> None:
        """A row that is due in `wait` seconds, in the connection's transaction."""
        async with available():
            await connection.execute(self._put, {"notices": notices_of(batch), "wait": wait})

    async def fold_foreign(
        self, connection: AsyncConnection, most: int
    ) -> Sequence[tuple[str, int]]:
        """Tables that nobody here owns: more than `most` rows of one become one, for all of the
        table. Which, and how many rows they were. In the connection's transaction."""
        async with available():
            return [
                (table, rows)
                for table, rows in await connection.execute(self._fold_foreign, {"most": most})
            ]

    async def acknowledge(self, rows: Sequence[Mark]) -> None:
        """Delete rows that were published by their own transactions."""
        done = {"ids": [row.id for row in rows], "dues": [row.due for row in rows]}
        async with available(), self._alone.connect() as connection:
            await connection.execute(self._acknowledge, done)


@asynccontextmanager
async def available(deadline: float | None = DEADLINE) -> AsyncIterator[None]:
    """Whatever a driver raises becomes DatabaseUnavailable: while it connects, SQLAlchemy leaves
    its errors as they are. What this library raises passes. `deadline`: seconds, None: as long as
    it takes."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except RepocacheError:
        raise
    except Exception as error:
        raise DatabaseUnavailable(f"the outbox: {in_brief(error)}") from error
