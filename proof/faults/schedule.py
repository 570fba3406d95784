"""What goes wrong and when: drawn from a seed, before anything has begun."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LINKS = ("redis", "primary", "replica1", "replica2")
WEATHERS = ("latency", "slow", "silent", "deaf", "cut", "reset")
SERVERS: Mapping[str, Mapping[str, float]] = {
    "redis": {
        "flush": 3,
        "crash": 1,
        "freeze": 1,
        "old snapshot": 1,
        "evict": 4,
        "drop clients": 2,
        "fail over": 1.5,
    },
    "primary": {"crash": 1, "freeze": 1, "restart": 0.5},
    "replica1": {"pause replay": 6, "crash": 1, "freeze": 1},
    "replica2": {"pause replay": 6, "crash": 1, "freeze": 1},
}
FORGETTING = ("flush", "crash", "old snapshot", "evict", "fail over")
"""Kinds after which a Redis has forgotten something."""
AREAS: Mapping[str, float] = {
    "link": 10,
    "island": 1,
    "stream": 1,
    "redis": 3,
    "primary": 0.6,
    "replica": 3,
    "worker": 2,
}
"""Kinds of targets: one link of a worker, all of them, the replication link of a replica, a server,
a worker."""


FAILOVER = 45.0
"""Seconds of a round that has a failover of the primary, at the share below. Until its end nothing
else happens to the cluster, which needs some seconds to be whole again."""
SHARE = 0.6
LINGERING = 3.0
"""Seconds that an old primary lives on beside the new one, at least."""
FROZEN = 0.1, 13.0
"""When a round's long freeze of the primary begins, as a share, and its seconds: more than any read
may take."""
LEAVING = 1.0
"""Seconds after the freeze at which a worker leaves its database."""
BEHIND = 4.0, 12.0
"""Seconds before the freeze from which a replica replays nothing, and for how many: short windows
end meanwhile."""
CLUSTER = ("primary", "replica1", "replica2", "stream1", "stream2")


@dataclass(frozen=True, slots=True)
class Planned:
    """`kind` is done to `target` from `at` to `at + seconds`. `much`: how bad it is, 0 to 1."""

    area: str
    kind: str
    target: str
    at: float
    seconds: float
    much: float

    @property
    def forgetting(self) -> bool:
        """Whether Redis forgets leases: strict owners promise nothing then (docs/policies.md)."""
        return self.area == "redis" and self.kind in FORGETTING


def spare_redis(planned: Sequence[Planned], seconds: float) -> list[Planned]:
    """Without what would make processes lose the channel once the primary has failed over: what
    they miss of that is not mended by chance."""
    late = SHARE * seconds

    def spared(each: Planned) -> bool:
        return each.target.endswith("redis") or each.area in ("island", "worker")

    return [each for each in planned if each.at + each.seconds < late or not spared(each)]


def schedule(
    seed: str, seconds: float, workers: Sequence[str], every: float = 1.0
) -> list[Planned]:
    """All is lifted before `seconds` have gone by. One thing at a time for each target; `every`:
    seconds between two faults on average."""
    chance = random.Random(seed)
    free: dict[str, float] = {}
    planned: list[Planned] = []
    at = 1.0
    while at < seconds - 1.5:
        area = _one_of(AREAS, chance)
        target, kinds = _target(area, workers, chance)
        kind = _one_of(kinds, chance)
        life = min(0.3 + chance.expovariate(1 / 2.0), 6.0, seconds - 0.5 - at)
        if free.get(target, 0.0) <= at:
            planned.append(
                Planned(area, kind, target, round(at, 3), round(life, 3), round(chance.random(), 3))
            )
            free[target] = at + life + 0.5
        at += chance.expovariate(1 / every)
    if seconds < FAILOVER:
        return planned
    late = SHARE * seconds
    spared = [
        each
        for each in planned
        if each.target not in CLUSTER or each.at + each.seconds + 1.0 < late
    ]
    if chance.random() < 0.5:
        spared = _with(spared, _long_freeze(seconds, workers, chance))
    if chance.random() < 0.4:
        return [*spared, Planned("cluster", "fail over", "cluster", late, 0.0, 0.0)]
    lingering = round(LINGERING + 4.0 * chance.random(), 3)
    return [*spared, Planned("cluster", "promote", "cluster", late, lingering, 0.0)]


def _long_freeze(seconds: float, workers: Sequence[str], chance: random.Random) -> list[Planned]:
    """The primary says nothing for longer than anybody may wait for it. A worker leaves its
    database meanwhile, and a replica lacks what was written last."""
    share, long = FROZEN
    before, paused = BEHIND
    at = round(share * seconds, 3)
    freeze = Planned("primary", "freeze", "primary", at, long, 0.0)
    leaving = Planned("worker", "leave", chance.choice(workers), at + LEAVING, 1.0, 0.0)
    replica = f"replica{chance.choice((1, 2))}"
    pause = Planned("replica", "pause replay", replica, round(at - before, 3), paused, 0.0)
    return [freeze, leaving, pause]


def _with(planned: Sequence[Planned], more: Sequence[Planned]) -> list[Planned]:
    """In the place of what would happen to the same targets at about that time."""
    spared = [
        each
        for each in planned
        if not any(
            each.target == other.target
            and each.at < other.at + other.seconds + 0.5
            and other.at < each.at + each.seconds + 0.5
            for other in more
        )
    ]
    return [*spared, *more]


def _target(
    area: str, workers: Sequence[str], chance: random.Random
) -> tuple[str, Mapping[str, float]]:
    worker = chance.choice(workers)
    number = chance.choice((1, 2))
    if area == "link":
        return f"{worker}-{chance.choice(LINKS)}", dict.fromkeys(WEATHERS, 1.0)
    if area == "island":
        return f"{worker}-*", {"silent": 1.0, "cut": 1.0, "latency": 1.0}
    if area == "stream":
        return f"stream{number}", dict.fromkeys(WEATHERS, 1.0)
    if area == "worker":
        return worker, {"kill": 1.0, "freeze": 1.5, "leave": 0.7}
    server = f"replica{number}" if area == "replica" else area
    return server, SERVERS[server]


def _one_of(weighed: Mapping[str, float], chance: random.Random) -> str:
    [one] = chance.choices(list(weighed), list(weighed.values()))
    return one
