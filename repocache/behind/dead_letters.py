"""What the database refused, kept in a table until somebody decides.

Owns listing, replaying and dropping it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, func, select, update

from repocache.behind.change import Number, RowChange, unpack
from repocache.behind.columns import WrittenColumns
from repocache.behind.flushing import Opening
from repocache.behind.tables import BehindTables
from repocache.behind.writing import ChangeStatements
from repocache.errors import CodecError, RepocacheError, UsageError
from repocache.keys import shown
from repocache.transactions.unit_of_work import PrimaryTransaction


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`id`: of the letter. `key`: of the row, by `KeyOwner`, empty if it could not be read. `sets`
    and `adds`: values by attribute; those that this release cannot read are left out. `why`: it was
    refused. `since`: when."""

    id: int
    key: str
    sets: Mapping[str, Any]
    adds: Mapping[str, Number]
    why: str
    since: datetime.datetime


class DeadLetters:
    """Of one owner: `db[PageViews].dead`. Raises what the database raises."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        *,
        owner: str,
        opening: Opening,
        tables: BehindTables,
        columns: WrittenColumns[Any],
        writer: ChangeStatements,
        check: Callable[[], None],
    ) -> None:
        """`check`: raises NotStarted once the database was left."""
        self._owner = owner
        self._opening = opening
        self._table = tables.dead
        self._columns = columns
        self._writer = writer
        self._check = check

    async def list(self, most: int = 100) -> Sequence[DeadLetter]:
        """The oldest first."""
        self._check()
        if type(most) is not int or most < 1:
            raise UsageError(f"dead.list({shown(most)}): give a number, 1 or more")
        async with self._opening() as work:
            found = (await work.session.execute(self._rows(None).limit(most))).all()
            await work.rollback()
        return [self._letter(row) for row in found]

    async def count(self) -> int:
        """How many there are."""
        self._check()
        rows = select(func.count()).where(self._table.c.owner == self._owner)
        async with self._opening() as work:
            found = int((await work.session.execute(rows)).scalar_one())
            await work.rollback()
        return found

    async def replay(self, ids: Sequence[int] | None = None, most: int = 1_000) -> int:
        """Write them now, in one transaction, each once; how many were. Those that are refused
        again stay, and say why. `ids`: of letters, None: the oldest, `most` at the most. What was
        accepted and flushed after them was written before them: a value that one sets takes the
        place of a later one."""
        self._check()
        _require_ids("replay", ids)
        async with self._opening() as work:
            rows = self._rows(ids).limit(most).with_for_update()
            done: list[int] = []
            for row in (await work.session.execute(rows)).all():
                why = await self._write(work, row)
                if why:
                    held = update(self._table).where(self._table.c.id == row.id)
                    await work.session.execute(held.values(why=why))
                else:
                    done.append(row.id)
            gone = delete(self._table).where(self._table.c.id.in_(done))
            await work.session.execute(gone)
            await work.commit()
        return len(done)

    async def drop(self, ids: Sequence[int] | None = None) -> int:
        """Forget them, None: all. How many there were."""
        self._check()
        _require_ids("drop", ids)
        gone = delete(self._table).where(self._table.c.owner == self._owner)
        if ids is not None:
            gone = gone.where(self._table.c.id.in_(ids))
        async with self._opening() as work:
            found = await work.session.execute(gone.returning(self._table.c.id))
            count = len(found.all())
            await work.commit()
        return count

    def _rows(self, ids: Sequence[int] | None) -> Select[Any]:
        table = self._table
        rows = select(table).where(table.c.owner == self._owner).order_by(table.c.id)
        return rows if ids is None else rows.where(table.c.id.in_(ids))

    async def _write(self, work: PrimaryTransaction, row: Any) -> str:
        """Why it cannot be, empty: it was."""
        try:
            changes = dict(unpack(row.change))
        except CodecError as error:
            return str(error)
        attempt = work.savepoint()
        await attempt.start()
        refused = await self._writer.write(work, changes)
        # Of several changes all are written, or none: the letter is gone, or it stays.
        await (attempt.rollback() if refused else attempt.commit())
        return next(iter(refused.values()), "")

    def _letter(self, row: Any) -> DeadLetter:
        change = RowChange()
        with suppress(CodecError, ValueError):  # it is no single change
            [(_, change)] = unpack(row.change)
        sets = {name: value for name in change.sets for value in self._value(name, change)}
        return DeadLetter(row.id, row.key, sets, change.adds, row.why, row.since)

    def _value(self, name: str, change: RowChange) -> Sequence[Any]:
        try:
            column = self._columns.by_name[name]
            return [column.sent(column.decode(change.sets[name]))]
        except (KeyError, RepocacheError):
            return []


def _require_ids(call: str, ids: object) -> None:
    if ids is not None and (
        isinstance(ids, str | bytes)
        or not isinstance(ids, Sequence)
        or not all(type(each) is int for each in ids)
    ):
        raise UsageError(f"dead.{call}({shown(ids)}): give a list of letters' ids, or none: all")
