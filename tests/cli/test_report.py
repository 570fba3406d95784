"""What a run comes to: figures, the verdict, the table and the pictures."""

import io

import msgspec
import pytest
from rich.console import Console

from repocache.demo.contestant import OWNER
from repocache.demo.history import Entry, examine
from repocache.demo.records import Commit, DemoRead, Failed, Rotation, ToldChannel
from repocache.demo.report import Report, print_report
from repocache.demo.show import Lines, Moment, Picture
from repocache.demo.summary import Summary, broken_promises, summarize
from repocache.demo.tally import SECOND, Tally, percentile

MS = 1_000_000
KEPT: list[Entry] = [
    ("service1", Commit("s", "KJFK", 2, True, 0, 10 * MS)),
    ("service1", DemoRead("s", "KJFK", 2, "l1", "", 11 * MS, 12 * MS)),
    ("service1", DemoRead("t", "KJFK", 2, "l2", "", 13 * MS, 15 * MS)),
    ("service2", DemoRead("u", "KJFK", 1, "database", "replica1", 13 * MS, 17 * MS)),
    ("service2", Failed("read", "TimeoutError", 20 * MS)),
]
MISSED: Entry = ("service2", DemoRead("s", "KJFK", 1, "database", "replica1", 20 * MS, 21 * MS))
OUTDATED: Entry = ("service1", DemoRead("u", "KJFK", 1, "l1", "", 20 * MS, 21 * MS))


def summary(*more: Entry) -> Summary:
    history = [*KEPT, *more]
    return summarize("repocache", history, examine(history, OWNER), 2.0)


def report(*more: Entry) -> Report:
    ours = summary(*more)
    return Report(
        4.0, 1, 28_298, 4, 16, ["0.3 s: Redis is killed"], [ours, ours], broken_promises(ours)
    )


def wide_console() -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_figures_are_those_of_the_history() -> None:
    kept = summary()
    assert (kept.reads, kept.reads_per_second, kept.writes, kept.unpublished) == (3, 1.5, 1, 0)
    assert kept.reads_by == {"L1": 1, "L2": 1, "replica1": 1}
    assert kept.hit_rate == pytest.approx(2 / 3)
    assert (kept.read_p50, kept.read_p99, kept.write_p50) == (2.0, 4.0, 10.0)
    assert (kept.stale_reads, kept.stale_by, kept.stale_max) == (1, {"replica1": 1}, 3.0)
    assert kept.errors == {"read: TimeoutError": 1}


def test_kept_promises_are_not_called_broken() -> None:
    assert broken_promises(summary()) == []


def test_a_missed_write_breaks_a_promise() -> None:
    missed = summary(MISSED)
    assert broken_promises(missed) == ["1 of 2 reads missed a write of their own session"]
    assert missed.examples == [MISSED[1]]


def test_an_outdated_value_breaks_a_promise() -> None:
    assert broken_promises(summary(OUTDATED)) == [
        "1 of 3 cached reads were older than an applied invalidation"
    ]


def test_a_run_in_which_nothing_was_tried_is_not_called_a_success() -> None:
    [reason] = broken_promises(summarize("repocache", [], examine([], OWNER), 2.0))
    assert "too little happened" in reason


def test_the_table_says_what_was_found() -> None:
    console = wide_console()
    print_report(console, report())
    assert "repocache missed no own write" in written(console)
    print_report(console, report(MISSED))
    assert (
        "repocache broke its promise: 1 of 2 reads missed a write of their own session"
        in written(console)
    )


def test_a_run_on_given_servers_says_that_they_had_no_faults() -> None:
    console = wide_console()
    print_report(console, report())
    assert "no replica was paused" not in written(console)
    print_report(console, msgspec.structs.replace(report(), given=True))
    assert "no replica was paused and Redis was not killed" in written(console)


def test_the_document_is_json_and_comes_back() -> None:
    assert msgspec.json.decode(msgspec.json.encode(report(MISSED)), type=Report) == report(MISSED)


@pytest.mark.parametrize("share, wanted", [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_percentiles(share: float, wanted: int) -> None:
    assert percentile(range(1, 101), share) == wanted
    assert percentile([], share) == 0


def moment(now: str = "") -> Moment:
    tally = Tally()
    tally.hear("service1", [told for _, told in KEPT])
    tally.hear("service1", [ToldChannel(up=False, at=0), Rotation("replica2", "lagging", 0)])
    figures = tally.figures(SECOND)
    services = {"service1": True, "service2": False}
    return Moment(
        "repocache", 1.0, 10.0, now, figures, {"replica1": 200 * 1024, "replica2": 0}, services
    )


def test_the_tally_forgets_what_is_older_than_a_second_and_who_is_gone() -> None:
    tally = Tally()
    tally.hear("service1", [told for _, told in KEPT])
    tally.hear("service1", [ToldChannel(up=True, at=0), Rotation("replica2", "lagging", 0)])
    assert sum(tally.figures(SECOND).places.values()) == 3
    tally.forget("service1")
    later = tally.figures(2 * SECOND)
    assert (later.places, later.channels, later.out) == ({}, {}, frozenset())
    assert later.total == {"L1": 1, "L2": 1, "replica1": 1}


def test_lines_come_once_a_second_and_at_a_fault() -> None:
    console = wide_console()
    with Lines(console) as show:
        show.say("starting")
        show.moment(moment())
        show.moment(moment())
        show.moment(moment("Redis is killed"))
    first, second, third = written(console).splitlines()
    assert first == "starting"
    assert "replica1 200 kB behind" in second
    assert third.endswith("Redis is killed")


def test_the_picture_shows_nodes_channel_and_fault() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with Picture(console) as show:
        show.moment(moment("Redis is killed"))
    words = written(console)
    for part in (
        "200 kB behind",
        "out of the rotation",
        "channel",
        "service1 down",
        "service2 killed",
        "Redis is killed",
        "█",
    ):
        assert part in words
