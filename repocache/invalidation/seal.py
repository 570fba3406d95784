"""The statement that writes a transaction's row into the outbox, and what the transaction learns by
it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import TextClause
from sqlalchemy.engine import Dialect

from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.bus import MOST_KEYS
from repocache.invalidation.notice import Watched, batch_of, notices_of
from repocache.invalidation.outbox import Mark, on_table

# One round trip, inside the transaction, under its row locks: the row, and with it the
# transaction's id, its synchrony and its order position (protocol, Write path 2 and Write-through).
# What triggers noticed in this very transaction comes back too, to be published with the rest: the
# relays wait for it as long as for the row itself. It is known by the transaction's id; a row of a
# dump of another cluster, which may have the same, is older.
_SEAL = """
WITH noticed AS (
    UPDATE OUTBOX SET due = pg_catalog.statement_timestamp()
        + pg_catalog.make_interval(secs => CAST(:grace AS double precision))
    WHERE xid = CAST(CAST(pg_catalog.pg_current_xact_id() AS text) AS bigint)
      AND due >= pg_catalog.transaction_timestamp()
      AND IS_WATCHED
    RETURNING id, notices
), mine AS (
    INSERT INTO OUTBOX (notices, due)
    VALUES (CAST(:notices AS jsonb),
        pg_catalog.statement_timestamp() +
            pg_catalog.make_interval(secs => CAST(:grace AS double precision)))
    RETURNING id, due
)AND_PURGE
SELECT mine.id, CAST(extract(epoch FROM mine.due) * 1000000.0 AS bigint),
       CAST(pg_catalog.pg_current_xact_id() AS text),
           pg_catalog.current_setting(CAST('synchronous_commit' AS text)),
       CAST(pg_catalog.pg_current_wal_insert_lsn() - CAST('0/0' AS pg_lsn) AS bigint),
       CAST((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(noticed.id, noticed.notices))
             FROM noticed) AS text)PURGE
FROM mine
"""
# What edges have to purge: the same, with what triggers noticed.
_AND_PURGE = """, purge AS (
    INSERT INTO PURGES (notices, due)
    VALUES (CAST(:notices AS jsonb) || coalesce(
            (SELECT pg_catalog.jsonb_agg(each) FROM noticed,
                pg_catalog.jsonb_array_elements(noticed.notices) AS each), '[]'::jsonb),
        pg_catalog.statement_timestamp() +
            pg_catalog.make_interval(secs => CAST(:purge AS double precision)))
    RETURNING id, due
)"""
_PURGE = """,
       (SELECT purge.id FROM purge),
       (SELECT CAST(extract(epoch FROM purge.due) * 1000000.0 AS bigint) FROM purge)"""

_NOTICED = msgspec.json.Decoder(list[tuple[int, msgspec.Raw]])


class Seal(NamedTuple):
    """What a transaction learned when its row was written. `order`: bytes. `rows`: those that its
    publication delivers, its own and those of its triggers' notices, which `noticed` adds to what
    it changed. `purges`: those of what edges have to purge."""

    xid: str
    synchronous: bool
    order: int
    rows: tuple[Mark, ...]
    noticed: Batch
    purges: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class PurgeRows:
    """Of the table `place`. `grace`: seconds that the relays leave a row to its own process."""

    place: str
    grace: float


def written(place: str, purges: str | None) -> TextClause:
    """Writes a row into the outbox at `place`, and one into `purges` where there is that table."""
    more, told = ("", "") if purges is None else (_AND_PURGE, _PURGE)
    seal = _SEAL.replace("AND_PURGE", more).replace("PURGE\n", told + "\n")
    return on_table(seal.replace("PURGES", (purges or "").replace(":", "\\:")), place)


class SealStatement:
    """The statement that writes a transaction's row, for one driver and table. `grace`: seconds
    that the relays leave the row to its own process. `purges`: where what edges have to purge is
    written too; None: there are no edges, or nobody remembers it for them."""

    def __init__(
        self,
        dialect: Dialect,
        place: str,
        watched: Watched,
        grace: float,
        *,
        purges: PurgeRows | None = None,
    ) -> None:
        purged = None if purges is None else purges.place
        compiled = written(place, purged).compile(dialect=dialect)
        self.sql = str(compiled)
        self._names = compiled.positiontup
        self._fixed = {
            "known": msgspec.json.encode(sorted(watched.tables)).decode(),
            "grace": grace,
        }
        if purges is not None:
            self._fixed["purge"] = purges.grace
        self._resolve = watched.resolve

    def parameters(self, batch: Batch) -> Any:
        """As the driver's cursor wants them."""
        values = {**self._fixed, "notices": notices_of(batch)}
        return values if self._names is None else tuple(values[name] for name in self._names)

    def read(self, row: Sequence[Any]) -> Seal:
        """The row that the statement returned."""
        id, due, xid, synchronous, order, noticed, *purge = row
        batches: list[Batch] = []
        rows = [Mark(id, due)]
        for other, notices in _told(noticed):
            try:
                batches.append(batch_of(notices, self._resolve))
                rows.append(Mark(other, due))
            except ValueError:
                continue  # the relays', who tell
        purges = (Mark(*purge),) if purge else ()
        told = merged(batches, MOST_KEYS)
        return Seal(xid, synchronous != "off", order, tuple(rows), told, purges)


def _told(noticed: str | None) -> Sequence[tuple[int, msgspec.Raw]]:
    """Ids and JSON of what triggers noticed: none if it cannot be told apart, for it is the relays'
    then."""
    try:
        return _NOTICED.decode(noticed or "[]")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ()
