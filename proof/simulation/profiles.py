"""What a run is like: how many processes and keys, how fast everything is, and which faults there
are.

A profile is drawn from a seed: small worlds and short times, since that is where protocols break.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from proof.simulation.listed import LISTED
from proof.simulation.profile import Profile, keys_in
from proof.simulation.server import Pace
from proof.simulation.wider import RENEWED, WIDER

REDIS = {
    "evict": 6.0,
    "flush": 0.6,
    "restart": 0.3,
    "failover": 0.4,
    "cut redis": 0.8,
    "hold redis": 0.5,
    "lose": 0.5,
    "away": 0.3,
}
REPLICAS = {
    "pause": 2.0,
    "crawl": 1.0,
    "restart replica": 1.0,
    "cut replica": 0.5,
    "hold replica": 0.5,
}
PRIMARY = {
    "crash": 0.2,
    "backend crash": 0.1,
    "promote": 0.2,
    "cut primary": 0.8,
    "hold primary": 0.3,
}
SERVICES = {"kill": 0.2, "stop": 0.15, "die": 0.3}


MIXES = (("item",), ("item", "note"), ("note",), ("price",), ("item", "note", "price"))
"""Which owners a world has: cache-aside, write-through, strict."""
FAMILIES: Mapping[str, Mapping[str, float]] = {
    "calm": {},
    "redis": REDIS,
    "replicas": REPLICAS,
    "primary": PRIMARY,
    "services": {**SERVICES, "cut redis": 0.4, "evict": 2.0, "away": 0.4},
    "all": {**REDIS, **REPLICAS, **PRIMARY, **SERVICES},
}


def _doubtful(profile: Profile) -> Profile:
    """Connections are lost during COMMIT, which takes its time to become visible."""
    pace = replace(profile.pace, visible=0.05, asynchronous=0.0)
    return replace(
        profile, pace=pace, think=0.02, writes=0.15, faults={"cut primary": 40.0, "evict": 2.0}
    )


def _forgetful(profile: Profile) -> Profile:
    """The primary forgets commits that it has shown."""
    pace = replace(profile.pace, flush=0.02, asynchronous=0.8)
    return replace(
        profile,
        pace=pace,
        think=0.02,
        writes=0.1,
        faults={"crash": 3.0, "backend crash": 2.0, "promote": 2.0},
    )


def _impatient(profile: Profile) -> Profile:
    """Nobody waits for another's lease for long, and leases last."""
    return replace(
        profile,
        patience=0.002,
        lease=2.0,
        slow=0.003,
        think=0.002,
        clients=10,
        keys=keys_in(1, 1),
        writes=0.4,
    )


def _speechless(profile: Profile) -> Profile:
    """Redis falls silent, and commits do not wait for it."""
    return replace(profile, publish=0.05, reply=1.0, faults={"hold redis": 10.0, "lose": 5.0})


def _deaf(profile: Profile) -> Profile:
    """Messages are lost while many loads are in flight."""
    return replace(_impatient(profile), patience=0.05, faults={"lose": 200.0})


def _sweeping(profile: Profile) -> Profile:
    """Whole owners change."""
    return replace(profile, whole=0.4, slow=0.003, think=0.002, clients=10, keys=keys_in(1, 1))


def _usurped(profile: Profile) -> Profile:
    """Redis is another one every second."""
    return replace(
        profile, slow=0.0003, keys=keys_in(1, 1), faults={"failover": 10.0, "restart": 4.0}
    )


def _returning(profile: Profile) -> Profile:
    """Masters are demoted, unaware, and come back."""
    return replace(profile, keys=keys_in(1, 2), faults={"depose": 3.0, "return": 6.0})


def _demoted(profile: Profile) -> Profile:
    """Masters are demoted, and hardly anybody writes to whom they could say so."""
    return replace(
        profile,
        keys=keys_in(1, 1),
        services=3,
        sessions=0.0,
        writes=0.01,
        whole=0.0,
        faults={"depose": 5.0},
        outbox=False,
        strangers=0.0,
    )


def _divided(profile: Profile) -> Profile:
    """Some processes have gone to the new master and some are still with the old one, and sessions
    go to both."""
    return replace(
        profile,
        keys=keys_in(1, 1),
        services=3,
        sessions=1.0,
        faults={"depose": 6.0, "cut redis": 8.0},
    )


