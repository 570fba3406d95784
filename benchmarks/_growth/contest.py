"""What is measured at each point of an axis: contests of our paths with their peers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from benchmarks._growth.curve import CPU, Curve, Figure
from benchmarks._growth.ground import Ground
from benchmarks._harness import Call, Effort, Figures, Measure, Open, Table, take_turns


@dataclass(frozen=True, slots=True)
class Extent(Effort):
    """`warm`: rows that are read from caches and written; `cold`: rows that are read from the
    database, each once."""

    warm: int = 4_096
    cold: int = 60_000


Trials = Mapping[str, tuple[Open, Measure]]


@dataclass(frozen=True, slots=True)
class Contest:
    """One path and its peer. `ours`, `theirs`: what opens them at a point; `measure`: how they are
    measured there. `figures`: those that are drawn."""

    path: str
    peer: str
    ours: Callable[[int], Open]
    theirs: Callable[[int], Open]
    measure: Callable[[int], Measure]
    figures: tuple[Figure, ...] = (CPU,)

    def trials(self, at: int) -> Trials:
        """By label."""
        measure = self.measure(at)
        return {
            label(self.path, at): (self.ours(at), measure),
            label(self.peer, at): (self.theirs(at), measure),
        }

    def curves(self, table: Table, points: Sequence[int]) -> list[Curve]:
        """One for each figure."""
        return [
            Curve(
                self.path,
                self.peer,
                each,
                rounds_of(table, self.path, each, points),
                rounds_of(table, self.peer, each, points),
            )
            for each in self.figures
        ]


@dataclass(frozen=True, slots=True)
class Study:
    """What was found along an axis. `failed`: why a label has no figures."""

    curves: Sequence[Curve]
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Axis:
    """`name`: of the axis and its picture. `label`: what is counted along it. `points`, ascending,
    and the few of a quick run. `scale`: linear, log, or symlog where it begins with 0. `replicas`:
    that have to run."""

    name: str
    label: str
    points: tuple[int, ...]
    quick: tuple[int, ...]
    study: Callable[[Ground, Sequence[int], Extent], Awaitable[Study]]
    scale: str = "log"
    replicas: int = 1


def label(name: str, at: int) -> str:
    return f"{name}, {at:,}"


def rounds_of(
    table: Table, name: str, figure: Figure, points: Iterable[int]
) -> dict[int, list[float]]:
    """The figure of each round, by point."""
    return {
        at: [
            figure.scale * getattr(each, figure.field)
            for each in table.rounds.get(label(name, at), ())
        ]
        for at in points
    }


def study_of(contests: Iterable[Contest], points: Sequence[int], table: Table) -> Study:
    curves = [curve for each in contests for curve in each.curves(table, points)]
    return Study(curves, table.failed)


async def studied(contests: Sequence[Contest], points: Sequence[int], rounds: int) -> Study:
    """All points of all contests in turns, so that none has an hour of its own."""
    trials: dict[str, tuple[Open, Measure]] = {}
    for at in points:
        for each in contests:
            trials |= each.trials(at)
    return study_of(contests, points, await take_turns("", trials, rounds))


async def told(call: Call) -> Figures:
    """Measures a contestant whose call is a whole measurement."""
    return cast("Figures", await call(0))


def always(measure: Measure) -> Callable[[int], Measure]:
    """The same measure at every point."""
    return lambda _: measure
