"""All patterns on one picture: a panel for each figure. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks._growth.pictures import COLORS, STYLE
from benchmarks._patterns.results import Outcome, together

WIDTH, HEIGHT = 9.4, 7.2
"""Inches."""
LEAST = 0.01
"""Milliseconds at which axes of latencies begin."""
LEAST_WRITES = 50


def draw(rounds: Mapping[str, Sequence[Outcome]], path: Path) -> None:
    """Raises ImportError without matplotlib."""
    matplotlib = import_module("matplotlib")
    with matplotlib.rc_context(STYLE):
        figure = drawn({name: together(each) for name, each in rounds.items()})
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def drawn(outcomes: Mapping[str, Outcome]) -> Any:
    figure = import_module("matplotlib.figure").Figure(
        figsize=(WIDTH, HEIGHT), layout="constrained"
    )
    panels = figure.subplots(2, 3, sharey=True)
    names, found = list(outcomes), list(outcomes.values())
    span(panels[0][0], "write, ms: p50 to p99", [(each.write50, each.write99) for each in found])
    bars(panels[0][1], "writes/s, 16 callers", [each.writes for each in found], "{:,.0f}")
    panels[0][1].set_xscale("log")
    panels[0][1].set_xlim(LEAST_WRITES, 10 * max(each.writes for each in found))
    span(panels[0][2], "read, ms: p50 to p99", [(each.read50, each.read99) for each in found])
    bars(panels[1][0], "hits, % of reads", [100 * each.hits for each in found], "{:.0f}")
    stale = [100 * each.stale.share for each in found]
    bars(panels[1][1], "stale, % of reads", stale, "{:.3f}")
    ages = [1000 * each.stale.quantile(0.99) for each in found]
    bars(panels[1][2], "their age, ms: p99", ages, "{:.1f}")
    for row in panels:
        row[0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    return figure


def span(panel: Any, title: str, ends: Sequence[tuple[float, float]]) -> None:
    """From a dot to a bar, on a logarithmic axis."""
    panel.set_title(title, fontsize=9)
    panel.set_xscale("log")
    for at, (low, high) in enumerate(ends):
        panel.plot([max(low, LEAST), high], [at, at], color=COLORS[0], linewidth=1.4)
        panel.plot([max(low, LEAST)], [at], "o", color=COLORS[0], markersize=5)
        panel.plot([high], [at], "|", color=COLORS[0], markersize=9)
    ticker = import_module("matplotlib.ticker")
    panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    panel.minorticks_off()


def bars(panel: Any, title: str, values: Sequence[float], form: str) -> None:
    """Each with its figure."""
    panel.set_title(title, fontsize=9)
    places = panel.barh(range(len(values)), values, color=COLORS[0], height=0.55)
    labels = [form.format(each) if each else "none" for each in values]
    panel.bar_label(places, labels, padding=3, fontsize=7)
    panel.set_xlim(0, 1.3 * max(*values, 1e-9))
    panel.locator_params(axis="x", nbins=4)
    panel.set_axisbelow(True)
