"""A scenario becomes two tests: with its rule it finds no violation, without it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import pytest

from proof.protocol import (
    edge_switches,
    refresh_switches,
    renewal_switches,
    tag_switches,
    wider_switches,
)
from proof.protocol.switches import rule_off
from proof.protocol.world import World, open_world
from repocache.testing import Servers

__all__ = [  # they add switches
    "edge_switches",
    "refresh_switches",
    "renewal_switches",
    "tag_switches",
    "wider_switches",
]

Scenario = Callable[[World], Awaitable[list[str]]]
"""Forces one interleaving and returns the violations that it found."""


@dataclass(frozen=True, slots=True)
class Guard:
    """`test`: the name of the test that was made of the scenario."""

    rule: str
    test: str
    scenario: Scenario


GUARDS: list[Guard] = []


def guards(
    rule: str, *, on: str = "repocache_servers"
) -> Callable[[Scenario], Callable[..., Awaitable[None]]]:
    """Make tests of a scenario. `rule`: its switch.

    `on`: a fixture: "repocache_servers", "repocache_controls" for a scenario that kills servers,
    "torn_servers": two primaries of one system on one timeline, the first for `a` and the second
    for `b`, or "paired_servers": a Redis with a replica.
    """

    def decorate(scenario: Scenario) -> Callable[..., Awaitable[None]]:
        @pytest.mark.usefixtures(on, *([] if on == "torn_servers" else ["repocache_endpoints"]))
        @pytest.mark.parametrize("rule_holds", [True, False], ids=["on", "off"])
        async def test(rule_holds: bool, request: pytest.FixtureRequest) -> None:
            servers: Servers = request.getfixturevalue(on)
            if on == "torn_servers":
                endpoints, primaries = (
                    servers.endpoints(),
                    [replica.url() for replica in servers.replicas],
                )
            else:
                endpoints, primaries = request.getfixturevalue("repocache_endpoints"), ["", ""]
                endpoints = replace(endpoints, redis=servers.redis.url)
            with nullcontext() if rule_holds else rule_off(rule):
                async with open_world(servers, endpoints, primaries) as world:
                    violations = await scenario(world)
            if rule_holds:
                assert violations == []
            else:
                assert violations, f"without {rule!r} nothing is violated: the test guards nothing"

        name = str(getattr(scenario, "__name__", ""))
        test.__name__, test.__doc__ = name, scenario.__doc__
        GUARDS.append(Guard(rule, name, scenario))
        return test

    return decorate
