"""docs/metrics.md has all metrics as they are, docs/on-call.md all alerts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from repocache.cli.commands import app
from repocache.observers import CATALOGUE, Kind, Metric
from repocache.observers.monitoring import prometheus_rules
from repocache.observers.opentelemetry import instrument_name

DOCS = Path(__file__).parents[2] / "docs"
METRICS, ON_CALL = (DOCS / "metrics.md").read_text(), (DOCS / "on-call.md").read_text()
SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n)*)", re.MULTILINE)
PARTS = ["Users", "Look", "Do", "It ends"]


def row(metric: Metric) -> str:
    """Of the page's table."""
    suffix = "_total" if metric.kind is Kind.COUNTER else ""
    labels = ", ".join(f"`{each}`" for each in metric.labels)
    names = f"`repocache_{metric.full_name}{suffix}` | `{instrument_name(metric)}`"
    return f"| {names} | {metric.kind.value} | {labels} | {metric.help} |"


def test_the_table_is_the_catalogue() -> None:
    told = [line for line in METRICS.splitlines() if line.startswith("| `repocache_")]
    assert told == [row(metric) for metric in CATALOGUE]


def alerts() -> dict[str, str]:
    """The anchor of each."""
    rules = [
        rule for group in yaml.safe_load(prometheus_rules())["groups"] for rule in group["rules"]
    ]
    return {
        rule["alert"]: rule["annotations"]["runbook_url"].partition("#")[2]
        for rule in rules
        if "alert" in rule
    }


def sections() -> dict[str, str]:
    """By the anchor of its heading."""
    return {title.lower().replace(" ", "-"): text for title, text in SECTION.findall(ON_CALL)}


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    assert sorted(sections()) == sorted(alerts().values())


@pytest.mark.parametrize("alert", alerts())
def test_its_section_says_what_to_do(alert: str) -> None:
    text = sections()[alerts()[alert]]
    assert f"`{alert}`, " in text
    assert re.findall(r"^- \*\*([\w ]+):\*\*", text, re.MULTILINE) == PARTS


@pytest.mark.parametrize("alert", alerts())
def test_its_severity_is_told(alert: str) -> None:
    [severity] = [
        rule["labels"]["severity"]
        for group in yaml.safe_load(prometheus_rules())["groups"]
        for rule in group["rules"]
        if rule.get("alert") == alert
    ]
    assert f"`{alert}`, {severity}" in sections()[alerts()[alert]]


def test_it_names_metrics_that_there_are() -> None:
    known = {row(metric).split("`")[1] for metric in CATALOGUE}
    assert set(re.findall(r"`(repocache_\w+)", ON_CALL)) - known == set()


def test_it_names_commands_that_there_are() -> None:
    named = re.findall(r"`repocache (\w+)([^`]*)`", ON_CALL)
    assert len(named) >= 10
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group
    for name, words in named:
        options = {each for it in commands[name].params for each in it.opts}
        assert set(re.findall(r"--[\w-]+", words)) <= options, name
