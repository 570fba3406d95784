"""Where a count's answers come from: nodes, caches, a unit of work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Executable
from sqlalchemy import Row as SqlRow

from repocache.cache.l1_reader import Peek, no_l1
from repocache.repository.beside import CountBinding


class CountAccess(Protocol):
    """What a count needs of the place that it reads from."""

    peek: Peek
    """The row of an id and its count that is at hand without waiting, if there is one."""

    async def entities(self, ids: Sequence[Any]) -> dict[Any, int]:
        """The counts by id; those of nothing are missing."""
        ...


class Selecting(Protocol):
    """A unit of work."""

    async def rows(self, statement: Executable) -> Sequence[SqlRow[Any]]: ...


class CountsInWork:
    """The fit for one unit of work."""

    def __init__(self, count: CountBinding, access: Selecting) -> None:
        self._count = count
        self._access = access
        self.peek: Peek = no_l1

    async def entities(self, ids: Sequence[Any]) -> dict[Any, int]:
        statement, plan = self._count.ids.statement, self._count.plan.ids
        rows = await self._access.rows(statement.select.params(statement.parameters(ids)))
        return {plan.id_of_row(row): plan.entity(row) for row in map(tuple, rows)}
