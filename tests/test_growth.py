"""What the benchmark of growth makes of its figures, without servers."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from benchmarks._growth import page, pictures
from benchmarks._growth.contest import Axis, Extent, Study
from benchmarks._growth.curve import CPU, RATE, Curve, Points, knee, knee_text, ratios, share
from benchmarks._growth.forged import OWNER, Record, chained
from benchmarks._growth.ground import Ground
from benchmarks._growth.place import users
from benchmarks._growth.processes import beyond, summed
from benchmarks._harness import Figures
from benchmarks.growth import AXES, FOLDER, Plan, planned, show
from repocache.cache.belief import At, BucketView, Heard, hear
from repocache.keys import owner_bucket
from repocache.records.message import parse

NAN = math.nan


@pytest.mark.parametrize(
    "costs, found",
    [
        ([], None),
        ([(1, 10.0)], None),
        ([(1, 10.0), (2, 15.0)], None),
        ([(1, 10.0), (2, 15.1)], 2),
        ([(1, 10.0), (2, 14.0), (4, 16.0), (8, 90.0)], 4),
        # The first calls are the dearest: not they are the knee, but what comes after the cheapest.
        ([(1, 90.0), (4, 30.0), (16, 10.0), (64, 12.0), (256, 20.0)], 256),
        # A dear point is one, though a cheaper one comes after it.
        ([(1, 10.0), (2, 20.0), (4, 5.0)], 2),
        ([(1, NAN), (2, 10.0), (4, NAN), (8, 20.0)], 8),
        ([(0, 0.0), (1, -3.0), (2, 10.0), (4, 11.0)], None),
    ],
)
def test_the_knee_is_the_first_point_that_costs_more(costs: Points, found: float | None) -> None:
    assert knee(costs) == found


def test_the_limit_of_a_knee_can_be_given() -> None:
    costs = [(1, 10.0), (2, 15.1), (4, 31.0)]
    assert knee(costs, limit=3) == 4
    assert knee(costs, limit=4) is None


@pytest.mark.parametrize(
    "costs, text",
    [
        ([], "not measured"),
        ([(1, 10.0)], "not measured"),
        ([(1, 10.0), (2, NAN)], "not measured"),
        ([(1, 10.0), (1000, 20.0)], "1,000"),
        ([(1, 10.0), (1000, 11.0)], "none up to 1,000"),
        ([(1, 10.0), (1000, 11.0), (2000, NAN)], "none up to 1,000"),
    ],
)
def test_the_knee_in_words(costs: Points, text: str) -> None:
    assert knee_text(costs) == text


def curve(ours: dict[int, list[float]], theirs: dict[int, list[float]]) -> Curve:
    return Curve("L2 hit", "redis-py GET", CPU, ours, theirs)


def test_ratios_are_taken_within_a_round() -> None:
    ours = {1: [1.0, 20.0, 3.0], 2: [1.0], 4: [], 8: [NAN]}
    theirs = {1: [2.0, 10.0, 6.0], 4: [1.0], 8: [1.0]}
    assert ratios(ours, theirs) == [(1, 0.5)]


def test_more_calls_a_second_cost_less() -> None:
    found = Curve("miss", "peer", RATE, {1: [100.0], 4: [400.0], 16: [200.0]}, {})
    assert found.costs == [(1, 0.01), (4, 0.0025), (16, 0.005)]
    assert found.knee == 16
    assert [share(at, rate) for at, rate in ((1, 10.0), (4, 40.0))] == [0.1, 0.1]
    assert math.isnan(share(0, 0.0))


async def nothing(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    raise NotImplementedError


def axis(scale: str = "log") -> Axis:
    return Axis(
        "keys", "keys", (0, 10, 100) if scale == "symlog" else (1, 10), (1,), nothing, scale
    )


STUDY = Study(
    [curve({1: [10.0, 12.0, 11.0], 10: [30.0, 30.0]}, {1: [22.0, 24.0, 22.0], 10: [20.0, 20.0]})],
    {"miss, 10": "OSError: gone"},
)


def test_the_table_has_every_point_and_what_failed() -> None:
    lines = [" ".join(each.split()) for each in page.table(axis(), STUDY)]
    assert lines == [
        "against keys",
        "L2 hit, us of CPU a call; beside redis-py GET",
        "1 11 22 0.50x",
        "10 30 20 1.50x",
        "knee: 10",
        "miss, 10: not measured: OSError: gone",
    ]


def test_the_line_of_the_page_has_as_many_cells_as_its_head() -> None:
    line = page.line(axis(), STUDY.curves[0])
    assert line == (
        "| keys | L2 hit | us of CPU a call | 11 and 30 | redis-py GET | 0.5x and 1.5x | 10 |"
    )
    assert {each.count("|") for each in (line, *page.HEAD)} == {8}


def test_a_quick_run_draws_only_where_it_is_told(tmp_path: Path) -> None:
    assert planned([]).folder == FOLDER
    assert planned(["--quick"]).folder is None
    assert planned(["--quick", "--out", str(tmp_path)]).folder == tmp_path
    assert [each.name for each in planned(["--only", "storm", "keys"]).axes] == ["keys", "storm"]


def test_quick_points_are_small() -> None:
    plan = planned(["--quick"])
    for each in AXES:
        assert 0 < len(plan.points(each)) <= 2
        assert max(plan.points(each)) < max(each.points)
        assert list(each.points) == sorted(set(each.points))


def test_without_matplotlib_there_are_tables_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    show(Plan([axis()], Extent(), quick=True, folder=tmp_path), axis(), STUDY)
    assert pictures.MISSING in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scale", ["log", "linear", "symlog"])
def test_the_same_curves_give_the_same_small_picture(tmp_path: Path, scale: str) -> None:
    pytest.importorskip("matplotlib")
    first, again = (
        pictures.draw(axis(scale), STUDY, tmp_path / name).read_text() for name in ("a", "b")
    )
    assert first == again
    assert len(first) < 60_000
    for text in ("keys", "us of CPU a call", "times the peer", "redis-py GET", "knee"):
        assert text in first
    assert "<dc:date>" not in first


def test_forged_messages_follow_on_their_records() -> None:
    """Each is believed, so that a storm costs what invalidations cost."""
    own = owner_bucket(OWNER)
    records = {
        bucket: Record(f"inc{bucket}", 7, f"tip{bucket}", "1/a") for bucket in (*range(64), own)
    }
    views = {
        bucket: BucketView(At(each.incarnation, each.seq, each.tip))
        for bucket, each in records.items()
    }
    for payload in islice(chained(records, own), 500):
        message = parse(payload)
        assert message is not None
        view = views[message.bucket]
        at = At(message.incarnation, message.seq, message.tip)
        assert hear(view, at, message.before) is Heard.FOLLOWS
        view.heard, view.tip = at.seq, at.tip
        assert At(*message.owners[OWNER]) == views[own].at


def test_what_is_heard_costs_what_it_adds() -> None:
    idle, busy = [Figures(0, 100.0)] * 2, [Figures(10, 300.0), Figures(20, 900.0)]
    found = beyond(idle, busy)
    assert (found.calls, found.cpu) == (15, 30.0)
    with pytest.raises(LookupError):
        beyond(idle, [Figures(10, 300.0), Figures(0, 100.0)])


def test_the_calls_of_all_processes_are_one_rate() -> None:
    found = summed([Figures(100, 10.0), Figures(300, 20.0)])
    assert (found.calls, found.cpu) == (400, 17.5)


def test_no_two_numbers_are_one_row() -> None:
    for count in (512, 4_096, 1_000, 60_000):
        place = users(count)
        assert {place.id(number) for number in range(place.numbers)} == set(range(count))
