"""How many different keys there are, about."""

from __future__ import annotations

import pytest

from repocache.observers.distinct import Distinct, DistinctKeys


@pytest.mark.parametrize("count", [0, 1, 10, 1_000, 10_000, 200_000])
def test_the_count_is_about_right(count: int) -> None:
    distinct = Distinct()
    for number in range(count):
        distinct.add(f"user:{number}")
        distinct.add(f"user:{number}")
    # 2.3 % is one deviation; Python's hashes of texts differ from run to run.
    assert abs(distinct.count - count) <= 0.12 * count


def test_a_window_moves_on() -> None:
    keys = DistinctKeys(60.0, now=0.0)
    for number in range(100):
        keys.add(f"user:{number}")
    assert 90 <= keys.count(now=59.0) <= 110
    assert 90 <= keys.count(now=61.0) <= 110, "the present one has met nothing yet"
    keys.add("user:1")
    assert keys.count(now=122.0) == 1, "the one before is forgotten"
    assert keys.count(now=1_000.0) == 0


def test_it_takes_as_much_memory_for_any_number() -> None:
    distinct = Distinct()
    size = len(distinct._registers)
    for number in range(10_000):
        distinct.add(str(number))
    assert len(distinct._registers) == size == 2_048
