"""What the curves say in text: a table for a person, and the lines for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks._growth.contest import Axis, Study
from benchmarks._growth.curve import LIMIT, Curve, Points, knee_text

HEAD = (
    "| against | path | figure | first and last point | beside | ratio there | knee |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(axis: Axis, study: Study) -> Iterator[str]:
    """Every point of every curve."""
    yield f"\nagainst {axis.label}"
    for curve in study.curves:
        yield f"  {curve.path}, {curve.figure.unit}; beside {curve.peer}"
        peers, beside = dict(curve.peers), dict(curve.beside)
        for at, value in curve.points:
            peer = number(peers[at]) if at in peers else "-"
            ratio = f"{beside[at]:.2f}x" if at in beside else "-"
            yield f"  {at:>12,} {number(value):>12} {peer:>12} {ratio:>8}"
        yield f"    knee: {knee_text(curve.costs)}"
    for name, why in study.failed.items():
        yield f"  {name}: not measured: {why}"


def line(axis: Axis, curve: Curve) -> str:
    """A row of the page's table."""
    cells = (
        axis.label,
        curve.path,
        curve.figure.unit,
        ends(curve.points, ""),
        curve.peer,
        ends(curve.beside, "x"),
        knee_text(curve.costs),
    )
    return f"| {' | '.join(cells)} |"


def ends(points: Points, unit: str) -> str:
    """The first and the last of them."""
    if not points:
        return "-"
    return " and ".join(f"{number(value)}{unit}" for _, value in (points[0], points[-1]))


def legend() -> str:
    return (
        f"The knee is the first point whose cost is more than {LIMIT:g} times that of the cheapest "
        "one before it."
    )
