"""The outbox: invalidations in a table, written by the transactions that they belong to, deleted once delivered.

Owns the table's statements and the form of its rows. How the table is made is `alembic_ops`'s affair, what a trigger's
notice means for an owner's keys `tracking`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repocache.invalidation.batch import NOTHING, Batch

TABLE = "repocache_outbox"
CHANNEL = "repocache_outbox"
"""Where a trigger's notice that nobody publishes inline wakes the relays (LISTEN)."""
AT_ONCE = 500
"""Rows that one relay takes at a time."""

# One round trip, inside the transaction, under its row locks: the row, and with it the transaction's id, its
# synchrony and its order position (protocol, Write path 2 and Write-through). What triggers noticed in this very
# transaction comes back too, to be published with the rest: the relays wait for it as long as for the row itself.
_SEAL = f"""
WITH noticed AS (
    UPDATE {TABLE} SET due = clock_timestamp() + make_interval(secs => CAST(:grace AS double precision))
    WHERE id = ANY (CAST(string_to_array(nullif(current_setting('repocache.noticed', true), ''), ',') AS bigint[]))
      AND source IN (SELECT jsonb_array_elements_text(CAST(:known AS jsonb)))
    RETURNING id, notices
), mine AS (
    INSERT INTO {TABLE} (notices, due)
    VALUES (CAST(:notices AS jsonb), clock_timestamp() + make_interval(secs => CAST(:grace AS double precision)))
    RETURNING id
)
SELECT mine.id, pg_current_xact_id()::text, current_setting('synchronous_commit'),
       (pg_current_wal_insert_lsn() - '0/0')::bigint, set_config('repocache.sealed', 'on', true),
       (SELECT jsonb_agg(jsonb_build_array(noticed.id, noticed.notices))::text FROM noticed)
FROM mine
"""  # noqa: S608  # a name of ours
# The relays share the work, and none waits for another. Ids are no order of commits: none is remembered.
_TAKE = f"""
SELECT id, notices::text FROM {TABLE}
WHERE due <= clock_timestamp()
  AND (source IS NULL OR source IN (SELECT jsonb_array_elements_text(CAST(:known AS jsonb))))
LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED
"""  # noqa: S608
_DELETE = text(f"DELETE FROM {TABLE} WHERE id = ANY (CAST(:ids AS bigint[]))")  # noqa: S608
_POSTPONE = text(
    f"UPDATE {TABLE} SET due = clock_timestamp() + interval '1 minute' WHERE id = ANY (CAST(:ids AS bigint[]))"  # noqa: S608
)
_IS_THERE = text("SELECT to_regclass(:table) IS NOT NULL")


class TableNotice(NamedTuple):
    """What a trigger saw of one statement: the table as `schema.name`, and of each row, before and after, the columns
    that it carries. None: all rows of the table may have changed."""

    table: str
    rows: Sequence[Mapping[str, Any]] | None


class OutboxRow(NamedTuple):
    """One row. `notices`: JSON."""

    id: int
    notices: str


class Seal(NamedTuple):
    """What a transaction learned when its row was written. `order`: bytes. `rows`: ids that its publication delivers,
    its own and those of its triggers' notices, which `noticed` adds to what it changed."""

    xid: str
    synchronous: bool
    order: int
    rows: tuple[int, ...]
    noticed: Batch


Resolve = Callable[[TableNotice], Batch]
"""Whose keys a trigger's notice concerns. Raises ValueError if that is not known here."""


class Watched(Protocol):
    """The tables whose triggers' notices are understood here, as `schema.name`."""

    @property
    def tables(self) -> Iterable[str]: ...

    def resolve(self, notice: TableNotice) -> Batch: ...


class OutboxMode(Enum):
    """`AUTO`: used if its table exists, else missed with an event. `REQUIRED`: else an error. `OFF`: not used."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


def notices_of(batch: Batch) -> str:
    """A unit of work's changes as a row has them."""
    keys = sorted(key for texts in batch.keys.values() for key in texts)
    return msgspec.json.encode([{"k": keys, "o": sorted(batch.owners)}]).decode()


