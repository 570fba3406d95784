"""Services that share a database differ, and each has a clock of its own."""

from __future__ import annotations

import time

import pytest

from proof.faults.clock import skewed
from proof.faults.items import POLICIES, Items, items_of
from proof.faults.services import MAX_LAG, SERVICES, Service


def test_a_clock_is_ahead_and_drifts() -> None:
    clock = skewed(61.0, 0.0)
    assert clock() - time.time() == pytest.approx(61.0, abs=0.1)
    gaining, began = skewed(0.0, 10.0, lambda: 100.0), time.monotonic()
    while time.monotonic() < began + 0.02:
        pass
    assert gaining() >= 100.2


@pytest.mark.parametrize("policy", POLICIES)
def test_an_owner_has_the_times_of_its_service(policy: str) -> None:
    items = items_of(policy, Service(ttl=4.0, local_ttl=2.0))
    assert items.owner is Items.owner
    assert (items.policy.ttl, items.policy.local_ttl) == (4.0, 0.0 if policy == "strict" else 2.0)
    assert type(items.policy) is type(POLICIES[policy].policy)


def test_services_differ() -> None:
    services = SERVICES.values()
    assert len({each.window for each in services}) > 2
    assert all(each.window > MAX_LAG for each in services)
    assert len({each.ttl for each in services}) > 2
    assert {each.clock for each in services} >= {-61.0, 0.0, 61.0}
    assert {each.monotonic for each in services if each.mirrors} == {True, False}
    assert [each.switches for each in services].count(True) == 1
