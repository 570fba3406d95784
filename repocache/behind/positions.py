"""How far a stream is written, and what is beyond. Pure.

The table has, for each life of a stream, the id up to which its items are in the database. Ids of
two lives say nothing about each other: a Redis that lost its data, or was put in another's place,
may give an id once more that was flushed before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

StreamId = tuple[int, int]
"""Milliseconds by Redis's clock, and a number within these."""
KEPT = 256
"""Lives of a stream that are remembered: one more with each restart and failover of Redis."""


class Item(NamedTuple):
    """What one call of a process brought. `life`: of the stream, when it came. `changes`: how
    many came with it, `total`: and before it. `data`: these, packed."""

    id: StreamId
    life: str
    changes: int
    total: int
    data: bytes

    @property
    def text(self) -> str:
        return id_text(self.id)


@dataclass(frozen=True, slots=True)
class Positions:
    """`by_life`: the id that was written last, the life that was flushed last at the end."""

    by_life: dict[str, StreamId] = field(default_factory=dict)

    @classmethod
    def read(cls, stored: Sequence[Sequence[str]] | None) -> Positions:
        """As `stored` gives them, None: nothing was ever written."""
        return cls({life: stream_id(id) for life, id in stored or ()})

    @property
    def stored(self) -> list[list[str]]:
        """For the table's JSON."""
        return [[life, id_text(id)] for life, id in self.by_life.items()][-KEPT:]

    def covers(self, life: str, id: StreamId) -> bool:
        """Whether that item is written."""
        return id <= self.by_life.get(life, (-1, 0))

    def beyond(self, items: Iterable[Item]) -> Iterator[Item]:
        """Those that are not."""
        return (item for item in items if not self.covers(item.life, item.id))

    def after(self, items: Iterable[Item]) -> Positions:
        """Once these are, too."""
        by_life = dict(self.by_life)
        for item in items:
            before = by_life.pop(item.life, item.id)
            by_life[item.life] = max(before, item.id)
        return Positions(by_life)


UNWRITTEN = Positions()


def stream_id(text: str) -> StreamId:
    """Raises ValueError for what is no id of a stream."""
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number)


def id_text(id: StreamId) -> str:
    """As Redis has it."""
    return f"{id[0]}-{id[1]}"
