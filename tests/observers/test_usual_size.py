"""Which values are far beyond the others of their owner."""

from __future__ import annotations

from repocache.cache.usual_size import FAR, KNOWN, PAUSE, SMALL, UsualSize


def of(size: int, count: int = KNOWN) -> UsualSize:
    """Has met so many of this size."""
    usual = UsualSize()
    for _ in range(count):
        usual.is_big(size, 0.0)
    return usual


def test_nothing_is_big_while_nothing_is_usual() -> None:
    assert not of(100, KNOWN - 1).is_big(10**6, 0.0)
    assert of(100, KNOWN).is_big(10**6, 0.0)


def test_small_values_are_never_big() -> None:
    assert not of(1).is_big(SMALL, 0.0)
    assert of(1).is_big(SMALL + 1, 0.0)


def test_what_is_large_as_a_rule_is_usual() -> None:
    usual = of(100_000)
    assert not usual.is_big(FAR * int(usual.bytes), 0.0)


def test_it_is_said_once_in_a_while() -> None:
    usual = of(100)
    assert usual.is_big(10**6, 0.0)
    assert not usual.is_big(10**6, PAUSE - 1)
    assert usual.is_big(10**6, PAUSE)


def test_one_that_is_big_does_not_become_what_is_usual() -> None:
    usual = of(100)
    usual.is_big(10**9, 0.0)
    assert usual.bytes < SMALL
