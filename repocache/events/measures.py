"""Events of how things stand: told every `Settings.measure_every` seconds, so that what happens in
L1 needs no event of its own.

Numbers of what has happened are totals since the process entered its database; the others are of
the moment.
"""

from __future__ import annotations

from repocache.events.event import Event


class OwnerMeasured(Event, frozen=True):
    """One owner's share of this process's L1, and of its loads. `pattern`: of its policy, or what
    its keys are: "lookup", "key list", "count", "selects", "tags", "page", "read-through".

    Of the moment: `entries`, `bytes`. Totals: `hits` and `misses` of L1; entries `stored`,
    `evicted` for room, `expired`, `invalidated`; callers who `joined` another's load; loads that
    `waited` for another process's lease."""

    owner: str
    pattern: str
    entries: int
    bytes: int
    hits: int
    misses: int
    stored: int
    evicted: int
    expired: int
    invalidated: int
    joined: int
    waited: int


class NodesMeasured(Event, frozen=True):
    """Reads that the primary stands in for now, of so many `places`, and those that wait for one.
    `max_lag`: seconds that a replica in the rotation may be behind."""

    reads: int
    places: int
    waiting: int
    max_lag: float


class NodeMeasured(Event, frozen=True):
    """A node. `out`: why it is not in the rotation, empty if it is. `reads`: under way there."""

    node: str
    out: str
    reads: int


class LinkMeasured(Event, frozen=True):
    """The link to Redis. `alive`: connected and subscribed. `resting`: so many attempts failed in a
    row that the next one waits (the circuit breaker is open)."""

    alive: bool
    resting: bool


class RedisMeasured(Event, frozen=True):
    """What Redis says of itself, of everything that lies there: bytes in use and its `maxmemory`
    (0: no limit), `keys`, and since it began: keys `evicted` for room and `expired`.

    `seconds`: what its answer took on the connection on which messages come, in their order: one
    that it had sent before was here by then."""

    memory: int
    maxmemory: int
    keys: int
    evicted: int
    expired: int
    seconds: float


class OutboxMeasured(Event, frozen=True):
    """Rows of the outbox: `waiting` to be delivered, by this process or another, `aside` those that
    no relay takes; both counted up to `MOST_COUNTED`. `seconds`: age of the oldest that waits."""

    waiting: int
    aside: int
    seconds: float


class PurgesMeasured(Event, frozen=True):
    """Rows of what edges have still to purge, as of `OutboxMeasured`. Each commit's row waits for
    some seconds, until its second purge."""

    waiting: int
    aside: int
    seconds: float


class EdgeMeasured(Event, frozen=True):
    """So many tags wait in this process to be purged at an edge."""

    edge: str
    waiting: int


class BehindMeasured(Event, frozen=True):
    """Changes of a write-behind class that wait in Redis, and the `seconds` that the oldest has
    waited."""

    owner: str
    waiting: int
    seconds: float


class MeasureFailed(Event, frozen=True):
    """Something could not be measured now. `what`: the outbox, purges, Redis, a write-behind
    class."""

    what: str
    why: str
