"""Rows with what is pending for them.

Owns the statement that reads rows and positions at one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.behind.columns import WrittenColumns
from repocache.behind.positions import UNWRITTEN, Positions
from repocache.behind.tables import BehindTables
from repocache.behind.tail import Tail
from repocache.errors import CodecError
from repocache.mapping.entity import Row
from repocache.mapping.statement import LoadStatement
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.routing.around import tell_unknown

M = TypeVar("M")
PRIMARY = ReadRequirement(primary="asked", asked=True)


class PendingReader(Generic[M]):
    """Of one class. `tails_of`: where what is pending for a key may be."""

    def __init__(
        self,
        topology: Topology,
        columns: WrittenColumns[M],
        loading: LoadStatement,
        tables: BehindTables,
        tails_of: Callable[[str], Sequence[Tail]],
    ) -> None:
        self._topology = topology
        self._columns = columns
        self._loading = loading
        self._tables = tables
        self._tails_of = tails_of

    async def entities(self, ids: Sequence[Any]) -> dict[Any, M]:
        """Fresh ones of the rows that exist, or will once what is pending is written, in the order
        asked. Raises BehindUnavailable, DatabaseUnavailable, CodecError."""
        if not ids:
            return {}
        tell_unknown("what is written behind changes without a commit that tells of it")
        keys = {id: self._columns.keys.text(id) for id in ids}
        tails = {id: self._tails_of(key) for id, key in keys.items()}
        wanted = list(dict.fromkeys(tail for each in tails.values() for tail in each))
        await asyncio.gather(*(tail.refresh() for tail in wanted))
        positions, rows = await self._read([tail.stream.names.items for tail in wanted], ids)
        found: dict[Any, M] = {}
        for id, key in keys.items():
            row = rows.get(id)
            for tail in tails[id]:
                position = positions.get(tail.stream.names.items, UNWRITTEN)
                change = tail.pending(key, position)
                if change is not None:
                    row = self._applied(row, id, change)
            if row is not None:
                found[id] = self._columns.plan.entity(row)
        for tail in wanted:
            tail.settle(positions.get(tail.stream.names.items, UNWRITTEN))
        return found

    def _applied(self, row: Row | None, id: Any, change: Any) -> Row | None:
        """What will be a dead letter is not pending."""
        try:
            return self._columns.applied(row, id, change)
        except CodecError:
            return row

    async def _read(
        self, streams: Sequence[str], ids: Sequence[Any]
    ) -> tuple[dict[str, Positions], dict[Any, Row]]:
        plan = self._columns.plan
        statement = self._statement(streams)
        parameters = self._loading.parameters(ids)

        async def run(connection: AsyncConnection) -> Sequence[Any]:
            rows: Sequence[Any] = (await connection.execute(statement, parameters)).all()
            return rows

        found = (await self._topology.read(PRIMARY, run)).value
        stored: dict[str, Any] = found[0][0] or {}
        rows = [plan.row(row[2:]) for row in found if row[1] is not None]
        return (
            {stream: Positions.read(each) for stream, each in stored.items()},
            {plan.id_of_row(row): row for row in rows},
        )

    def _statement(self, streams: Sequence[str]) -> Select[Any]:
        """One statement is one moment, and has a row even if there is none of the class."""
        table = self._tables.positions
        held = (
            select(
                func.pg_catalog.jsonb_object_agg(table.c.stream, table.c.positions).label(
                    "positions"
                )
            )
            .where(table.c.stream.in_(streams))
            .subquery("held")
        )
        rows = self._loading.select.add_columns(true().label("is_row")).subquery("rows")
        columns = [column for column in rows.c if column.key != "is_row"]
        return select(held.c.positions, rows.c.is_row, *columns).select_from(
            held.outerjoin(rows, true())
        )