def _strict(profile: Profile) -> Profile:
    """Prices: writers are slow between write lease and COMMIT, and some of them die there."""
    pace = replace(profile.pace, visible=0.01)
    faults = {"kill": 2.0, "cut primary": 3.0, "cut redis": 2.0, "evict": 4.0}
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 1, ("price",)),
        writes=0.3,
        think=0.003,
        clients=10,
        faults=faults,
    )


def _widowed(profile: Profile) -> Profile:
    """Prices whose few writers die after COMMIT, and nobody else tells of what they wrote."""
    keys, faults = keys_in(1, 2, ("price",)), {"die": 40.0}
    return replace(
        profile,
        keys=keys,
        writes=0.01,
        whole=0.0,
        faults=faults,
        services=3,
        outbox=False,
        strangers=0.0,
    )


def _lingering(profile: Profile) -> Profile:
    """Prices whose COMMIT takes longer than a write lease."""
    pace = replace(profile.pace, visible=4.0, slow=0.0, asynchronous=0.0)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 3, ("price",)),
        writes=0.008,
        think=0.01,
        slow=0.003,
        clients=8,
    )


def _stored(profile: Profile) -> Profile:
    """Many writers of few rows store what they wrote."""
    keys = keys_in(1, 1, ("note",))
    return replace(profile, keys=keys, writes=0.6, think=0.002, clients=10, slow=0.003, whole=0.1)


def _evicted(profile: Profile) -> Profile:
    """Records go all the time, while replicas lag."""
    pace = replace(profile.pace, replay=0.05, visible=0.002)
    faults = {"evict": 150.0}
    return replace(
        profile,
        pace=pace,
        slow=0.008,
        think=0.002,
        sample_every=0.05,
        keys=keys_in(1, 1),
        faults=faults,
    )


def _restarted(profile: Profile) -> Profile:
    """Replicas go back."""
    pace = replace(profile.pace, replay=0.1)
    faults = {"restart replica": 20.0}
    return replace(
        profile, pace=pace, sample_every=0.5, keys=keys_in(1, 1), writes=0.3, faults=faults
    )


def _orphaned(profile: Profile) -> Profile:
    """Processes die between COMMIT and publication, and Redis is away when others find what they
    left."""
    faults = {"die": 20.0, "away": 5.0}
    keys = keys_in(2, 4, ("item", "note"))
    return replace(
        profile,
        keys=keys,
        writes=0.2,
        think=0.03,
        publish=0.1,
        faults=faults,
        outbox=True,
        strangers=0.0,
        services=3,
    )


def _estranged(profile: Profile) -> Profile:
    """Others write too, replicas lag, and processes die."""
    pace = replace(profile.pace, replay=0.1)
    faults = {"evict": 5.0, "cut primary": 2.0, "kill": 1.0}
    keys = keys_in(2, 2)
    return replace(
        profile,
        pace=pace,
        keys=keys,
        writes=0.1,
        think=0.02,
        faults=faults,
        outbox=True,
        strangers=20.0,
        publish=1.0,
    )


def _reborn(profile: Profile) -> Profile:
    """Failovers lose rows of the outbox, and their ids are given out again."""
    pace = replace(profile.pace, replay=0.1, asynchronous=0.5)
    faults = {"promote": 20.0, "die": 10.0}
    keys = keys_in(2, 4)
    return replace(
        profile,
        pace=pace,
        keys=keys,
        writes=0.4,
        think=0.01,
        faults=faults,
        outbox=True,
        strangers=20.0,
    )


def _torn(profile: Profile) -> Profile:
    """Two servers were promoted, and no COMMIT leaves a doubt."""
    return replace(
        profile,
        keys=keys_in(1, 2),
        whole=0.3,
        think=0.003,
        cancels=0.0,
        outbox=False,
        strangers=0.0,
        neighbours=True,
    )


def _forged(profile: Profile) -> Profile:
    """Somebody publishes what he likes, while messages are lost and records evicted."""
    return replace(
        profile,
        keys=keys_in(1, 1, ("item", "note")),
        whole=0.1,
        slow=0.003,
        think=0.002,
        sessions=0.7,
        faults={"forge": 300.0, "lose": 60.0, "evict": 10.0},
    )


