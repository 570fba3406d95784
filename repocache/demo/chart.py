"""The picture of a run: hit rate, stale reads and latency of both contestants over time, as one SVG
without a script or a foreign asset. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from repocache.demo.timeline import Timeline, TimelineStep

WIDTH, HEIGHT = 960, 170
"""Pixels of one panel."""
LEFT, RIGHT, TOP, BETWEEN = 70, 24, 92, 46
LINES = ("textbook", "repocache")
"""The contestants' styles, in this order."""
STYLE = """
  .back { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #1d2433 }
  .title { font-size: 17px; font-weight: 600 } .panel { font-weight: 600 } .quiet { fill: #667085 }
  .grid { stroke: #e2e6ee } .axis { stroke: #98a2b3 }
  .fault { stroke: #b3261e; stroke-dasharray: 4 4 }
  .faulty { fill: #b3261e } polyline { fill: none; stroke-width: 2 }
  .textbook { stroke: #c2570c; stroke-dasharray: 7 3 } .repocache { stroke: #2348b5 }
  text.textbook { fill: #c2570c; stroke: none } text.repocache { fill: #2348b5; stroke: none }
  @media (prefers-color-scheme: dark) {
    .back { fill: #12151c } text { fill: #e6e9f0 } .quiet { fill: #98a2b3 }
    .grid { stroke: #2a3140 } .axis { stroke: #667085 } .fault { stroke: #ff8a80 }
    .faulty { fill: #ff8a80 } .textbook { stroke: #ffab6b } .repocache { stroke: #9db4ff }
    text.textbook { fill: #ffab6b } text.repocache { fill: #9db4ff }
  }
"""


class Panel(NamedTuple):
    """`value`: of a step; `shown`: of a value, as a text. `logarithmic`: for what differs by
    powers of ten."""

    title: str
    value: Callable[[TimelineStep], float]
    shown: Callable[[float], str]
    logarithmic: bool = False


PANELS = (
    Panel("answered by a cache", lambda step: step.hit_rate, lambda value: f"{value:.0%}"),
    Panel("stale reads, of all", lambda step: step.stale, lambda value: f"{100 * value:.3g}%"),
    Panel("read p99, ms", lambda step: step.p99, lambda value: f"{value:g}", logarithmic=True),
)


def as_svg(timelines: Sequence[Timeline]) -> str:
    """One panel below the other, with the same time below all of them."""
    seconds = max((line.steps[-1].at + line.step for line in timelines if line.steps), default=1.0)
    faults = max((len(line.faults) for line in timelines), default=0)
    head = TOP + 16 * math.ceil(faults / 2)
    end = head + len(PANELS) * (HEIGHT + BETWEEN)
    what = "Hit rate, stale reads and latency over time, of " + " and ".join(
        line.contestant for line in timelines
    )
    size = f'width="{WIDTH}" height="{end}" role="img" aria-labelledby="title"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end}" {size}>',
        f'<title id="title">{escape(what)}</title><style>{STYLE}</style>',
        f'<rect class="back" width="{WIDTH}" height="{end}"/>',
        f'<text class="title" x="{LEFT}" y="30">The same traffic and the same faults</text>',
        *_legend(timelines),
    ]
    for number, panel in enumerate(PANELS):
        parts += _panel(panel, head + number * (HEIGHT + BETWEEN), timelines, seconds)
    return "\n".join([*parts, "</svg>", ""])


def _legend(timelines: Sequence[Timeline]) -> Iterator[str]:
    for number, line in enumerate(timelines):
        x, style = LEFT + 150 * number, LINES[number % len(LINES)]
        yield f'<polyline class="{style}" points="{x},50 {x + 28},50"/>'
        yield f'<text class="{style}" x="{x + 34}" y="54">{escape(line.contestant)}</text>'
    faults = max((line.faults for line in timelines), key=len, default=[])
    room = (WIDTH - LEFT - RIGHT) / 2
    for number, fault in enumerate(faults):
        at = f'x="{LEFT + room * (number % 2):.0f}" y="{74 + 16 * (number // 2)}"'
        yield f'<text class="faulty" {at}>{escape(fault)}</text>'


def _panel(
    panel: Panel, top: float, timelines: Sequence[Timeline], seconds: float
) -> Iterator[str]:
    values = [panel.value(step) for line in timelines for step in line.steps]
    scale = _logarithmic(values) if panel.logarithmic else _linear(values)
    bottom = top + HEIGHT

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at / seconds

    def y(value: float) -> float:
        return bottom - HEIGHT * scale.share(value)

    yield f'<text class="panel" x="{LEFT}" y="{top - 8:g}">{escape(panel.title)}</text>'
    for mark in scale.marks:
        yield (
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mark):.1f}" '
            f'y2="{y(mark):.1f}"/><text class="quiet" text-anchor="end" x="{LEFT - 8}" '
            f'y="{y(mark) + 4:.1f}">{escape(panel.shown(mark))}</text>'
        )
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    for second in _seconds(seconds):
        yield (
            f'<text class="quiet" text-anchor="middle" x="{x(second):.1f}" y="{bottom + 16:g}">'
            f"{second:g} s</text>"
        )
    for fault in {at for line in timelines for at in map(_moment, line.faults)}:
        yield (
            f'<line class="fault" x1="{x(fault):.1f}" x2="{x(fault):.1f}" y1="{top}" '
            f'y2="{bottom}"/>'
        )
    for number, line in enumerate(timelines):
        points = " ".join(
            f"{x(step.at + line.step / 2):.1f},{y(panel.value(step)):.1f}" for step in line.steps
        )
        yield f'<polyline class="{LINES[number % len(LINES)]}" points="{points}"/>'


class Scale(NamedTuple):
    """`share`: of the height, 0 to 1. `marks`: values with a line."""

    share: Callable[[float], float]
    marks: Sequence[float]


def _linear(values: Sequence[float]) -> Scale:
    """From 0 to a round share above the largest."""
    most = max(values, default=0.0)
    steps = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    top = next((step for step in steps if step >= most), 1.0)
    return Scale(lambda value: min(1.0, value / top), [0.0, top / 2, top])


def _logarithmic(values: Sequence[float]) -> Scale:
    """Powers of ten around all values."""
    known = [value for value in values if value > 0] or [1.0]
    low = math.floor(math.log10(min(known)))
    high = max(math.ceil(math.log10(max(known))), low + 1)

    def share(value: float) -> float:
        power = math.log10(max(value, 10.0**low))
        return min(1.0, (power - low) / (high - low))

    return Scale(share, [10.0**power for power in range(low, high + 1)])


def _seconds(most: float) -> list[float]:
    step = next(each for each in (0.5, 1, 2, 5, 10, 30, 60, 300) if most / each <= 12)
    return [step * number for number in range(int(most / step) + 1)]


def _moment(fault: str) -> float:
    """The seconds that the text of a fault begins with."""
    return float(fault.partition(" s:")[0])
