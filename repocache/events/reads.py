"""Events of reads: where they were answered, and what of a cache was not taken."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.events.event import Event


@dataclass(frozen=True, slots=True)
class Served(Event):
    """A read was answered. `tier`: "l1", "l2" or "database"; `node`: the node's name for the
    database, else empty; `why`: the reason for the tier or node; `count`: keys answered
    together."""

    owner: str
    tier: str
    node: str
    why: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Filled(Event):
    """A value was offered to L2. `landed`: False if the lease had been voided, which is the fence
    at work."""

    key: str
    landed: bool


@dataclass(frozen=True, slots=True)
class Routed(Event):
    """A statement went to a node. `why` is one of the reasons of `routing.routing`."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class BookmarkRefused(Event):
    """A bookmark from outside was not taken: the session begins without one."""

    why: str


@dataclass(frozen=True, slots=True)
class CacheFailed(Event):
    """A cache call failed and the read went on without it. `what`: the call; `why`: the error."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class ValueRefused(Event):
    """A value in Redis was corrupt, foreign or oversized: treated as a miss."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class CachedEntityChanged(Event):
    """An attribute of an entity that came from a cache was changed (`Misuse.TELL`): no row is.
    `id`: as `repr` shows it; `attribute`: empty for the entity as a whole."""

    owner: str
    id: str
    attribute: str


@dataclass(frozen=True, slots=True)
class Switched(Event):
    """An owner's cache answers in another mode from now on, in this process."""

    owner: str
    mode: str


@dataclass(frozen=True, slots=True)
class Shadowed(Event):
    """In shadow mode the cache had another row than the database answered. `verdict`: "late": the
    cached one was gone or replaced in time; "wrong": it was older than the primary's and stayed;
    "right", "moved": it was as good."""

    owner: str
    id: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Verified(Event):
    """Cached values were compared with the primary. `wrong`: had not been invalidated `within`
    seconds."""

    judged: int
    late: int
    wrong: int
    within: float
