"""Against the number of callers at once in one process, in a closed loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks._growth.contest import Axis, Contest, Extent, Study, studied
from benchmarks._growth.curve import CPU, RATE
from benchmarks._growth.ground import Ground
from benchmarks._growth.keys import row
from benchmarks._growth.paths import (
    COMMIT,
    GET,
    HIT,
    MISS,
    SESSION,
    UPDATE,
    WARMERS,
    fill_redis,
    our_commits,
    our_hits,
    our_misses,
    plain_commits,
    put,
    redis_get,
    session_get,
    with_fills,
)
from benchmarks._growth.place import ColdUsers, WrittenUsers, users
from benchmarks._harness import Load, under
from benchmarks._shop import Row
from repocache.testing import Endpoints

FIGURES = (CPU, RATE)


def contests(ends: Endpoints, extent: Extent) -> list[Contest]:
    warm, cold = users(extent.warm), users(extent.cold, ColdUsers)
    written = users(extent.warm, WrittenUsers)
    return [
        Contest(
            HIT,
            GET,
            lambda callers: partial(our_hits, ends, warm, max(WARMERS, callers)),
            lambda callers: partial(redis_get, ends, warm, Row, max(WARMERS, callers)),
            lambda callers: under(Load(callers, extent.warm), extent.closed),
            FIGURES,
        ),
        Contest(
            MISS,
            SESSION,
            lambda _: partial(our_misses, ends, cold),
            lambda _: partial(session_get, ends, cold),
            lambda callers: with_fills(Load(callers, extent.cold, once=True), extent.closed),
            FIGURES,
        ),
        Contest(
            COMMIT,
            UPDATE,
            lambda _: partial(our_commits, ends, written),
            lambda _: partial(plain_commits, ends, written),
            lambda callers: under(Load(callers, extent.warm), 1.5 * extent.closed),
            FIGURES,
        ),
    ]


async def study(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    await ground.make_tables()
    await ground.add_users(0, extent.cold - 1)
    await fill_redis(ground.ends, users(extent.warm))
    await put(ground.ends, range(extent.warm), users(extent.warm), row)
    return await studied(contests(ground.ends, extent), points, extent.rounds)


CALLERS = Axis("callers", "callers at once", (1, 4, 16, 64, 256, 1_024), (8,), study)
