"""Tables on which so many forms of selects are cached."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, combinations, islice
from types import new_class
from typing import Any, TypeAlias

from sqlalchemy import Select, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.reads import POLICY
from repocache import CachedQueries, KeyOwner, Repository

COLUMNS = tuple(f"c{number}" for number in range(8))
Table: TypeAlias = Any
"""A mapped class with `id`, `value`, `note` and these columns."""


class Shaped(DeclarativeBase):
    """Their registry."""


@dataclass(frozen=True, slots=True)
class Forms:
    """`beside`: what is written is a column on which none of them depends."""

    number: int
    beside: bool = False

    def __str__(self) -> str:
        noun = "form" if self.number == 1 else "forms"
        return f"{self.number} {noun} registered" + (", none concerned" if self.beside else "")

    @property
    def shaped(self) -> Table:
        """The table that has them."""
        return SHAPED[self.number]


def _table(number: int) -> Table:
    columns = {name: mapped_column(default=1) for name in ("value", "note", *COLUMNS)}
    annotations = dict.fromkeys(("id", *columns), Mapped[int])
    members = {
        "__tablename__": f"shaped{number}",
        "__annotations__": annotations,
        "id": mapped_column(primary_key=True),
        **columns,
    }
    return type(f"Shaped{number}", (Shaped,), members)


SHAPED = {number: _table(number) for number in (0, 1, 10, 100)}
"""By how many forms of selects are cached of each."""


def repository_of(shaped: Table, queries: CachedQueries | None) -> type[Repository[Any, int]]:
    members = {"owner": KeyOwner(shaped.__tablename__), "policy": POLICY}
    if queries is not None:
        members["queries"] = queries
    bases = (Repository[shaped, int],)
    return new_class("Repository", bases, exec_body=lambda space: space.update(members))


def forms_of(shaped: Table, number: int) -> list[Select[Any]]:
    """So many selects, each of which compares other columns."""
    compared = chain.from_iterable(combinations(COLUMNS, width) for width in (1, 2, 3, 4))
    return [
        select(shaped.value).where(*(getattr(shaped, name) == 1 for name in names))
        for names in islice(compared, number)
    ]
