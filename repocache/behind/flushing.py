"""One flush: the rows, the dead letters and the stream's position, in one transaction.

Owns that transaction. Who may flush, and when, is `flusher`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from repocache.behind.change import RowChange, pack, together, unpack
from repocache.behind.positions import Item, Positions
from repocache.behind.tables import BehindTables
from repocache.behind.writing import ChangeStatements
from repocache.errors import CodecError
from repocache.transactions.unit_of_work import PrimaryTransaction

IDLE = "15s"
"""How long PostgreSQL keeps the lock of a flusher that says nothing any more."""
_PREPARE = select(
    func.pg_catalog.set_config("idle_in_transaction_session_timeout", IDLE, True),
    # What is flushed leaves Redis: it has to be on the disk by then.
    func.pg_catalog.set_config(
        "synchronous_commit",
        func.pg_catalog.replace(func.pg_catalog.current_setting("synchronous_commit"), "off", "on"),
        True,
    ),
)
# A constraint that is looked at by COMMIT alone says nothing of which row is at fault.
_AT_ONCE = text("SET CONSTRAINTS ALL IMMEDIATE")
Opening = Callable[[], PrimaryTransaction]


class Flushed(NamedTuple):
    """`items` of the stream, `changes` in them, `rows` that these made or changed, `dead`: letters,
    `why`: of the first."""

    items: int = 0
    changes: int = 0
    rows: int = 0
    dead: int = 0
    why: str = ""


class FlushTransaction:
    """Of one owner. `opening`: a transaction on the primary, whose commit invalidates."""

    def __init__(
        self, owner: str, opening: Opening, tables: BehindTables, writer: ChangeStatements
    ) -> None:
        self._owner = owner
        self._opening = opening
        self._tables = tables
        self._writer = writer

    async def flush(self, stream: str, items: Sequence[Item]) -> Flushed:
        """Once this returns, all of these are in the database, or dead letters: exactly once,
        whoever else flushes them, and whatever became of an earlier attempt.

        1. Two processes read the same items, since the lease of one has ended; 2. the first locks
        the stream's row, and writes; 3. the second waits for the row, and finds in it that they are
        written. The lease keeps others from trying; this row is what counts.

        Raises what the database raises; then nothing is known, and the position will say.
        """
        async with self._opening() as work:
            session = work.session
            positions = await self._locked(session, stream)
            new = list(positions.beyond(items))
            if not new:
                await work.rollback()
                return Flushed()
            changes, dead = _read(new)
            refused = await self._writer.write(work, changes)
            dead += [(key, pack({key: changes[key]}), why) for key, why in refused.items()]
            if dead:
                await self._put_aside(session, dead)
            await self._move(session, stream, positions.after(items), new)
            await work.commit()
        return Flushed(
            len(new),
            sum(each.changes for each in new),
            len(changes) - len(refused),
            len(dead),
            dead[0][2] if dead else "",
        )

    async def position(self, stream: str) -> Positions:
        """How far the stream is written."""
        table = self._tables.positions
        asked = select(table.c.positions).where(table.c.stream == stream)
        async with self._opening() as work:
            found = (await work.session.execute(asked)).scalar_one_or_none()
            await work.rollback()
        return Positions.read(found)

    async def numbers(self, streams: Sequence[str]) -> set[str]:
        """Those of these streams that were ever flushed."""
        table = self._tables.positions
        asked = select(table.c.stream).where(table.c.stream.in_(streams))
        async with self._opening() as work:
            found = set((await work.session.execute(asked)).scalars())
            await work.rollback()
        return found

    async def _locked(self, session: AsyncSession, stream: str) -> Positions:
        table = self._tables.positions
        await session.execute(_PREPARE)
        await session.execute(_AT_ONCE)
        asked = select(table.c.positions).where(table.c.stream == stream).with_for_update()
        found = (await session.execute(asked)).scalar_one_or_none()
        if found is None:
            first = {
                "stream": stream,
                "positions": [],
                "changes": 0,
                "flushed": func.pg_catalog.clock_timestamp(),
            }
            await session.execute(upsert(table).values(first).on_conflict_do_nothing())
            found = (await session.execute(asked)).scalar_one()
        return Positions.read(found)

    async def _move(
        self, session: AsyncSession, stream: str, positions: Positions, new: Iterable[Item]
    ) -> None:
        table = self._tables.positions
        moved = update(table).where(table.c.stream == stream)
        await session.execute(
            moved.values(
                positions=positions.stored,
                changes=table.c.changes + sum(each.changes for each in new),
                flushed=func.pg_catalog.clock_timestamp(),
            )
        )

    async def _put_aside(
        self, session: AsyncSession, dead: Iterable[tuple[str, bytes, str]]
    ) -> None:
        rows: list[dict[str, Any]] = [
            {"owner": self._owner, "key": key, "change": data, "why": why}
            for key, data, why in dead
        ]
        await session.execute(insert(self._tables.dead), rows)


def _read(items: Iterable[Item]) -> tuple[dict[str, RowChange], list[tuple[str, bytes, str]]]:
    """The changes by key, and what cannot be read."""
    changes: list[tuple[str, RowChange]] = []
    dead: list[tuple[str, bytes, str]] = []
    for item in items:
        try:
            changes += unpack(item.data)
        except CodecError as error:
            dead.append(("", item.data, str(error)))
    return together(changes), dead