def batch_of(notices: str | Sequence[Mapping[str, Any]], resolve: Resolve) -> Batch:
    """What a row says. Raises ValueError for what no release of this library wrote."""
    batch = NOTHING
    try:
        for notice in msgspec.json.decode(notices) if isinstance(notices, str) else notices:
            if "t" in notice:
                known = "rows" in notice
                batch |= resolve(TableNotice(notice["t"], list(notice["rows"]) if known else None))
            else:
                batch |= _batch(notice["k"], notice["o"])
    except (TypeError, KeyError, AttributeError, msgspec.DecodeError) as error:
        raise ValueError(f"no notice of this release: {error!r}") from error
    return batch


def _batch(keys: Iterable[str], owners: Iterable[str]) -> Batch:
    by_owner: dict[str, set[str]] = {}
    for key in keys:
        by_owner.setdefault(key.partition(":")[0], set()).add(key)
    return Batch({owner: frozenset(texts) for owner, texts in by_owner.items()}, frozenset(owners))


class SealStatement:
    """The statement that writes a transaction's row, for one driver. `grace`: seconds that the relays leave the row to
    its own process."""

    def __init__(self, dialect: Dialect, watched: Watched, grace: float) -> None:
        compiled = text(_SEAL).compile(dialect=dialect)
        self.sql = str(compiled)
        self._names = compiled.positiontup
        self._fixed = {"known": msgspec.json.encode(sorted(watched.tables)).decode(), "grace": grace}
        self._resolve = watched.resolve

    def parameters(self, batch: Batch) -> Any:
        """As the driver's cursor wants them."""
        values = {**self._fixed, "notices": notices_of(batch)}
        return values if self._names is None else tuple(values[name] for name in self._names)

    def read(self, row: Sequence[Any]) -> Seal:
        """The row that the statement returned."""
        id, xid, synchronous, order, _, noticed = row
        found = msgspec.json.decode(noticed) if noticed else []
        batch = NOTHING
        ids = [id]
        for other, notices in found:
            try:
                batch |= batch_of(notices, self._resolve)
                ids.append(other)
            except ValueError:
                continue  # the relays', who tell
        return Seal(xid, synchronous != "off", order, tuple(ids), batch)


class Outbox:
    """The table, on connections of its own. `tables`: as in `Watched`. Raises what SQLAlchemy raises."""

    def __init__(self, engine: AsyncEngine, tables: Iterable[str]) -> None:
        self._engine = engine
        self._take = text(_TAKE).bindparams(known=msgspec.json.encode(sorted(tables)).decode())

    async def is_there(self) -> bool:
        """Whether the table was made, where the role's search_path finds it."""
        async with self._engine.connect() as connection:
            return bool((await connection.execute(_IS_THERE, {"table": TABLE})).scalar())

    @asynccontextmanager
    async def connected(self, heard: Callable[[], None]) -> AsyncIterator[AsyncConnection]:
        """A connection that hears of new notices at once, if the driver can (asyncpg)."""
        async with self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            listen = getattr(driver, "add_listener", None)

            def hear(*_: object) -> None:
                heard()

            if listen is not None:
                await listen(CHANNEL, hear)
            try:
                yield connection
            finally:
                await connection.invalidate()  # it listens: nobody else is to have it

    async def take(self, connection: AsyncConnection) -> list[OutboxRow]:
        """Rows whose time has come, locked until the transaction that this begins has ended."""
        return [OutboxRow(*row) for row in await connection.execute(self._take)]

    async def delivered(self, connection: AsyncConnection, ids: Sequence[int]) -> None:
        """Delete them, in the connection's transaction."""
        await connection.execute(_DELETE, {"ids": list(ids)})

    async def postpone(self, connection: AsyncConnection, ids: Sequence[int]) -> None:
        """Set them aside for a minute: another release may understand them."""
        await connection.execute(_POSTPONE, {"ids": list(ids)})

    async def acknowledge(self, ids: Sequence[int]) -> None:
        """Delete rows that were published by their own transactions."""
        async with self._engine.begin() as connection:
            await connection.execute(_DELETE, {"ids": list(ids)})
