"""What goes wrong is drawn from the seed alone, is lifted in time, and is one thing at a time for
each target."""

from __future__ import annotations

from proof.faults.promise import Bounds
from proof.faults.schedule import CLUSTER, LEAVING, LINGERING, Planned, schedule, spare_redis

WORKERS = ("w1", "w2")


def test_a_seed_is_a_schedule() -> None:
    assert (
        schedule("a", 60.0, WORKERS) == schedule("a", 60.0, WORKERS) != schedule("b", 60.0, WORKERS)
    )


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
        assert failover.at + failover.seconds < 50.0
        assert (failover.kind == "promote") == (failover.seconds >= LINGERING)


def test_the_primary_says_nothing_for_longer_than_anybody_may_wait() -> None:
    long = 0
    for seed in range(50):
        planned = schedule(str(seed), 60.0, WORKERS, every=0.3)
        for freeze in planned:
            if freeze.target == "primary" and freeze.seconds > Bounds(0.0).read:
                long += 1
                assert freeze.kind == "freeze"
                late = freeze.at + LEAVING
                [leaving] = [each for each in planned if (each.kind, each.at) == ("leave", late)]
                pauses = (each for each in planned if each.kind == "pause replay")
                pause = next(each for each in pauses if each.seconds > 10.0)
                assert pause.at < freeze.at
                for mine in (freeze, leaving, pause):
                    others = (each for each in planned if each is not mine)
                    assert not any(_overlap(each, mine) for each in others)
    assert 10 < long < 40


def _overlap(one: Planned, other: Planned) -> bool:
    together = one.at < other.at + other.seconds and other.at < one.at + one.seconds
    return one.target == other.target and together


def test_in_peace_nobody_loses_the_channel_after_the_failover() -> None:
    for seed in range(50):
        planned = spare_redis(schedule(str(seed), 60.0, WORKERS, every=0.3), 60.0)
        [failover] = [each for each in planned if each.area == "cluster"]
        later = [each for each in planned if each.at + each.seconds >= failover.at]
        assert later
        assert {each.area for each in later} <= {"link", "cluster"}
        assert not [each for each in later if each.target.endswith("redis")]


def test_only_redis_forgets() -> None:
    planned = [each for seed in range(50) for each in schedule(str(seed), 60.0, WORKERS)]
    assert {each.target for each in planned if each.forgetting} == {"redis"}
    assert {each.area for each in planned if each.kind == "crash"} == {
        "redis",
        "primary",
        "replica",
    }


def test_every_kind_comes_up() -> None:
    kinds = {
        (each.area, each.kind) for seed in range(200) for each in schedule(str(seed), 60.0, WORKERS)
    }
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
    assert kinds >= {("cluster", "fail over"), ("cluster", "promote"), ("worker", "leave")}
