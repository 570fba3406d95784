"""Events of the database nodes: rotation, positions, histories, clocks."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.events.event import Event
from repocache.events.remedies import of_node


@dataclass(frozen=True, slots=True)
class NodeOut(Event):
    """A node left the rotation. `why`: begins with an `Out`."""

    node: str
    why: str

    @property
    def remedy(self) -> str:
        """By the reason."""
        return of_node(self.why)


@dataclass(frozen=True, slots=True)
class NodeBack(Event):
    """A node is in the rotation again after a fresh sample."""

    node: str


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """A node's position was polled. `position` and `lag_bytes` in bytes, `lag` in seconds."""

    node: str
    position: int
    lag_bytes: int
    lag: float


@dataclass(frozen=True, slots=True)
class HistoryChanged(Event):
    """The primary is another server, timeline or server process than before: old positions say
    nothing any more."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class ClockJumped(Event):
    """The clock of the primary is not where it was: somebody set it, or another server became
    primary whose clock differs. `seconds`: by how much; `allowed`: what lives of bookmarks allow
    for."""

    seconds: float
    allowed: float
