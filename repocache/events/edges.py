"""Events of edges, the caches in front of the service."""

from __future__ import annotations

from repocache.events.event import Event


class EdgePurged(Event, frozen=True):
    """An edge has purged so many `tags`. `seconds`: since the first of them was told. `requests`:
    that it took. `final`: by the last try, while the purger was left."""

    edge: str
    tags: int
    seconds: float
    requests: int
    final: bool


class EdgePurgeFailed(Event, frozen=True):
    """An edge did not take a purge of so many `tags`, which is tried again. `tries`: in vain, in a
    row. `refused`: it answered that it will not, as it does to a wrong token."""

    edge: str
    tags: int
    why: str
    tries: int
    refused: bool


class EdgeBacklogFolded(Event, frozen=True):
    """More waited for an edge than may: so many `tags` became fewer, which purge more pages."""

    edge: str
    tags: int


class EdgeBacklogLeft(Event, frozen=True):
    """The purger was left while so many `tags` waited for an edge: it keeps their pages until they
    expire, or until who delivers them tries again."""

    edge: str
    tags: int
