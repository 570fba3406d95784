"""One SVG for each axis: a panel for each unit, ours beside the peers', and one of the ratios.

The same curves give the same bytes. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks._growth.contest import Axis, Study
from benchmarks._growth.curve import Curve, Points, is_cost

WIDTH = 7.3
"""Inches: 700 pixels of a browser."""
HEIGHT = 3.1
"""Of a row of two panels."""
COLORS = ("#1f6fb4", "#c8501e", "#2b8a3e", "#7a4fa3")
STYLE = {
    "svg.hashsalt": "repocache",
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "figure.facecolor": "white",
    "legend.frameon": False,
}
MISSING = "matplotlib is not installed: tables only"
RATIO = "times the peer"
RATIOS = "times the peer (dotted: other figures)"


def draw(axis: Axis, study: Study, folder: Path) -> Path:
    """The picture's file, in a folder that is made if it is not there. Raises ImportError without
    matplotlib."""
    matplotlib = import_module("matplotlib")
    with matplotlib.rc_context(STYLE):
        figure = drawn(axis, study.curves)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{axis.name}.svg"
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path


def drawn(axis: Axis, curves: Sequence[Curve]) -> Any:
    units = list(dict.fromkeys(each.figure.unit for each in curves))
    rows = (len(units) + 2) // 2
    figure = import_module("matplotlib.figure").Figure(
        figsize=(WIDTH, HEIGHT * rows + 0.5), layout="constrained"
    )
    panels = list(figure.subplots(rows, 2, squeeze=False).flat)
    paths = list(dict.fromkeys(each.path for each in curves))
    colors = {path: COLORS[at % len(COLORS)] for at, path in enumerate(paths)}
    for panel, unit in zip(panels, units, strict=False):
        prepare(panel, axis, unit)
        for curve in curves:
            if curve.figure.unit == unit:
                absolute(panel, curve, colors[curve.path])
    prepare(panels[len(units)], axis, RATIO if len(curves) == len(paths) else RATIOS)
    beside(panels[len(units)], curves, colors)
    for panel in panels[len(units) + 1 :]:
        panel.set_axis_off()
    figure.legend(*legend(panels), loc="outside lower center", ncols=4)
    return figure


def prepare(panel: Any, axis: Axis, unit: str) -> None:
    """Axes with their units."""
    panel.set_xlabel(axis.label)
    panel.set_ylabel(unit)
    ticker = import_module("matplotlib.ticker")
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=8))
    if axis.scale == "symlog":
        panel.set_xscale("symlog", linthresh=min(filter(None, axis.points)))
        panel.set_xlim(0, 1.2 * axis.points[-1])
    else:
        panel.set_xscale(axis.scale)
    if axis.scale == "linear":
        panel.set_xticks(axis.points)
    for each in (panel.xaxis, panel.yaxis):
        each.set_major_formatter(ticker.FuncFormatter(plain))
    panel.minorticks_off()


def plain(value: float, _: object) -> str:
    """A tick's number without an exponent."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def absolute(panel: Any, curve: Curve, color: str) -> None:
    """Ours, the peer's, and a ring around the knee."""
    line(panel, curve.points, color, label=curve.path)
    line(panel, curve.peers, color, label=curve.peer, peer=True)
    knee = curve.knee
    if knee is not None:
        ring = {"linestyle": "", "marker": "o", "markersize": 9, "markerfacecolor": "none"}
        height = dict(curve.points)[knee]
        panel.plot([knee], [height], color="black", label="knee", **ring)


def line(panel: Any, points: Points, color: str, *, label: str, peer: bool = False) -> None:
    drawable = [(at, value) for at, value in points if is_cost(value)]
    if drawable:
        style = {"linestyle": "--", "linewidth": 0.9} if peer else {"linewidth": 1.6}
        panel.plot(*zip(*drawable, strict=True), color=color, marker=".", label=label, **style)


def beside(panel: Any, curves: Sequence[Curve], colors: dict[str, str]) -> None:
    """The ratios of each path; of its second figure and further ones dotted."""
    panel.axhline(1, color="#888888", linewidth=0.8)
    seen: set[str] = set()
    for curve in curves:
        points = [(at, value) for at, value in curve.beside if is_cost(value)]
        style = ":" if curve.path in seen else "-"
        seen.add(curve.path)
        if points:
            panel.plot(*zip(*points, strict=True), style, color=colors[curve.path], marker=".")


def legend(panels: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Each label once, of all panels."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
