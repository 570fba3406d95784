"""How the processes of a storm differ: as services of several teams do that share one database."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

TTL = 1800.0
LOCAL_TTL = 900.0
"""Far beyond a round: what is wrong stays wrong unless it is invalidated."""
MAX_LAG = 5.0
"""Below every window. A replica whose replay is paused stays in the rotation for a while: what it
shows then is old for certain."""


class Service(msgspec.Struct, frozen=True):
    """`monotonic`, `window`: of its `Settings`. `ttl`, `local_ttl`: of the owner. `clock`: seconds
    that its wall clock is ahead, `drift`: what it gains in each second. `mirrors`: it keeps a copy
    of all rows by `db.invalidations`. `switches`: the owner's mode changes under way."""

    monotonic: bool = False
    window: float = 60.0
    ttl: float = TTL
    local_ttl: float = LOCAL_TTL
    clock: float = 0.0
    drift: float = 0.0
    mirrors: bool = False
    switches: bool = False


SERVICES: Mapping[str, Service] = {
    "w1": Service(window=60.0, mirrors=True),
    "w2": Service(window=7.0, ttl=4.0, local_ttl=2.0, clock=-61.0, drift=0.005, switches=True),
    "w3": Service(monotonic=True, window=12.0, clock=61.0, drift=-0.005, mirrors=True),
    "w4": Service(monotonic=True, window=60.0, ttl=30.0, local_ttl=10.0, drift=0.01),
}
"""By the names of their workers."""
