from __future__ import annotations

import pytest

from repocache.errors import ConfigurationError
from repocache.redis_link import Breaker, BreakerSettings

SETTINGS = BreakerSettings(failures=3, first=1, retry=4, cooldown=10, steady=5)


def test_first_pauses_double_and_spread_by_chance() -> None:
    breaker = Breaker(SETTINGS)
    breaker.failed(0)
    assert [breaker.pause(0), breaker.pause(0.5)] == [0, 0.5]
    breaker.failed(0)
    assert [breaker.pause(0), breaker.pause(0.5)] == [0, 1]
    assert not breaker.open


def test_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.failed(0)
    assert breaker.open


def test_who_reached_nobody_tries_again_soon() -> None:
    breaker = Breaker(SETTINGS)
    for now in range(9):
        breaker.failed(now)
    assert [breaker.pause(0), breaker.pause(1)] == [2, 4]
    breaker.connected(10)
    breaker.failed(11)
    assert [breaker.pause(0), breaker.pause(1)] == [5, 10]
    breaker.failed(12)
    assert [breaker.pause(0), breaker.pause(1)] == [2, 4]


def test_a_connection_that_dies_young_opens_again_at_once() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.failed(0)
    breaker.connected(10)
    breaker.failed(14.9)
    assert breaker.open


def test_flapping_opens_although_every_handshake_succeeds() -> None:
    breaker = Breaker(SETTINGS)
    for now in range(3):
        breaker.connected(now)
        breaker.failed(now + 1)
    assert breaker.open
    assert [breaker.pause(0), breaker.pause(1)] == [5, 10]


def test_a_steady_connection_forgives() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(9):
        breaker.failed(0)
    breaker.connected(10)
    breaker.failed(15)
    assert not breaker.open
    assert breaker.pause(1) == 1


def test_short_of_open_no_pause_is_longer_than_when_open() -> None:
    breaker = Breaker(BreakerSettings(failures=2000, first=0.1, retry=4, cooldown=10))
    for _ in range(1500):
        breaker.failed(0)
    assert breaker.pause(1) == 4
    breaker.connected(0)
    breaker.failed(1)
    assert breaker.pause(1) == 10


@pytest.mark.parametrize(
    "wrong", [{"failures": 0}, {"first": 0}, {"retry": 0}, {"cooldown": -1}, {"steady": 0}]
)
def test_settings_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        BreakerSettings(**wrong)
