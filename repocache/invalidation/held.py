"""What the outbox holds, for an operator: what waits, what was put aside; trying it again, and
deleting it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.invalidation.notice import LONGEST
from repocache.invalidation.outbox import available, on_table

# A row may be of any size and hold anything: each column is cut.
_LIST = """
SELECT id, since::text, tries, due = 'infinity'::timestamptz,
    pg_catalog.left(coalesce(why, ''::text), 200), pg_catalog.left(coalesce(source, ''::text), 127),
    pg_catalog.left(
      CASE WHEN pg_catalog.pg_column_size(notices) <= CAST(:longest AS integer) THEN notices::text
          ELSE ''::text END,
      80)
FROM OUTBOX ORDER BY due DESC, id LIMIT CAST(:most AS bigint)
"""
_COUNT = """
SELECT pg_catalog.count(*) FILTER (WHERE due < 'infinity'::timestamptz),
    pg_catalog.count(*) FILTER (WHERE due = 'infinity'::timestamptz) FROM OUTBOX
"""
_DEPTH = """
SELECT (SELECT pg_catalog.count(*) FROM (
        SELECT 1 FROM OUTBOX WHERE due < 'infinity'::timestamptz LIMIT CAST(:most AS bigint)) a),
    (SELECT pg_catalog.count(*) FROM (
        SELECT 1 FROM OUTBOX WHERE due = 'infinity'::timestamptz LIMIT CAST(:most AS bigint)) b),
    coalesce((SELECT extract(epoch FROM pg_catalog.clock_timestamp() - since) FROM OUTBOX
        WHERE due < 'infinity'::timestamptz ORDER BY id LIMIT 1), 0)::double precision
"""
_REPLAY = """
UPDATE OUTBOX SET due = pg_catalog.clock_timestamp(), tries = 0, why = NULL
WHERE id = ANY (CAST(:ids AS bigint[])) RETURNING id
"""
_REPLAY_ALL = """
UPDATE OUTBOX SET due = pg_catalog.clock_timestamp(), tries = 0, why = NULL
WHERE tries <> 0 OR due = 'infinity'::timestamptz RETURNING id
"""
_DISCARD = "DELETE FROM OUTBOX WHERE id = ANY (CAST(:ids AS bigint[])) RETURNING id"


MOST_COUNTED = 10_000
"""Rows: to count more often than an operator asks must cost little, however many wait."""


class HeldRow(NamedTuple):
    """`since`: when it was written, as PostgreSQL shows it. `tries`: how often it gave way to
    others, `why`: the last time. `source`: the table whose trigger wrote it; empty: a unit of work
    did. `begins`: what it says, cut."""

    id: int
    since: str
    tries: int
    is_aside: bool
    why: str
    source: str
    begins: str


class HeldDepth(NamedTuple):
    """Rows that relays will take, and those that they will not, counted up to `MOST_COUNTED`;
    `seconds`: age of the first of the former."""

    waiting: int
    aside: int
    seconds: float


class HeldCount(NamedTuple):
    """Rows that relays will take, and those that they will not."""

    waiting: int
    aside: int


class Held:
    """`engine`: of the outbox's own. `place`: of its table, with the schema. Each raises
    DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, place: str) -> None:
        self._engine = engine
        self._list, self._count = on_table(_LIST, place), on_table(_COUNT, place)
        self._depth = on_table(_DEPTH, place)
        self._replay, self._replay_all = on_table(_REPLAY, place), on_table(_REPLAY_ALL, place)
        self._discard = on_table(_DISCARD, place)

    async def rows(self, most: int) -> list[HeldRow]:
        """Those that were put aside first, `most` at the most."""
        async with available(), self._engine.connect() as connection:
            found = await connection.execute(self._list, {"most": most, "longest": LONGEST})
            return [HeldRow(*row) for row in found]

    async def count(self) -> HeldCount:
        """Of all rows."""
        async with available(), self._engine.connect() as connection:
            return HeldCount(*(await connection.execute(self._count)).one())

    async def depth(self) -> HeldDepth:
        """As `count`, for whoever asks often."""
        async with available(), self._engine.connect() as connection:
            found = await connection.execute(self._depth, {"most": MOST_COUNTED})
            return HeldDepth(*found.one())

    async def replay(self, ids: Sequence[int]) -> list[int]:
        """Let the relays try these rows now, as if for the first time. Which of them there were."""
        async with available(), self._engine.begin() as connection:
            return list((await connection.execute(self._replay, {"ids": list(ids)})).scalars())

    async def replay_all(self) -> list[int]:
        """All rows that gave way to others or were put aside; which they were."""
        async with available(), self._engine.begin() as connection:
            return list((await connection.execute(self._replay_all)).scalars())

    async def discard(self, ids: Sequence[int]) -> list[int]:
        """Delete these rows: what they say is not delivered. Which of them there were."""
        async with available(), self._engine.begin() as connection:
            return list((await connection.execute(self._discard, {"ids": list(ids)})).scalars())
