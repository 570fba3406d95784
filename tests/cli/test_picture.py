"""The picture of a run: what each contestant did, over time."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from repocache.demo.chart import as_svg
from repocache.demo.contestant import OWNER
from repocache.demo.history import Entry, examine
from repocache.demo.records import Commit, DemoRead
from repocache.demo.timeline import Timeline, TimelineStep, timeline

MS = 1_000_000
SECOND = 1_000 * MS
HISTORY: list[Entry] = [
    ("one", DemoRead("s", "KJFK", 1, "l1", "", 0, 2 * MS)),
    ("one", DemoRead("s", "KJFK", 1, "database", "primary", 10 * MS, 20 * MS)),
    ("one", Commit("t", "KJFK", 2, True, 30 * MS, 40 * MS)),
    ("two", DemoRead("u", "KJFK", 1, "l2", "", 2 * SECOND, 2 * SECOND + 4 * MS)),
]
FAULTS = ["0.3 s: Redis is killed", "1.5 s: it is back"]


def made(history: list[Entry], faults: list[str] | None = None) -> Timeline:
    return timeline("repocache", history, examine(history, OWNER), 3.0, faults or FAULTS)


def test_each_step_has_its_own_reads() -> None:
    first, last = made(HISTORY).steps
    assert (first.at, first.reads, first.hit_rate, first.stale) == (0.0, 2, 0.5, 0.0)
    assert (first.p50, first.p99) == (10.0, 10.0)
    assert (last.at, last.reads, last.hit_rate, last.stale) == (2.0, 1, 1.0, 1.0)


def test_the_picture_is_a_document_without_foreign_parts() -> None:
    text = as_svg([made(HISTORY), made(HISTORY)])
    root = ElementTree.fromstring(text)  # our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "script" not in text
    assert text.count("http") == 1, "of the namespace alone"
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len([each for each in lines if each.get("class") == "repocache"]) == 1 + 3
    assert text.count('class="fault"') == 3 * 2
    for word in ("answered by a cache", "stale reads", "read p99", "Redis is killed"):
        assert word in text


def test_texts_are_escaped() -> None:
    line = Timeline(
        "<b>", 0.5, [TimelineStep(0.0, 1, 1.0, 0.0, 1.0, 1.0)], ["0.1 s: <script> & more"]
    )
    text = as_svg([line])
    assert "<script>" not in text
    assert "&lt;script&gt; &amp; more" in text


@pytest.mark.parametrize(
    "steps",
    [[], [TimelineStep(0.0, 1, 0.0, 0.0, 0.0, 0.0)], [TimelineStep(0.0, 9, 1.0, 1.0, 1e5, 1e6)]],
    ids=["none", "nothing", "much"],
)
def test_whatever_happened_is_drawn_within_the_picture(steps: list[TimelineStep]) -> None:
    root = ElementTree.fromstring(as_svg([Timeline("x", 0.5, steps, [])]))  # our own
    height = float(root.attrib["height"])
    for line in root.findall(".//{http://www.w3.org/2000/svg}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 960
            assert 0 <= y <= height
