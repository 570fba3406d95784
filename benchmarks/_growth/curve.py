"""How a figure grows along an axis, and the knee: where it begins to cost more."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

LIMIT = 1.5
"""How many times the cheapest point so far is more than flat."""

Points = Sequence[tuple[float, float]]
"""Places on the axis, ascending, each with a figure."""
Rounds = Mapping[int, Sequence[float]]
"""By place on the axis: the figure of each round; none where it was not measured."""


def itself(_: float, value: float) -> float:
    """The cost of what is a cost."""
    return value


def each_call(_: float, rate: float) -> float:
    """The cost of a call, where so many are done a second."""
    return 1 / rate if rate > 0 else math.nan


def share(at: float, rate: float) -> float:
    """The same, where `at` processes, or senders, bring the rate together."""
    return at / rate if rate > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Figure:
    """`field`: of `Figures`, times `scale`. `unit`: as pictures and tables name it. `cost`: what
    is to be small, of a place on the axis and the value there."""

    field: str
    unit: str
    scale: float = 1.0
    cost: Callable[[float, float], float] = itself


CPU = Figure("cpu", "us of CPU a call")
RATE = Figure("calls", "calls/s", cost=each_call)


def is_cost(value: float) -> bool:
    """Whether it can be compared: what was not measured cannot, nor what noise has turned to
    nothing."""
    return math.isfinite(value) and value > 0


def knee(costs: Points, limit: float = LIMIT) -> float | None:
    """The first place whose cost is more than `limit` times that of the cheapest one before it;
    None: there is none. Places without a cost are passed over."""
    cheapest = math.inf
    for at, cost in costs:
        if not is_cost(cost):
            continue
        if cost > limit * cheapest:
            return at
        cheapest = min(cheapest, cost)
    return None


def knee_text(costs: Points, limit: float = LIMIT) -> str:
    """The knee in words."""
    measured = [at for at, cost in costs if is_cost(cost)]
    if len(measured) < 2:
        return "not measured"
    found = knee(costs, limit)
    return f"none up to {measured[-1]:,.0f}" if found is None else f"{found:,.0f}"


def medians(rounds: Rounds) -> list[tuple[float, float]]:
    """Of each place where something was measured."""
    return [(at, statistics.median(found)) for at, found in sorted(rounds.items()) if found]


def ratios(ours: Rounds, theirs: Rounds) -> list[tuple[float, float]]:
    """The median of the ratios within a round, where both were measured."""
    found: dict[int, list[float]] = {
        at: [
            mine / other
            for mine, other in zip(rounds, theirs.get(at, ()), strict=False)
            if is_cost(mine) and is_cost(other)
        ]
        for at, rounds in ours.items()
    }
    return medians(found)


@dataclass(frozen=True, slots=True)
class Curve:
    """One path's figure along an axis, beside a peer's in the same rounds."""

    path: str
    peer: str
    figure: Figure
    ours: Rounds
    theirs: Rounds

    @property
    def points(self) -> list[tuple[float, float]]:
        return medians(self.ours)

    @property
    def peers(self) -> list[tuple[float, float]]:
        return medians(self.theirs)

    @property
    def beside(self) -> list[tuple[float, float]]:
        """How many times the peer's figure, or its part."""
        return ratios(self.ours, self.theirs)

    @property
    def costs(self) -> list[tuple[float, float]]:
        return [(at, self.figure.cost(at, value)) for at, value in self.points]

    @property
    def knee(self) -> float | None:
        return knee(self.costs)