SHAPES: Mapping[str, Callable[[Profile], Profile]] = {
    "doubt": _doubtful,
    "amnesia": _forgetful,
    "impatience": _impatient,
    "silence": _speechless,
    "deafness": _deaf,
    "sweeps": _sweeping,
    "usurpers": _usurped,
    "evictions": _evicted,
    "returns": _returning,
    "demotions": _demoted,
    "divided": _divided,
    "prices": _strict,
    "stores": _stored,
    "widows": _widowed,
    "lingering": _lingering,
    "restarts": _restarted,
    "orphans": _orphaned,
    "strangers": _estranged,
    "rebirths": _reborn,
}
"""Worlds that are made for one kind of trouble."""
ASKED: Mapping[str, Callable[[Profile], Profile]] = {
    "torn": _torn,
    "forgers": _forged,
    **RENEWED,
}
"""Worlds that no seed draws by itself: all that could go wrong in them is what they are made
for."""


NAMES = [*FAMILIES, *SHAPES, *WIDER, *LISTED, *ASKED]
"""Of all families and shapes."""


def drawn(seed: int, family: str = "", *, narrow: bool = False) -> Profile:
    """The profile of a seed. `family`: of faults, or a shape, or one and changes of it as in
    "services+feeds"; drawn too if it is not given. `narrow`: as seeds were drawn before there were
    wider worlds; half of them still are. One in five caches selects, whatever else it is."""
    if not family and not narrow:
        wide = Random(f"{seed} wider")
        if wide.random() < 0.5:
            family = wide.choice(list(WIDER))
            if wide.random() < 0.3:
                family = f"{wide.choice([*FAMILIES, *SHAPES])}+{family}"
        lists = Random(f"{seed} lists")
        if lists.random() < 0.2:
            family = f"{family}+{lists.choice(list(LISTED))}"
    first, *others = family.split("+")
    profile = _drawn(seed, first)
    for other in others:
        profile = _both(profile, {**WIDER, **LISTED}[other](profile), other)
    return profile


def _both(first: Profile, second: Profile, name: str) -> Profile:
    """The second, with the faults of both."""
    faults = {**first.faults, **second.faults}
    return replace(second, name=f"{first.name}+{name}", faults=faults)


def _drawn(seed: int, family: str) -> Profile:
    draw = Random(seed * 7919 + 1)
    family = family or draw.choice([*FAMILIES, *SHAPES])
    faults = FAMILIES.get(family, {})
    intensity = draw.choice((0.5, 1.0, 3.0))
    profile = Profile(
        name=family,
        keys=keys_in(draw.choice((1, 1, 2)), draw.choice((1, 1, 2)), draw.choice(MIXES)),
        services=draw.choice((2, 2, 3)),
        clients=draw.choice((3, 6, 10)),
        faults={kind: rate * intensity for kind, rate in faults.items()},
        pace=Pace(
            flush=draw.choice((0.0005, 0.002)),
            visible=draw.choice((0.0002, 0.002, 0.01)),
            replay=draw.choice((0.002, 0.01, 0.05)),
            slow=draw.choice((0.0, 0.02, 0.05)),
            asynchronous=draw.choice((0.0, 0.1, 0.5)),
            aborts=0.01,
        ),
        slow=draw.choice((0.0003, 0.001, 0.003)),
        think=draw.choice((0.002, 0.01, 0.03)),
        writes=draw.choice((0.1, 0.2, 0.4)),
        monotonic=draw.random() < 0.1,
        sample_every=draw.choice((0.1, 0.25, 0.5)),
        max_lag=draw.choice((2.0, 10.0)),
        catch_up=draw.choice((0.0, 0.01)),
        lease=draw.choice((0.02, 0.1, 2.0)),
        patience=draw.choice((0.005, 0.05, 0.2)),
        reply=draw.choice((0.3, 1.0)),
        publish=draw.choice((0.1, 1.0)),
        outbox=draw.random() < 0.6,
        strangers=draw.choice((0.0, 0.0, 1.0, 10.0)),
    )
    profile = profile if profile.outbox else replace(profile, strangers=0.0)
    shape = {**SHAPES, **WIDER, **LISTED, **ASKED}.get(family)
    return profile if shape is None else shape(profile)


def without(profile: Profile, *kinds: str) -> Profile:
    """The same without some of the faults."""
    return replace(
        profile, faults={kind: rate for kind, rate in profile.faults.items() if kind not in kinds}
    )
