"""Against the number of replicas that a miss may read; none: the primary answers.

All of them run all the time, and replay the same. The peer reads the primary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks._growth.contest import Axis, Contest, Extent, Study, always, studied
from benchmarks._growth.curve import CPU, RATE
from benchmarks._growth.ground import Ground
from benchmarks._growth.paths import MISS, SESSION, our_misses, session_get, with_fills
from benchmarks._growth.place import ColdUsers, users
from benchmarks._harness import Load
from repocache.testing import Endpoints

CALLERS = 64


def with_replicas(ends: Endpoints, many: int) -> Endpoints:
    """The first so many."""
    return Endpoints(ends.primary, ends.replicas[:many], ends.redis)


async def study(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    ends, place = ground.ends, users(extent.cold, ColdUsers)
    await ground.make_tables()
    await ground.add_users(0, extent.cold - 1)
    misses = Contest(
        MISS,
        SESSION,
        lambda many: partial(our_misses, with_replicas(ends, many), place),
        lambda _: partial(session_get, ends, place),
        always(with_fills(Load(CALLERS, extent.cold, once=True), extent.closed)),
        (CPU, RATE),
    )
    return await studied([misses], points, extent.rounds)


REPLICAS = Axis("replicas", "replicas", (0, 1, 2, 3), (0, 1), study, scale="linear", replicas=3)
