"""WAL that ends amid a record: a replica has received all of it, and cannot replay the last of it.

1. Something is written for which no commit waits: a vacuum, a pruned page, a transaction that is
still open; 2. the primary flushes whole pages of that, and the last one ends amid a record; 3.
nothing is committed. A replica waits for the rest of the record, which comes with the next commit,
or with the primary's next snapshot of its transactions: up to 15 seconds (PostgreSQL's
`LOG_SNAPSHOT_INTERVAL_MS`), in which all replicas of an idle primary would seem to lag.
"""

from __future__ import annotations

from typing import NamedTuple

from repocache.nodes.wal import ReplicaReading

PAGE = 8192
"""Bytes, PostgreSQL's `wal_block_size`."""
PATIENCE = 1.0
"""Seconds after which the rest does not come by itself."""


class CutRecord(NamedTuple):
    """Where a replica stands, and where what the primary has flushed ends, bytes; `since`: when
    that was so first, monotonic seconds."""

    position: int
    end: int
    since: float


def cut_record(before: CutRecord | None, reading: ReplicaReading, flushed: int) -> CutRecord | None:
    """What a replica may be waiting for, by what the primary had `flushed` before the reading, and
    by what it was waiting for then."""
    received = reading.shown is not None and reading.position < flushed <= reading.shown
    if not received or flushed % PAGE:
        return None
    found = CutRecord(reading.position, flushed, reading.ended)
    return before if before is not None and before[:2] == found[:2] else found


def is_overdue(cut: CutRecord | None, now: float) -> bool:
    """Whether the primary has to be asked for the rest."""
    return cut is not None and now - cut.since >= PATIENCE
