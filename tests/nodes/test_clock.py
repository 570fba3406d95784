"""The primary's clock as a process knows it, and the time that does not pass while the primary is
away."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.nodes.clock import Outages, PrimaryClock

WALL = 5_000.0


class Time:
    """This process's clocks, set by hand."""

    def __init__(self, monotonic: float = 100.0, wall: float = WALL) -> None:
        self.monotonic = monotonic
        self.wall = wall
        self.clock = PrimaryClock(lambda: self.monotonic, lambda: self.wall)


class TestClock:
    def test_before_the_first_answer_it_is_this_machines(self) -> None:
        time = Time()
        assert time.clock.now() == WALL
        time.wall += 7
        assert time.clock.now() == WALL + 7

    def test_then_it_is_the_primarys_and_nobodys_who_sets_ours(self) -> None:
        time = Time()
        assert time.clock.told(9_000.0, 99.0, 101.0) == 0.0
        assert time.clock.now() == 9_000.0
        time.wall = 0.0
        time.monotonic += 10
        assert time.clock.now() == 9_010.0

    @pytest.mark.parametrize(
        "clock, began, ended, off",
        [
            (9_010.0, 110.0, 110.0, 0.0),
            (9_010.5, 109.5, 110.5, 0.0),
            (9_010.0, 109.0, 115.0, 0.0),
            (9_011.0, 110.0, 110.0, 1.0),
            (9_009.0, 110.0, 110.0, -1.0),
            (9_013.0, 109.0, 110.0, 3.0),
            (9_013.0, 110.0, 111.0, 2.0),
            (9_013.0, 105.0, 115.0, 0.0),
            (5_000.0, 110.0, 110.0, -4_010.0),
        ],
    )
    def test_an_answer_moves_it_no_further_than_it_must(
        self, clock: float, began: float, ended: float, off: float
    ) -> None:
        """What the poll's own length explains is no difference."""
        time = Time()
        time.clock.told(9_000.0, 100.0, 100.0)
        assert time.clock.told(clock, began, ended) == pytest.approx(off)
        time.monotonic = 110.0
        assert time.clock.now() == pytest.approx(9_010.0 + off)

    @given(
        st.floats(0, 1e6),
        st.lists(
            st.tuples(st.floats(0, 60), st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=20
        ),
    )
    def test_it_is_never_further_off_than_the_last_poll_was_long(
        self, start: float, polls: list[tuple[float, float, float]]
    ) -> None:
        """Of a clock that nobody sets: and so no answer looks like a jump."""
        time, ahead = Time(monotonic=0.0), 1e6
        for pause, long, when in polls:
            began = time.monotonic + pause
            time.monotonic = began + long
            said = start + ahead + began + when * long
            jump = time.clock.told(said, began, time.monotonic)
            assert abs(jump) <= 2 * max(each for _, each, _ in polls) + 1e-6
            assert time.clock.now() == pytest.approx(
                start + ahead + time.monotonic, abs=long + 1e-6
            )

    @given(st.lists(st.floats(-1e-4, 1e-4), max_size=30))
    def test_two_clocks_that_drift_are_followed(self, drifts: list[float]) -> None:
        time, theirs = Time(monotonic=0.0), 1_000.0
        time.clock.told(theirs, 0.0, 0.0)
        for drift in drifts:
            time.monotonic += 1.0
            theirs += 1.0 + drift
            assert time.clock.told(theirs, time.monotonic, time.monotonic) == pytest.approx(
                drift, abs=1e-6
            )
            assert time.clock.now() == pytest.approx(theirs)


LIFE = 60.0


class TestOutages:
    def test_without_one_a_life_ends_when_it_says(self) -> None:
        assert Outages().counts_until(50.0, LIFE) == 50.0
        assert Outages().counts_until(math.inf, LIFE) == math.inf

    def test_during_one_none_ends_that_had_not(self) -> None:
        """1. A session commits; 2. the primary is lost before a replica had it; 3. the life is
        over, by the clock, and that replica is still in the rotation."""
        outages = Outages()
        outages.began(100.0, LIFE)
        assert outages.counts_until(101.0, LIFE) == math.inf
        assert outages.counts_until(100.1, LIFE) == math.inf
        assert outages.counts_until(100.0, LIFE) == 100.0, "it was over before"
        assert outages.counts_until(99.0, LIFE) == 99.0

    def test_after_one_a_whole_life_is_left(self) -> None:
        outages = Outages()
        outages.began(100.0, LIFE)
        outages.ended(500.0)
        assert outages.counts_until(101.0, LIFE) == 560.0
        assert outages.counts_until(101.0, 10.0) == 510.0, "of its own length"
        assert outages.counts_until(99.0, LIFE) == 99.0

    def test_one_that_was_made_since_is_not_longer_for_it(self) -> None:
        outages = Outages()
        outages.began(100.0, LIFE)
        outages.ended(500.0)
        for made in (500.0, 501.0, 9_000.0):
            assert outages.counts_until(made + LIFE, LIFE) == made + LIFE

    def test_one_soon_after_another_goes_on_from_there(self) -> None:
        """What was alive at the first counts still: a whole life between them has not passed."""
        outages = Outages()
        outages.began(100.0, LIFE)
        outages.ended(500.0)
        outages.began(559.0, LIFE)
        assert outages.counts_until(101.0, LIFE) == math.inf
        outages.ended(600.0)
        assert outages.counts_until(101.0, LIFE) == 660.0

    def test_one_long_after_another_is_one_of_its_own(self) -> None:
        outages = Outages()
        outages.began(100.0, LIFE)
        outages.ended(500.0)
        outages.began(561.0, LIFE)
        assert outages.counts_until(101.0, LIFE) == 101.0
        assert outages.counts_until(561.5, LIFE) == math.inf

    def test_an_end_without_a_beginning_says_nothing(self) -> None:
        outages = Outages()
        outages.ended(500.0)
        assert outages.counts_until(10.0, LIFE) == 10.0
        outages.began(600.0, LIFE)
        assert outages.counts_until(601.0, LIFE) == math.inf

    @given(
        st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=1, max_size=8),
        st.floats(0, 500),
    )
    def test_no_life_ends_before_a_whole_one_was_heard(
        self, periods: list[tuple[float, float]], made: float
    ) -> None:
        """`periods`: how long the primary was heard, and then not. A bookmark that was made while
        it was heard, and has never since been heard of for `LIFE` seconds without a break,
        counts."""
        outages, now, expires = Outages(), 0.0, made + LIFE
        heard_since_made = 0.0
        for heard, lost in periods:
            until = now + heard
            if made <= until:
                heard_since_made = until - max(now, made)
                if heard_since_made >= LIFE:
                    return
            now = until
            outages.began(now, LIFE)
            if made <= now:
                assert outages.counts_until(expires, LIFE) == math.inf
            now += lost
            if made <= now - lost:
                assert outages.counts_until(expires, LIFE) > now
            outages.ended(now)
            if made <= now - lost:
                assert outages.counts_until(expires, LIFE) >= now + LIFE
