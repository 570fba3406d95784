"""The bound is the exact one, whatever the sample."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.verification.confidence import CONFIDENCE, highest_share


@pytest.mark.parametrize("trials", [1, 10, 100, 3_000, 1_000_000])
def test_without_failures_it_is_known_in_closed_form(trials: int) -> None:
    assert highest_share(0, trials) == pytest.approx(1 - (1 - CONFIDENCE) ** (1 / trials), rel=1e-6)


@pytest.mark.parametrize(
    "failures, trials, share",
    [(1, 10, 0.39416), (2, 100, 0.06162), (5, 1000, 0.010480), (9, 10, 0.99488)],
)
def test_with_failures_it_is_as_in_the_tables(failures: int, trials: int, share: float) -> None:
    """Clopper and Pearson's one-sided 95 % limits."""
    assert highest_share(failures, trials) == pytest.approx(share, rel=1e-3)


def test_nothing_is_ruled_out_by_nothing() -> None:
    assert highest_share(0, 0) == 1
    assert highest_share(7, 7) == 1


@given(
    st.integers(1, 400).flatmap(
        lambda trials: st.tuples(st.integers(0, trials - 1), st.just(trials))
    )
)
def test_more_failures_allow_more_and_more_trials_less(drawn: tuple[int, int]) -> None:
    failures, trials = drawn
    share = highest_share(failures, trials)
    assert failures / trials < share < highest_share(failures + 1, trials) + 1e-12
    assert highest_share(failures, trials + 1) < share
    assert not math.isnan(share)
