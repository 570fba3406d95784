"""Worlds whose processes cache selects, in two releases that know different columns.

Each is a change of another world; `profiles` says which are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from proof.simulation.columns import NEW, OLD
from proof.simulation.profile import Profile, keys_in


def _listed(profile: Profile) -> Profile:
    """Selects are cached by two releases that know different columns, beside all that may fail."""
    wide = replace(profile.wide, columns=(OLD, NEW), selects=0.5, ttls=(60.0,), local_ttls=(30.0,))
    faults = {
        **profile.faults,
        "evict": 10.0,
        "flush": 0.6,
        "failover": 0.6,
        "restart": 0.3,
        "lose": 3.0,
        "cut redis": 1.0,
        "away": 0.3,
        "pause": 2.0,
        "crash": 0.2,
        "promote": 0.2,
        "cut primary": 0.8,
        "die": 0.3,
    }
    owners = ("item",) if len(profile.keys) < 4 else ("item", "note")
    return replace(profile, keys=keys_in(1, 3, owners), faults=faults, wide=wide)


def _registering(profile: Profile) -> Profile:
    """Shapes are registered all the time, since their record is lost, while commits take their
    time."""
    wide = replace(profile.wide, columns=(OLD, NEW), selects=0.8)
    pace = replace(profile.pace, visible=0.1, slow=0.0, asynchronous=0.0)
    return replace(
        profile,
        pace=pace,
        keys=keys_in(1, 4),
        services=2,
        clients=10,
        slow=0.001,
        think=0.005,
        writes=0.7,
        whole=0.0,
        strangers=0.0,
        faults={"unregister": 25.0},
        wide=wide,
    )


def _settling(profile: Profile) -> Profile:
    """The same, with replicas that lag, and processes whose way to the database is slow settle
    floors."""
    world = _registering(profile)
    pace = replace(world.pace, visible=0.001, replay=0.3)
    wide = replace(world.wide, ways=(1.0, 20.0, 20.0))
    faults = {"unregister": 40.0, "evict": 20.0}
    return replace(
        world,
        pace=pace,
        wide=wide,
        services=3,
        keys=keys_in(1, 2),
        sample_every=0.1,
        catch_up=0.0,
        faults=faults,
    )


def _outdated(profile: Profile) -> Profile:
    """Replicas lag, ways to Redis are slow, and nothing is lost there."""
    world = _registering(profile)
    pace = replace(world.pace, visible=0.001, replay=0.3)
    return replace(world, pace=pace, keys=keys_in(1, 2), slow=0.008, catch_up=0.0, faults={})


LISTED: Mapping[str, Callable[[Profile], Profile]] = {
    "lists": _listed,
    "registers": _registering,
    "settles": _settling,
    "outdated": _outdated,
}
"""As `wider.WIDER`."""
