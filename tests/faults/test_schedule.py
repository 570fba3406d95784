"""What goes wrong is drawn from the seed alone, is lifted in time, and is one thing at a time for each target."""

from __future__ import annotations

from tests.faults.schedule import CLUSTER, schedule

WORKERS = ("w1", "w2")


def test_a_seed_is_a_schedule() -> None:
    assert schedule("a", 60.0, WORKERS) == schedule("a", 60.0, WORKERS) != schedule("b", 60.0, WORKERS)


def test_everything_is_lifted_before_the_end_and_overlaps_with_nothing_of_its_own() -> None:
    for seed in range(50):
        planned = schedule(str(seed), 30.0, WORKERS, every=0.3)
        assert planned
        free: dict[str, float] = {}
        for each in planned:
            assert free.get(each.target, 0.0) <= each.at
            assert each.at + each.seconds < 30.0
            free[each.target] = each.at + each.seconds


def test_the_cluster_fails_over_in_peace() -> None:
    for seed in range(50):
        planned = schedule(str(seed), 60.0, WORKERS, every=0.3)
        [failover] = [each for each in planned if each.area == "cluster"]
        others = [each for each in planned if each.target in CLUSTER]
        assert all(each.at + each.seconds < failover.at for each in others)


def test_only_redis_forgets() -> None:
    planned = [each for seed in range(50) for each in schedule(str(seed), 60.0, WORKERS)]
    assert {each.target for each in planned if each.forgetting} == {"redis"}
    assert {each.area for each in planned if each.kind == "crash"} == {"redis", "primary", "replica"}


def test_every_kind_comes_up() -> None:
    kinds = {(each.area, each.kind) for seed in range(200) for each in schedule(str(seed), 60.0, WORKERS)}
    assert {area for area, _ in kinds} == {
        "link",
        "island",
        "stream",
        "redis",
        "primary",
        "replica",
        "worker",
        "cluster",
    }
    assert len(kinds) > 25
