"""Worlds of series over some hours, and what Prometheus's own tool says that fires in them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import pytest

from repocache.observers.monitoring import prometheus_rules

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")

Minutes = Sequence[float]
World = Mapping[str, Minutes]
"""By series: what a counter grows by in each minute, what a gauge stands at."""
BEFORE, AFTER = 360, 29
"""Minutes as ever, and minutes in which something is wrong: a baseline has none of these."""


def steady(usual: float, now: float | None = None, *, minutes: int = AFTER) -> Minutes:
    """`usual` for hours, then `now` for the last `minutes`; None: no change."""
    last = usual if now is None else now
    return [usual] * (BEFORE + AFTER - minutes) + [last] * minutes


def restless(low: float, high: float, now: float) -> Minutes:
    """For hours up and down between both, then `now`."""
    swings = [low if minute // 30 % 2 else high for minute in range(BEFORE)]
    return [*swings, *[now] * AFTER]


def seldom(usual: float, now: float) -> Minutes:
    """As now for half an hour in each two: far above the mean, and usual all the same."""
    before = [usual if minute // 30 % 4 else now for minute in range(BEFORE)]
    return [*before, *[now] * AFTER]


def begun(now: float, *, minutes: int = 5) -> Minutes:
    """A counter that is not there before it first counts, a few minutes ago."""
    return [now, *[0.0] * (minutes - 1)]


def counts(series: str) -> bool:
    return series.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))


def told(series: str, minutes: Minutes) -> str:
    """As Prometheus's tool writes values; what is shorter than the world was not there at first."""
    values = list(accumulate(minutes)) if counts(series) else minutes
    missing = BEFORE + AFTER - len(minutes)
    return " ".join([*["_"] * missing, *map(str, values)])


def labelled(series: str, job: str) -> str:
    name, _, rest = series.partition("{")
    labels = ", ".join(filter(None, [f'job="{job}"', 'instance="a"', rest.removesuffix("}")]))
    return f"{name}{{{labels}}}"


def firing(worlds: Mapping[str, World], folder: Path) -> Mapping[str, set[str]]:
    """The alerts that fire at the end, by the name of their world. All are there at once, each as a
    job of its own: no alert may take one for another."""
    assert PROMTOOL is not None
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": labelled(series, job), "values": told(series, minutes)}
                    for job, world in worlds.items()
                    for series, minutes in world.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'group by (job, alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{BEFORE + AFTER - 1}m",
                        "exp_samples": NEVER,
                    }
                ],
            }
        ],
    }
    (folder / "rules.yml").write_text(prometheus_rules())
    (folder / "test.yml").write_text(json.dumps(test))  # JSON is YAML
    ran = subprocess.run(
        [PROMTOOL, "test", "rules", "test.yml"], cwd=folder, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    return {job: found_of(job, ran.stdout + ran.stderr) for job in worlds}


NEVER = [{"labels": '{alertname="none"}', "value": 1}]
"""What is not so: the tool says then what it got."""
GOT = re.compile(r'\{alertname="(\w+)", job="([^"]+)"\}')


def found_of(job: str, said: str) -> set[str]:
    """The alerts of one job in what the tool says that it got."""
    assert said.count("got:") == 1, said
    return {name for name, each in GOT.findall(said.partition("got:")[2]) if each == job}
