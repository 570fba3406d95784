"""What is cached beside a repository's rows, under keys of its own, bound to a database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from repocache.mapping.count import CountPlan
from repocache.mapping.key_list import KeyListPlan
from repocache.repository.rows import Rows

P = TypeVar("P", KeyListPlan, CountPlan)


@dataclass(frozen=True, slots=True, eq=False)
class Beside(Generic[P]):
    """`ids`: its own rows, each with the id that it is kept under."""

    plan: P
    ids: Rows[Any]

    async def located(self) -> Beside[P]:
        """The same, once the database has said where the rows are."""
        return replace(self, ids=await self.ids.located())


KeyListBinding = Beside[KeyListPlan]
CountBinding = Beside[CountPlan]
