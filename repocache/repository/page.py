"""One page of a list, by offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`items`: in order, at most `limit`, those behind the first `offset`. `has_more`: whether any
    come behind them. `total`: how many there are on all pages, None if nobody asked; counted by a
    statement of its own, where the page itself does not tell, and so of another moment.

    Iterating, `len()` and indexes are those of the items.
    """

    items: Sequence[T]
    offset: int
    limit: int
    has_more: bool
    total: int | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]
