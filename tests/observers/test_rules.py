"""The alert rules, by Prometheus's own tool: each fires on its cause, and none in a service that is
well, restless, quiet, or has only begun."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import pytest
import yaml

from repocache import ConfigurationError
from repocache.observers.monitoring import prometheus_rules
from tests.observers.prometheus_tests import (
    AFTER,
    PROMTOOL,
    World,
    begun,
    firing,
    needs_promtool,
    restless,
    seldom,
    steady,
)

USER = 'owner="user"'
EDGE = 'edge="varnish v1:6081"'
HEALTHY: World = {
    f'repocache_reads_total{{{USER}, tier="l1"}}': restless(500, 700, 600),
    f'repocache_reads_total{{{USER}, tier="l2"}}': steady(60),
    f'repocache_reads_total{{{USER}, tier="database"}}': restless(30, 40, 35),
    f'repocache_owner_info{{{USER}, pattern="cache-aside"}}': steady(1),
    f"repocache_l1_evictions_total{{{USER}}}": restless(50, 150, 100),
    "repocache_redis_evicted_keys": steady(0),
    f"repocache_redis_read_bytes_total{{{USER}}}": restless(8e6, 12e6, 10e6),
    f"repocache_redis_written_bytes_total{{{USER}}}": steady(3e6),
    f"repocache_keys_distinct{{{USER}}}": restless(4_000, 6_000, 5_000),
    'repocache_replica_lag_seconds{node="r1"}': restless(0.1, 1.0, 0.2),
    "repocache_max_lag_seconds": steady(5),
    'repocache_node_up{node="primary"}': steady(1),
    'repocache_node_up{node="r1"}': steady(1),
    "repocache_channel_up": steady(1),
    "repocache_link_resting": steady(0),
    'repocache_publish_seconds_bucket{le="0.01"}': steady(100),
    'repocache_publish_seconds_bucket{le="2.5"}': steady(100),
    'repocache_publish_seconds_bucket{le="+Inf"}': steady(100),
    "repocache_publish_seconds_count": steady(100),
    'repocache_channel_seconds_bucket{le="0.01"}': steady(6),
    'repocache_channel_seconds_bucket{le="2.5"}': steady(6),
    'repocache_channel_seconds_bucket{le="+Inf"}': steady(6),
    "repocache_publish_failures_total": steady(0),
    "repocache_outbox_age_seconds": restless(0, 2, 1),
    'repocache_outbox_rows{state="aside"}': steady(0),
    "repocache_relay_failures_total": steady(0),
    f'repocache_edge_purge_seconds_bucket{{{EDGE}, le="0.1"}}': steady(50),
    f'repocache_edge_purge_seconds_bucket{{{EDGE}, le="5"}}': steady(50),
    f'repocache_edge_purge_seconds_bucket{{{EDGE}, le="+Inf"}}': steady(50),
    f"repocache_edge_purge_seconds_count{{{EDGE}}}": steady(50),
    f"repocache_edge_purge_failures_total{{{EDGE}}}": steady(0),
    "repocache_purges_age_seconds": restless(2, 8, 5),
    'repocache_purges_rows{state="aside"}': steady(0),
    'repocache_behind_changes{owner="view"}': restless(500, 900, 700),
    'repocache_flush_failures_total{owner="view"}': steady(0),
    'repocache_dead_letters_total{owner="view"}': steady(0),
    'repocache_verified_total{verdict="wrong"}': steady(0),
    f'repocache_shadowed_total{{{USER}, verdict="wrong"}}': steady(0),
    "repocache_task_failures_total": steady(0),
    "repocache_commits_unknown_total": steady(0),
    "repocache_primary_reads": restless(0, 3, 1),
    "repocache_primary_places": steady(20),
    "repocache_primary_waiting": steady(0),
}
LOST_HITS: World = {
    f'repocache_reads_total{{{USER}, tier="l1"}}': steady(600, 200),
    f'repocache_reads_total{{{USER}, tier="database"}}': steady(35, 435),
}
SLOW_PUBLICATION: World = {'repocache_publish_seconds_bucket{le="0.01"}': steady(100, 10)}
SLOW_CHANNEL: World = {'repocache_channel_seconds_bucket{le="0.01"}': steady(6, 1)}
CAUSES: Mapping[str, World] = {
    "RepocacheHitRateDropped": LOST_HITS,
    "RepocacheEvictionsSpiked": {f"repocache_l1_evictions_total{{{USER}}}": steady(100, 900)},
    "RepocacheRedisEvictionsSpiked": {
        "repocache_redis_evicted_keys": [*steady(0)[:-AFTER], *range(0, AFTER * 300, 300)]
    },
    "RepocacheBytesJumped": {f"repocache_redis_read_bytes_total{{{USER}}}": steady(10e6, 60e6)},
    "RepocacheKeysGrew": {f"repocache_keys_distinct{{{USER}}}": steady(5_000, 40_000)},
    "RepocacheReplicaLags": {'repocache_replica_lag_seconds{node="r1"}': steady(0.2, 2.1)},
    "RepocacheReplicaLagsCritically": {
        'repocache_replica_lag_seconds{node="r1"}': steady(0.2, 4.1)
    },
    "RepocacheNodeOut": {'repocache_node_up{node="r1"}': steady(1, 0)},
    "RepocachePrimaryOut": {'repocache_node_up{node="primary"}': steady(1, 0)},
    "RepocacheChannelDown": {"repocache_channel_up": steady(1, 0)},
    "RepocacheBreakerOpen": {"repocache_link_resting": steady(0, 1)},
    "RepocacheInvalidationLags": SLOW_PUBLICATION,
    "RepocachePublishFails": {"repocache_publish_failures_total": steady(0, 2)},
    "RepocacheOutboxOld": {"repocache_outbox_age_seconds": steady(1, 300)},
    "RepocacheOutboxPutAside": {'repocache_outbox_rows{state="aside"}': steady(0, 1)},
    "RepocacheRelayFails": {"repocache_relay_failures_total": steady(0, 1)},
    "RepocachePurgesFail": {f"repocache_edge_purge_failures_total{{{EDGE}}}": steady(0, 2)},
    "RepocachePurgesLag": {
        f'repocache_edge_purge_seconds_bucket{{{EDGE}, le="0.1"}}': steady(50, 20)
    },
    "RepocachePurgesOld": {"repocache_purges_age_seconds": steady(5, 300)},
    "RepocachePurgesPutAside": {'repocache_purges_rows{state="aside"}': steady(0, 1)},
    "RepocacheBacklogGrew": {'repocache_behind_changes{owner="view"}': steady(700, 9_000)},
    "RepocacheFlushesFail": {'repocache_flush_failures_total{owner="view"}': steady(0, 1)},
    "RepocacheDeadLetters": {'repocache_dead_letters_total{owner="view"}': begun(1)},
    "RepocacheVerifiedWrong": {'repocache_verified_total{verdict="wrong"}': begun(1)},
    "RepocacheShadowedWrong": {f'repocache_shadowed_total{{{USER}, verdict="wrong"}}': begun(1)},
    "RepocacheTaskDied": {"repocache_task_failures_total": steady(0, 1, minutes=1)},
    "RepocacheCommitsUnknown": {"repocache_commits_unknown_total": steady(0, 1, minutes=1)},
    "RepocachePrimaryBudgetExhausted": {"repocache_primary_reads": steady(1, 20)},
}
"""By the alert that fires of it alone, but for those of `AS_WELL`."""
AS_WELL = {"RepocacheReplicaLagsCritically": {"RepocacheReplicaLags"}}


def scaled(world: World, factor: float) -> World:
    return {series: [value * factor for value in minutes] for series, minutes in world.items()}


OTHER_CAUSES: Mapping[str, World] = {
    "RepocacheInvalidationLags": SLOW_CHANNEL,
    "RepocachePrimaryBudgetExhausted": {"repocache_primary_waiting": steady(0, 3)},
    "RepocacheDeadLetters": {'repocache_dead_letters_total{owner="view"}': steady(0, 1, minutes=2)},
}
DEVIATE = {
    "RepocacheHitRateDropped": 0.001,
    "RepocacheEvictionsSpiked": 0.01,
    "RepocacheRedisEvictionsSpiked": 0.01,
    "RepocacheBytesJumped": 0.01,
    "RepocacheKeysGrew": 0.01,
    "RepocacheInvalidationLags": 0.001,
    "RepocacheOutboxOld": 0.1,
    "RepocachePurgesLag": 0.001,
    "RepocachePurgesOld": 0.1,
    "RepocacheBacklogGrew": 0.01,
}
"""How much of the traffic a service has that is too quiet for the alert."""
RESTLESS: Mapping[str, World] = {
    "RepocacheHitRateDropped": {
        f'repocache_reads_total{{{USER}, tier="l1"}}': restless(150, 700, 150),
        f'repocache_reads_total{{{USER}, tier="database"}}': restless(400, 35, 400),
    },
    "RepocacheEvictionsSpiked": {f"repocache_l1_evictions_total{{{USER}}}": restless(0, 900, 900)},
    "RepocacheBytesJumped": {
        f"repocache_redis_read_bytes_total{{{USER}}}": restless(10e6, 60e6, 60e6)
    },
    "RepocacheKeysGrew": {f"repocache_keys_distinct{{{USER}}}": restless(5e3, 40e3, 40e3)},
    "RepocachePurgesLag": {
        f'repocache_edge_purge_seconds_bucket{{{EDGE}, le="0.1"}}': seldom(50, 20)
    },
    "RepocachePurgesOld": {"repocache_purges_age_seconds": seldom(5, 300)},
    "RepocacheBacklogGrew": {'repocache_behind_changes{owner="view"}': restless(700, 9_000, 9_000)},
}
"""The same as in CAUSES at the end, but usual for them."""
LITTLE: Mapping[str, World] = {
    "RepocacheHitRateDropped": {
        f'repocache_reads_total{{{USER}, tier="l1"}}': steady(600, 580),
        f'repocache_reads_total{{{USER}, tier="database"}}': steady(35, 55),
    },
    "RepocacheEvictionsSpiked": {f"repocache_l1_evictions_total{{{USER}}}": steady(100, 150)},
    "RepocacheRedisEvictionsSpiked": {
        "repocache_redis_evicted_keys": list(accumulate(steady(100, 150)))
    },
    "RepocacheBytesJumped": {f"repocache_redis_read_bytes_total{{{USER}}}": steady(10e6, 15e6)},
    "RepocacheKeysGrew": {f"repocache_keys_distinct{{{USER}}}": steady(5_000, 6_000)},
    "RepocacheInvalidationLags": {
        'repocache_publish_seconds_bucket{le="0.01"}': steady(50, 40),
    },
    "RepocacheOutboxOld": {"repocache_outbox_age_seconds": steady(100, 150)},
    "RepocachePurgesLag": {
        f'repocache_edge_purge_seconds_bucket{{{EDGE}, le="0.1"}}': steady(25, 20)
    },
    "RepocachePurgesOld": {"repocache_purges_age_seconds": steady(100, 150)},
    "RepocacheBacklogGrew": {'repocache_behind_changes{owner="view"}': steady(9_000, 12_000)},
}
"""Far more than three deviations from what does not move at all, and little."""
HALF_A_SECOND: World = {
    f'repocache_edge_purge_seconds_bucket{{{EDGE}, le="0.1"}}': steady(50, 49.45)
}
"""The slowest purge in a hundred, after a tenth of that for hours."""
YOUNG = 190
"""Minutes, of which those in which something is wrong are many."""
SHORT = 60
"""Minutes, too few for a baseline."""


def worlds() -> Mapping[str, World]:
    made: dict[str, World] = {
        "healthy": HEALTHY,
        "idle": {
            series: minutes if "node_up" in series or "channel_up" in series else steady(0)
            for series, minutes in HEALTHY.items()
        },
        "without redis": {
            series: minutes for series, minutes in HEALTHY.items() if "channel_up" not in series
        },
    }
    made |= {f"cause of {alert}": {**HEALTHY, **cause} for alert, cause in CAUSES.items()}
    made |= {f"other cause of {name}": {**HEALTHY, **world} for name, world in OTHER_CAUSES.items()}
    young: World = {
        **HEALTHY, f"repocache_l1_evictions_total{{{USER}}}": steady(100, 300)
    }  # fmt: skip
    made["young"] = {name: each[-YOUNG:] for name, each in young.items()}
    made["half a second"] = {**HEALTHY, **HALF_A_SECOND}
    made |= {f"little {name}": {**HEALTHY, **world} for name, world in LITTLE.items()}
    made |= {f"restless {name}": {**HEALTHY, **world} for name, world in RESTLESS.items()}
    made |= {
        f"quiet {alert}": {
            **scaled({**HEALTHY, **CAUSES[alert]}, factor),
            **{name: each for name, each in HEALTHY.items() if "_up" in name or "max_lag" in name},
        }
        for alert, factor in DEVIATE.items()
    }
    made |= {
        f"new {alert}": {name: each[-SHORT:] for name, each in {**HEALTHY, **CAUSES[alert]}.items()}
        for alert in DEVIATE
    }
    return made


@pytest.fixture(scope="module")
def fired(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    return firing(worlds(), tmp_path_factory.mktemp("rules"))


def alerts() -> list[str]:
    groups = yaml.safe_load(prometheus_rules())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def test_each_alert_has_a_cause_here() -> None:
    assert sorted(alerts()) == sorted(CAUSES)


@needs_promtool
@pytest.mark.parametrize("alert", CAUSES)
def test_it_fires_on_its_cause_alone(fired: Mapping[str, set[str]], alert: str) -> None:
    assert fired[f"cause of {alert}"] == {alert} | AS_WELL.get(alert, set())


@needs_promtool
@pytest.mark.parametrize("alert", OTHER_CAUSES)
def test_it_fires_on_its_other_cause(fired: Mapping[str, set[str]], alert: str) -> None:
    assert fired[f"other cause of {alert}"] == {alert}


@needs_promtool
@pytest.mark.parametrize("world", ["healthy", "idle", "without redis"])
def test_none_fires_where_all_is_well(fired: Mapping[str, set[str]], world: str) -> None:
    assert fired[world] == set()


@needs_promtool
@pytest.mark.parametrize("alert", RESTLESS)
def test_what_is_usual_for_a_service_is_no_alarm(fired: Mapping[str, set[str]], alert: str) -> None:
    assert fired[f"restless {alert}"] == set()


@needs_promtool
@pytest.mark.parametrize("alert", LITTLE)
def test_a_steady_service_may_change_a_little(fired: Mapping[str, set[str]], alert: str) -> None:
    assert fired[f"little {alert}"] == set()


@needs_promtool
def test_purges_that_are_quick_may_become_slower(fired: Mapping[str, set[str]]) -> None:
    assert fired["half a second"] == set()


@needs_promtool
@pytest.mark.parametrize("alert", DEVIATE)
def test_a_quiet_service_does_not_alarm(fired: Mapping[str, set[str]], alert: str) -> None:
    assert fired[f"quiet {alert}"] == set()


@needs_promtool
def test_what_goes_on_now_is_no_part_of_the_baseline(fired: Mapping[str, set[str]]) -> None:
    assert fired["young"] == {"RepocacheEvictionsSpiked"}


@needs_promtool
@pytest.mark.parametrize("alert", DEVIATE)
def test_a_new_service_has_no_baseline(fired: Mapping[str, set[str]], alert: str) -> None:
    assert fired[f"new {alert}"] == set()


@needs_promtool
def test_promtool_takes_them(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    for namespace in ("repocache", "orders_cache"):
        file = tmp_path / f"{namespace}.yml"
        file.write_text(prometheus_rules(namespace=namespace))
        checked = subprocess.run(
            [PROMTOOL, "check", "rules", str(file)], text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert (" repocache_" in file.read_text()) == (namespace == "repocache")


def test_each_says_what_a_person_needs() -> None:
    for group in yaml.safe_load(prometheus_rules(page="https://docs.example/on-call"))["groups"]:
        assert group["interval"] == "1m"
        for rule in group["rules"]:
            if "alert" not in rule:
                assert rule["record"].startswith("repocache:")
                continue
            told = rule["annotations"]
            assert set(told) == {"summary", "description", "runbook_url"}
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert told["runbook_url"].startswith("https://docs.example/on-call#")
            assert "$labels.job" in told["description"]


def test_a_namespace_that_none_can_have_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="letters, digits and _"):
        prometheus_rules(namespace="orders-cache")


@pytest.mark.parametrize("words, status", [(["rules"], 0), (["rules", "a b"], 2), (["rule"], 2)])
def test_they_are_printed(words: list[str], status: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "repocache.observers.monitoring", *words],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert ran.returncode == status
    assert ran.stdout == (prometheus_rules() if status == 0 else "")
    assert bool(ran.stderr) == bool(status)
