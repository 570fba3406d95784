"""How much a sample can say: the highest share of failures that it does not rule out."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def highest_share(failures: int, trials: int) -> float:
    """The exact one-sided upper bound at `CONFIDENCE` (Clopper and Pearson, 1934); without failures
    about 3 / trials.

    Without trials nothing is ruled out: 1.
    """
    if failures >= trials:
        return 1.0
    low, high = failures / trials, 1.0
    for _ in range(60):
        share = (low + high) / 2
        if _at_most(failures, trials, share) > 1 - CONFIDENCE:
            low = share
        else:
            high = share
    return high


def _at_most(failures: int, trials: int, share: float) -> float:
    """The probability of no more than so many failures, if each trial fails with the probability
    `share` (0 to 1)."""
    yes, no = math.log(share), math.log1p(-share)
    return math.fsum(
        math.exp(math.log(math.comb(trials, k)) + k * yes + (trials - k) * no)
        for k in range(failures + 1)
    )
