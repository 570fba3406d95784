"""The plan's arithmetic, beside the same by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks._costs import Cost, Costs
from benchmarks._workload import Workload
from benchmarks.plan import limit, markdown, needed, plan, whole

COSTS = Costs(
    l1=Cost(2),
    l2=Cost(20, redis=5),
    miss=Cost(100, redis=50, database=40),
    commit=Cost(1000, redis=100, database=500, replica=200),
    heard=Cost(50, redis=5),
)
LOAD = Workload(
    requests=100_000, reads=5, l1_hits=0.9, l2_hits=0.8, writes=0.01, utilisation=0.6, cores=8
)


class TestByHand:
    """500,000 reads: 450,000 from L1, 40,000 from L2, 10,000 misses; 1,000 commits."""

    def test_the_rates(self) -> None:
        assert LOAD.from_l1 == pytest.approx(450_000)
        assert LOAD.from_l2 == pytest.approx(40_000)
        assert LOAD.misses == pytest.approx(10_000)
        assert LOAD.commits == 1_000

    def test_the_processes(self) -> None:
        """0.9 + 0.8 + 1.0 + 1.0 cores; each process hears for 0.05; 3.7 / 0.55 is 6.7."""
        made = plan(COSTS, LOAD)
        assert made.service == pytest.approx(3.7)
        assert made.hearing == pytest.approx(0.05)
        assert made.processes == 7

    def test_redis(self) -> None:
        """0.2 + 0.5 + 0.1 cores, and 1,000 commits told to 7 processes: 0.035; 0.835 / 0.6."""
        made = plan(COSTS, LOAD)
        assert made.redis == pytest.approx(0.835)
        assert made.redis_cores == 2

    def test_the_database(self) -> None:
        """The primary has 0.5 cores to do; a replica 0.2 to replay, and 4.6 of 4.8 left for 0.4."""
        made = plan(COSTS, LOAD)
        assert made.primary == pytest.approx(0.5)
        assert made.replay == pytest.approx(0.2)
        assert made.reading == pytest.approx(0.4)
        assert made.replicas == 1

    def test_the_first_limit(self) -> None:
        """Redis has 8 us a request without what it tells, and a few processes: full near 72,700."""
        name, at = limit(COSTS, LOAD)
        assert name.startswith("Redis")
        assert plan(COSTS, replace(LOAD, requests=at * 1.001)).redis > 0.6
        assert plan(COSTS, replace(LOAD, requests=at * 0.999)).redis <= 0.6
        assert 70_000 < at < 75_000

    def test_the_application_s_own_time_is_added(self) -> None:
        """100,000 times 50 us are 5 cores more: 8.7 / 0.55 is 15.8."""
        made = plan(COSTS, replace(LOAD, own=50))
        assert made.service == pytest.approx(8.7)
        assert made.processes == 16


class TestCorners:
    def test_all_from_l1(self) -> None:
        """1 core of hits in 0.6 of each."""
        made = plan(COSTS, replace(LOAD, l1_hits=1, writes=0))
        assert made.service == pytest.approx(1.0)
        assert (made.processes, made.redis_cores, made.replicas) == (2, 0, 0)
        assert limit(COSTS, replace(LOAD, l1_hits=1, writes=0))[1] == math.inf

    def test_all_from_l2(self) -> None:
        """500,000 at 20 us are 10 cores, 16.7 processes; Redis 2.5 cores, 4.2 in 0.6 of each."""
        made = plan(COSTS, replace(LOAD, l1_hits=0, l2_hits=1, writes=0))
        assert (made.processes, made.redis_cores, made.replicas) == (17, 5, 0)

    def test_all_missed(self) -> None:
        """500,000 at 40 us are 20 cores of replicas, 4.2 of 4.8; 50 cores of service, 83.3."""
        made = plan(COSTS, replace(LOAD, l1_hits=0, l2_hits=0, writes=0))
        assert (made.processes, made.replicas) == (84, 5)
        assert made.redis == pytest.approx(25)

    def test_without_writes_nothing_is_heard_and_the_primary_rests(self) -> None:
        made = plan(COSTS, replace(LOAD, writes=0))
        assert (made.hearing, made.primary, made.replay) == (0, 0, 0)
        assert made.processes == 5, "2.7 / 0.6"

    def test_without_requests_nothing_is_needed(self) -> None:
        made = plan(COSTS, replace(LOAD, requests=0))
        assert (made.processes, made.redis_cores, made.replicas) == (0, 0, 0)

    def test_no_number_of_processes_is_enough_for_too_many_commits(self) -> None:
        """20,000 commits a second: each process hears for 1.0 of its 0.6 cores."""
        load = replace(LOAD, writes=0.2)
        made = plan(COSTS, load)
        assert made.processes == math.inf
        assert made.redis_cores == math.inf
        assert "no number is enough" in markdown(COSTS, load)

    def test_the_channel_may_be_the_first_limit(self) -> None:
        """0.6 cores of a process are 12,000 commits at 50 us, which 1,200,000 requests make."""
        costs = replace(COSTS, commit=Cost(1000), heard=Cost(50), l2=Cost(20), miss=Cost(100))
        name, at = limit(costs, LOAD)
        assert "channel" in name
        assert at == pytest.approx(1_200_000, rel=1e-4)

    def test_the_primary_may_be_the_first_limit(self) -> None:
        """4.8 cores are 9,600 commits at 500 us, which 960,000 requests make."""
        free = Cost(1)
        costs = Costs(free, free, free, Cost(1, database=500), Cost(0))
        name, at = limit(costs, LOAD)
        assert name == "the primary"
        assert at == pytest.approx(960_000, rel=1e-4)

    def test_replay_has_one_core(self) -> None:
        """0.6 cores are 3,000 commits at 200 us, which 300,000 requests make."""
        free = Cost(1)
        costs = Costs(free, free, free, Cost(1, replica=200), Cost(0))
        name, at = limit(costs, LOAD)
        assert name.startswith("replay")
        assert at == pytest.approx(300_000, rel=1e-4)


@pytest.mark.parametrize("name", ["l1_hits", "l2_hits", "utilisation"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is a share from 0 to 1, not {value}"):
        replace(LOAD, **{name: value})


@pytest.mark.parametrize("name", ["requests", "reads", "writes", "cores", "own"])
@pytest.mark.parametrize("value", [-1, math.inf, math.nan])
def test_less_than_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is at least 0, not {value}"):
        replace(LOAD, **{name: value})


@pytest.mark.parametrize("name", ["utilisation", "cores"])
def test_nothing_to_work_with_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        replace(LOAD, **{name: 0})


@pytest.mark.parametrize("busy, each, number", [(0, 0, 0), (1.2, 0.6, 2), (1.21, 0.6, 3)])
def test_whole_numbers_are_needed(busy: float, each: float, number: int) -> None:
    assert needed(busy, each) == number


def test_floating_point_adds_no_server() -> None:
    assert whole(0.1 * 3 / 0.1) == 3


def test_the_table_tells_its_arithmetic() -> None:
    lines = markdown(COSTS, LOAD).splitlines()
    assert lines[:2] == ["| what | how | result |", "| --- | --- | --: |"]
    assert all(line.count("|") == 4 for line in lines)
    assert (
        "| CPU of the service | 450,000 L1 hits x 2 us + 40,000 L2 hits x 20 us + "
        "10,000 misses x 100 us + 1,000 commits x 1,000 us | 3.7 cores |"
    ) in lines
    assert "| **service processes, a core each** | 3.7 cores / (60% of a core - 0.05 cores)" in (
        markdown(COSTS, LOAD)
    )
