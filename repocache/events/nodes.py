"""Events of the database nodes: rotation, positions, histories, clocks."""

from __future__ import annotations

from repocache.events.event import Event
from repocache.events.remedies import of_node


class NodeOut(Event, frozen=True):
    """A node left the rotation. `why`: begins with an `Out`."""

    node: str
    why: str

    @property
    def remedy(self) -> str:
        """By the reason."""
        return of_node(self.why)


class NodeBack(Event, frozen=True):
    """A node is in the rotation again after a fresh sample."""

    node: str


class Sampled(Event, frozen=True):
    """A node's position was polled. `position` and `lag_bytes` in bytes, `lag` in seconds."""

    node: str
    position: int
    lag_bytes: int
    lag: float


class HistoryChanged(Event, frozen=True):
    """The primary is another server, timeline or server process than before: old positions say
    nothing any more."""

    old: str
    new: str


class ClockJumped(Event, frozen=True):
    """The clock of the primary is not where it was: somebody set it, or another server became
    primary whose clock differs. `seconds`: by how much; `allowed`: what lives of bookmarks allow
    for."""

    seconds: float
    allowed: float
