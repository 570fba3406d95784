"""Worlds whose processes differ, whose servers are away or silent for long, and whose clients do
more than read by id.

Each is a change of another world; `profiles` says which are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from proof.simulation.profile import Profile, keys_in
from repocache.cache.freshness import Freshness


def _veiled(profile: Profile) -> Profile:
    """Redis is away, no replica has what is asked for, and commits are in the WAL long before they
    are visible."""
    pace = replace(profile.pace, flush=0.0005, visible=0.03, replay=1.0, asynchronous=0.0, slow=0.0)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 2),
        services=2,
        clients=8,
        writes=0.3,
        think=0.002,
        sessions=1.0,
        slow=0.001,
        publish=0.05,
        catch_up=0.0,
        faults={"away": 20.0},
        wide=replace(profile.wide, ways=(1.0, 15.0)),
    )


def _ahead(profile: Profile) -> Profile:
    """Replicas show a commit before their position says so, and monotonic sessions go from one to
    the other."""
    pace = replace(profile.pace, visible=0.0005, replay=0.01, ahead=0.03, asynchronous=0.0)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 2),
        monotonic=True,
        sessions=1.0,
        clients=8,
        think=0.005,
        sample_every=0.1,
        faults={"pause": 3.0},
        wide=replace(profile.wide, finds=0.3),
    )


def _relapsing(profile: Profile) -> Profile:
    """Monotonic sessions read many things at once, and replicas are lost between an answer and what
    it is worth."""
    pace = replace(profile.pace, replay=0.005, asynchronous=0.0)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 1),
        monotonic=True,
        sessions=1.0,
        clients=10,
        writes=0.2,
        think=0.003,
        sample_every=0.1,
        catch_up=0.0,
        faults={"cut replica": 60.0, "dam": 60.0},
        wide=replace(profile.wide, gathers=0.7, finds=0.2),
    )


def _reported(profile: Profile) -> Profile:
    """Monotonic sessions read in transactions and snapshots too, and sessions stand in sessions."""
    pace = replace(profile.pace, replay=0.1, asynchronous=0.0)
    wide = replace(profile.wide, finds=0.2, units=0.2, snapshots=0.15, nested=0.15)
    return replace(
        profile, pace=pace, monotonic=True, sessions=1.0, faults={"pause": 4.0}, wide=wide
    )


def _nested(profile: Profile) -> Profile:
    """Sessions in sessions, and snapshots, without monotonic reads."""
    pace = replace(profile.pace, replay=0.1, asynchronous=0.0)
    wide = replace(profile.wide, finds=0.2, snapshots=0.2, nested=0.3)
    return replace(profile, pace=pace, sessions=1.0, faults={"pause": 4.0}, wide=wide)


def _releases(profile: Profile) -> Profile:
    """Two processes with other settings and other repositories, whose clocks differ."""
    wide = replace(
        profile.wide,
        windows=(2.0, 6.0),
        lags=(0.5, 4.0),
        samples=(0.1, 0.25),
        ttls=(1.0, 4.0),
        local_ttls=(0.5, 1.0),
        owners=(("item",), ("item", "note")),
        skew=8.0,
        drift=0.01,
        absent=0.3,
        lingers=0.2,
        finds=0.3,
    )
    return replace(
        profile,
        keys=keys_in(1, 1, ("item", "note")),
        services=2,
        sessions=1.0,
        clients=6,
        think=0.02,
        reply=0.3,
        faults={"doze": 3.0, "pause": 1.0},
        wide=wide,
    )


def _skewed(profile: Profile) -> Profile:
    """Clocks differ by more than bookmarks live."""
    wide = replace(
        profile.wide,
        windows=(3.0,),
        lags=(1.0,),
        ttls=(4.0,),
        local_ttls=(1.0,),
        skew=10.0,
        drift=0.02,
        absent=0.1,
        finds=0.3,
    )
    return replace(profile, sessions=1.0, reply=0.3, max_lag=1.0, faults={"pause": 4.0}, wide=wide)


def _divided(profile: Profile) -> Profile:
    """Primaries are demoted and live on, unaware."""
    pace = replace(profile.pace, asynchronous=0.0)
    wide = replace(profile.wide, finds=0.2)
    faults = {"divide": 4.0, "evict": 1.0, "cut primary": 1.0, "pause": 1.0}
    return replace(
        profile, pace=pace, keys=keys_in(1, 2), services=3, sessions=1.0, faults=faults, wide=wide
    )


def _forked(profile: Profile) -> Profile:
    """The same with monotonic sessions, and replicas that follow the new primary before their
    readers know of it."""
    world = _divided(profile)
    wide = replace(world.wide, finds=0.5)
    pace = replace(world.pace, visible=0.0002, slow=0.0)
    return replace(
        world,
        pace=pace,
        keys=keys_in(1, 1),
        monotonic=True,
        think=0.003,
        sample_every=0.5,
        wide=wide,
    )


def _bereft(profile: Profile) -> Profile:
    """The primary is away for longer than bookmarks count, and replicas were behind when it
    went."""
    pace = replace(profile.pace, asynchronous=0.0)
    wide = replace(
        profile.wide,
        windows=(2.0,),
        lags=(0.5,),
        ttls=(1.0,),
        local_ttls=(0.5,),
        finds=0.4,
        absent=0.2,
        judges_lag=True,
    )
    return replace(
        profile,
        pace=pace,
        think=0.03,
        clients=6,
        sample_every=0.1,
        max_lag=0.5,
        reply=0.3,
        faults={"outage": 5.0},
        wide=wide,
    )


def _orphaned(profile: Profile) -> Profile:
    """The same with monotonic sessions that read many things at once, while replicas begin new
    lives."""
    world = _bereft(profile)
    wide = replace(world.wide, gathers=0.4, finds=0.2, absent=0.0, judges_lag=False)
    return replace(world, monotonic=True, sessions=1.0, think=0.01, wide=wide)


def _turned(profile: Profile) -> Profile:
    """Caches are switched off and on while loads are under way, and replicas lag."""
    pace = replace(profile.pace, replay=0.3)
    wide = replace(profile.wide, ways=(20.0,), finds=0.05)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 1),
        services=2,
        clients=10,
        think=0.02,
        slow=0.001,
        sample_every=0.1,
        publish=1.0,
        faults={"turn": 100.0},
        wide=wide,
    )


def _lapsed(profile: Profile) -> Profile:
    """Caches are off, and followers of links from a process whose bookmarks are short go on after
    these have ended: others join their loads."""
    wide = replace(
        profile.wide,
        windows=(0.8, 4.0),
        lags=(0.3, 3.0),
        ways=(20.0,),
        lingers=0.9,
        handed=0.7,
        off=True,
    )
    return replace(
        profile,
        keys=keys_in(1, 2, ("item",)),
        services=2,
        clients=20,
        sessions=1.0,
        writes=0.05,
        think=0.1,
        slow=0.001,
        sample_every=0.1,
        reply=0.3,
        faults={"doze": 12.0},
        wide=wide,
    )


def _fed(profile: Profile) -> Profile:
    """Consumers of invalidations, and failovers that lose commits and that processes notice
    late."""
    pace = replace(profile.pace, replay=0.1)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 2),
        services=3,
        writes=0.1,
        think=0.02,
        sample_every=0.5,
        faults={"divide": 4.0, "promote": 2.0, "pause": 3.0, "lose": 1.0},
        wide=replace(profile.wide, feeds=True),
    )


def _stranded(profile: Profile) -> Profile:
    """Processes die with what they could not tell, values live for seconds, and sessions come back
    later."""
    pace = replace(profile.pace, replay=0.02, asynchronous=0.0)
    wide = replace(
        profile.wide,
        windows=(2.5,),
        lags=(2.0,),
        ttls=(3.0,),
        local_ttls=(1.0,),
        absent=0.2,
        owns=0.4,
    )
    return replace(
        profile,
        pace=pace,
        keys=keys_in(2, 4),
        services=3,
        clients=10,
        sessions=1.0,
        writes=0.01,
        whole=0.0,
        think=0.15,
        publish=0.05,
        reply=0.3,
        sample_every=0.25,
        max_lag=2.0,
        faults={"strand": 8.0, "doze": 8.0},
        outbox=False,
        strangers=0.0,
        wide=wide,
    )


def _drifting(profile: Profile) -> Profile:
    """The same, and clocks differ by more than anything lives."""
    world = _stranded(profile)
    return replace(world, wide=replace(world.wide, skew=12.0, drift=0.01))


def _inherited(profile: Profile) -> Profile:
    """The same, between processes whose settings and clocks differ, and one of which may have lost
    the primary alone; primaries fail over, too."""
    world = _stranded(profile)
    wide = replace(
        world.wide,
        windows=(3.0, 9.0),
        lags=(1.0, 6.0),
        ttls=(1.0, 5.0),
        local_ttls=(0.5, 2.0),
        skew=6.0,
        drift=0.01,
        finds=0.3,
    )
    faults = {"strand": 5.0, "doze": 8.0, "outage": 1.0, "promote": 1.5}
    return replace(world, faults=faults, wide=wide)


def _sealed(profile: Profile) -> Profile:
    """Many writers store what they wrote, beside primaries that live on."""
    world = _divided(profile)
    keys = keys_in(1, 1, ("note",))
    return replace(world, keys=keys, writes=0.6, think=0.004, clients=10, whole=0.0)


def _confused(profile: Profile) -> Profile:
    """Connections are lost during COMMIT, the question what came of it is cancelled, and replicas
    lag."""
    pace = replace(profile.pace, visible=0.3, replay=1.0, slow=0.0, asynchronous=0.0, confused=0.7)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 4),
        think=0.02,
        writes=0.1,
        clients=8,
        faults={"cut primary": 30.0, "evict": 4.0},
        outbox=False,
        strangers=0.0,
    )


def _frozen(profile: Profile) -> Profile:
    """Servers are silent for everybody, for longer than anybody waits."""
    faults = {"freeze primary": 1.0, "freeze replica": 0.5, "freeze redis": 0.5, "stop": 0.5}
    return replace(
        profile,
        keys=keys_in(1, 2, ("item", "note")),
        clients=6,
        sessions=0.5,
        think=0.05,
        reply=0.3,
        faults=faults,
        wide=replace(profile.wide, finds=0.2),
    )


def _renewed(profile: Profile) -> Profile:
    """Items are given past their time while they are read anew, and kept for when the database is
    away."""
    fresh = Freshness(
        stale_while_revalidate=0.3, refresh_early=True, fail_safe=2.0, soft_timeout=0.05
    )
    pace = replace(profile.pace, replay=0.1)
    wide = replace(profile.wide, ttls=(0.3,), local_ttls=(0.1,), freshness=fresh)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 2, ("item",)),
        think=0.01,
        writes=0.25,
        sessions=1.0,
        slow=0.003,
        sample_every=0.1,
        max_lag=0.5,
        faults={"evict": 10.0, "outage": 4.0, "lose": 2.0},
        wide=wide,
    )


RENEWED: Mapping[str, Callable[[Profile], Profile]] = {"renewals": _renewed}
"""Asked for by name alone."""
WIDER: Mapping[str, Callable[[Profile], Profile]] = {
    "veils": _veiled,
    "ahead": _ahead,
    "reports": _reported,
    "relapses": _relapsing,
    "nests": _nested,
    "releases": _releases,
    "skews": _skewed,
    "parted": _divided,
    "forks": _forked,
    "bereft": _bereft,
    "orphaned": _orphaned,
    "turns": _turned,
    "lapses": _lapsed,
    "feeds": _fed,
    "strands": _stranded,
    "drifts": _drifting,
    "heirs": _inherited,
    "seals": _sealed,
    "confusion": _confused,
    "frost": _frozen,
}
"""Worlds that are made for one kind of trouble, as in `profiles`."""
