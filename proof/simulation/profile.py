"""What a run is like: how many processes and keys, how fast everything is, how processes differ,
and what fails.

Owns the words; which worlds there are is `profiles`'s, and `wider`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from proof.simulation.server import Key, Pace
from repocache.cache.freshness import ALWAYS_FRESH, Freshness
from repocache.keys import bucket_of


@dataclass(frozen=True, slots=True)
class Wide:
    """How the processes, their clocks and the habits of their clients differ. Processes take their
    settings from the tuples in turn; times in seconds.

    `lags`, `samples`: in place of the profile's; empty: the profile's. `skew`: a wall clock is
    ahead or behind by at most so much; `drift`: and gains or loses at most so much in a second.
    `owners`: which repositories each process has; empty: all. `ways`: how many times slower its
    ways to the database are. `owns`, `finds`, `units`, `snapshots`, `gathers`, `nested`: shares of
    a client's steps. `absent`: share of requests after which a client stays away for about as long
    as a bookmark counts; `lingers`: share of requests that pause for so long in their middle.
    `feeds`: each process has consumers of its invalidations. `judges_lag`: selects without a
    session are held against `max_lag`. `off`: no cache is used before the end. `handed`: clients
    stay at one process, and share of their sessions begin with the last bookmark of another
    process, as who follows a link. `selects`: share of a client's steps that are cached selects;
    `columns`: those that a process's release knows, empty: it caches none. `freshness`: of items.
    """

    windows: tuple[float, ...] = (60.0,)
    ttls: tuple[float, ...] = (120.0,)
    local_ttls: tuple[float, ...] = (120.0,)
    lags: tuple[float, ...] = ()
    samples: tuple[float, ...] = ()
    owners: tuple[tuple[str, ...], ...] = ()
    skew: float = 0.0
    drift: float = 0.0
    ways: tuple[float, ...] = (1.0,)
    owns: float = 0.0
    finds: float = 0.0
    units: float = 0.0
    snapshots: float = 0.0
    gathers: float = 0.0
    nested: float = 0.0
    absent: float = 0.0
    lingers: float = 0.0
    feeds: bool = False
    judges_lag: bool = False
    off: bool = False
    handed: float = 0.0
    selects: float = 0.0
    columns: tuple[tuple[str, ...], ...] = ()
    freshness: Freshness = ALWAYS_FRESH


NARROW = Wide()
"""All processes are alike, and clients read by id."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`keys`: of both owners. `clients`: at once. `faults`: of each kind, so many in ten seconds.
    `think`: seconds between two requests of a client. `writes`, `whole`, `sessions`, `cancels`:
    shares. Times in seconds.

    `outbox`: the database has one. `strangers`: writes in a second that know nothing of this
    library; if there are any, all tables have triggers, and the library's own writers leave some of
    their rows to these. `neighbours`: a process of another primary, in the same Redis. `wide`: how
    processes and clients differ.
    """

    name: str
    keys: tuple[Key, ...]
    services: int = 2
    clients: int = 8
    faults: Mapping[str, float] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    slow: float = 0.0005
    think: float = 0.01
    writes: float = 0.2
    whole: float = 0.01
    sessions: float = 0.6
    cancels: float = 0.01
    monotonic: bool = False
    sample_every: float = 0.25
    max_lag: float = 10.0
    catch_up: float = 0.01
    lease: float = 2.0
    patience: float = 0.2
    reply: float = 1.0
    publish: float = 1.0
    outbox: bool = False
    strangers: float = 0.0
    neighbours: bool = False
    wide: Wide = NARROW


@cache
def _ids(owner: str, bucket: int) -> tuple[int, ...]:
    found: list[int] = []
    id = 0
    while len(found) < 4:
        if bucket_of(f"{owner}:{id}") == bucket:
            found.append(id)
        id += 1
    return tuple(found)


def keys_in(buckets: int, each: int, owners: tuple[str, ...] = ("item",)) -> tuple[Key, ...]:
    """So many keys of each owner in each of the first buckets."""
    return tuple(
        (owner, id)
        for bucket in range(buckets)
        for owner in owners
        for id in _ids(owner, bucket)[:each]
    )
