from __future__ import annotations

import pytest

from repocache.redis_link.pulse import Pulse, PulseVerdict


def test_reply_is_overdue_after_its_deadline_and_not_before() -> None:
    pulse = Pulse(reply_timeout=1, beat=100)
    assert pulse.tick == 0.25
    pulse.look(asked=0, answered=0)
    assert [pulse.look(asked=1, answered=0) for _ in range(4)] == [PulseVerdict.FINE] * 4
    assert pulse.look(asked=1, answered=0) is PulseVerdict.OVERDUE


def test_only_the_oldest_counts() -> None:
    pulse = Pulse(reply_timeout=1, beat=100)
    for turn in range(20):
        assert pulse.look(asked=turn + 3, answered=turn) is not PulseVerdict.OVERDUE


def test_slower_than_asked_is_overdue_at_last() -> None:
    pulse = Pulse(reply_timeout=1, beat=100)
    verdicts = [pulse.look(asked=10 * turn, answered=turn) for turn in range(20)]
    assert PulseVerdict.OVERDUE in verdicts


def test_it_is_due_at_each_beat_whatever_is_asked() -> None:
    for busy in (0, 1):
        pulse = Pulse(reply_timeout=1, beat=0.5)
        verdicts = [pulse.look(asked=busy * turn, answered=busy * turn) for turn in range(9)]
        assert verdicts == ([PulseVerdict.FINE] * 3 + [PulseVerdict.DUE]) * 2 + [PulseVerdict.FINE]


@pytest.mark.parametrize("reply_timeout, beat", [(1.0, 1.0), (0.3, 0.1), (0.1, 3.0), (1.0, 0.7)])
def test_deadline_holds_for_any_pair_of_times(reply_timeout: float, beat: float) -> None:
    pulse = Pulse(reply_timeout, beat)
    looks = 1
    while pulse.look(asked=1, answered=0) is not PulseVerdict.OVERDUE:
        looks += 1
    assert reply_timeout <= (looks - 1) * pulse.tick + 1e-9
    assert (looks - 1) * pulse.tick < reply_timeout + 2 * pulse.tick
