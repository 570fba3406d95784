"""How a database stands, as values: what the page shows, and what its JSON is."""

from __future__ import annotations

import msgspec


class NodeRow(msgspec.Struct, frozen=True):
    """`out`: why it is not in the rotation, empty if it is. `lag` in seconds, `behind` in bytes;
    None: not known, as of the primary. `reads`: under way; `routed`: since the process began."""

    name: str
    out: str
    lag: float | None
    behind: int | None
    reads: int
    routed: int


class SwitchRow(msgspec.Struct, frozen=True):
    """Of all processes. `by`: who switched. `until`: Unix time in seconds."""

    by: str
    until: float


class OwnerRow(msgspec.Struct, frozen=True):
    """Reads of one owner, by the tier that answered, since the process began. `lately`: the hit
    rate since the page was looked at before; None: not known, or nothing was read. `mode`: empty
    for owners that have none of their own. `memory` and `moved` in bytes: of L1, and to and from
    Redis."""

    owner: str
    pattern: str
    mode: str
    switch: SwitchRow | None
    reads: dict[str, int]
    lately: float | None
    entries: int
    memory: int
    evicted: int
    distinct: int
    moved: int

    @property
    def total(self) -> int:
        """Reads of all tiers."""
        return sum(self.reads.values())

    @property
    def hit_rate(self) -> float | None:
        """Share of reads that the database was not asked for; None: nothing was read."""
        return hit_rate(self.reads)


class ChannelState(msgspec.Struct, frozen=True):
    """`up`: None: not known yet. `publication` and `round_trip`: means in seconds since the process
    began; None: there was none."""

    up: bool | None
    resting: bool
    losses: int
    gaps: int
    failures: int
    publication: float | None
    round_trip: float | None


class RedisState(msgspec.Struct, frozen=True):
    """Of everything that lies there; `memory` and `limit` (0: none) in bytes."""

    memory: int
    limit: int
    keys: int
    evicted: int


class OutboxState(msgspec.Struct, frozen=True):
    """Rows that wait and rows put aside; `seconds`: age of the oldest that waits."""

    waiting: int
    aside: int
    seconds: float


class BacklogRow(msgspec.Struct, frozen=True):
    """Of a write-behind class; `seconds`: that the oldest change has waited."""

    owner: str
    waiting: int
    seconds: float
    failures: int
    dead: int


class EdgeRow(msgspec.Struct, frozen=True):
    """A cache in front of the service. `waiting`: tags that wait in this process. `purged`: since
    it began; `at`: the last time, Unix time in seconds, None: never; `seconds`: mean, from a commit
    to its purge, None: there was none. `failures`: purges that it did not take."""

    edge: str
    waiting: int
    purged: int
    at: float | None
    seconds: float | None
    failures: int


class InvalidationRow(msgspec.Struct, frozen=True):
    """Heard at a Unix time in seconds. `keys`: empty where the application does not show them."""

    at: float
    owners: tuple[str, ...]
    count: int
    mine: bool
    keys: tuple[str, ...]


class HotRow(msgspec.Struct, frozen=True):
    """`key`: an owner's prefix alone where the application does not show keys."""

    key: str
    count: float


class HotRows(msgspec.Struct, frozen=True):
    """Lately, by reads, by loads that filled Redis, by bytes to and from Redis."""

    reads: tuple[HotRow, ...]
    misses: tuple[HotRow, ...]
    bytes: tuple[HotRow, ...]


class PrimaryPlaces(msgspec.Struct, frozen=True):
    """Reads that the primary stands in for now, of so many places, and those that wait."""

    taken: int
    places: int
    waiting: int


class Status(msgspec.Struct, frozen=True):
    """At a Unix time in seconds. None: the database has no such part, or it was not measured yet.
    `max_lag`: seconds that a replica in the rotation may be behind. `purges`: rows of
    what edges have still to purge. `verdicts`: of values compared with the primary."""

    at: float
    nodes: tuple[NodeRow, ...]
    max_lag: float | None
    places: PrimaryPlaces
    owners: tuple[OwnerRow, ...]
    channel: ChannelState | None
    redis: RedisState | None
    outbox: OutboxState | None
    backlog: tuple[BacklogRow, ...]
    edges: tuple[EdgeRow, ...]
    purges: OutboxState | None
    invalidations: tuple[InvalidationRow, ...]
    hot: HotRows
    verdicts: dict[str, int]


DATABASE = "database"
"""The tier of reads that no cache answered."""


def hit_rate(reads: dict[str, int]) -> float | None:
    """Share of reads that the database was not asked for; None: of none."""
    total = sum(reads.values())
    return 1 - reads.get(DATABASE, 0) / total if total else None
