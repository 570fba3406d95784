"""Histories made by hand: a good one has no violation, and each bad one has just its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proof.faults.check import check
from proof.faults.promise import PROMISES, Bounds, bounds_of
from proof.faults.records import (
    Applied,
    AtLeast,
    Begun,
    Closed,
    Counted,
    Ended,
    Ending,
    Entry,
    Failed,
    Fault,
    Initial,
    Nested,
    Read,
    Record,
    Session,
    Staged,
    Stall,
)
from proof.faults.verdict import Verdict
from repocache.keys import bucket_of
from repocache.redis_link.connection import Limits

KEY = 1
BUCKET = bucket_of(f"item:{KEY}")
WAYS = ("get", "get_many", "find", "view", "views", "work", "work undone", "plain", "snapshot")
BOUNDS = Bounds(local=2.0, settled=False)
START: list[Entry] = [("conductor", Initial(KEY, 1, ""))]


def ms(milliseconds: float) -> int:
    return int(milliseconds * 1e6)


def wrote(
    token: str,
    version: int,
    at: float,
    *,
    process: str = "w1.1",
    session: str = "",
    outcome: str = "committed",
    seq: int = 0,
) -> list[Entry]:
    """A write of 10 ms, told to commit after 5; `at` is when it was answered. `seq`: 0: nobody
    knows which message."""
    messages = {BUCKET: ("i", seq)} if seq else {}
    covered = outcome == "committed"
    told: list[Record] = [
        Begun(token, "orm", "caller", session, ms(at - 10)),
        Staged(token, {KEY: version}, ms(at - 5)),
        Ended(token, outcome, covered, messages, "", ms(at)),
    ]
    return [(process, each) for each in told]


def read(
    version: int,
    token: str,
    at: float,
    *,
    process: str = "w2.1",
    session: str = "",
    via: str = "past",
    how: str = "get",
    took: float = 1.0,
) -> list[Entry]:
    """A read that began at `at` and took so many milliseconds."""
    shown = (how, KEY, version, token, via, "")
    return [(process, Read("reader", session, *shown, ms(at), ms(at + took)))]


def counted(
    least: int,
    at: float,
    *,
    holds: bool,
    session: str,
    process: str = "w2.1",
) -> list[Entry]:
    """Whether the row has that version, asked at `at`."""
    times = (ms(at), ms(at + 1))
    return [(process, AtLeast("reader", session, "count", KEY, least, holds, *times))]


def nested(inner: str, outer: str, at: float, *, process: str = "w1.1") -> list[Entry]:
    return [(process, Nested(inner, outer, ms(at)))]


def failed(why: str, how: str = "get", start: float = 0.0, end: float = 1.0) -> list[Entry]:
    return [("w2.1", Failed("c", how, why, "", ms(start), ms(end)))]


def judged(*parts: Sequence[Entry], bounds: Bounds = BOUNDS) -> Verdict:
    return check([*START, *(entry for part in parts for entry in part)], bounds, ["w3"])


def broken(*parts: Sequence[Entry], bounds: Bounds = BOUNDS) -> list[str]:
    return [violation.promise for violation in judged(*parts, bounds=bounds).violations]


FIRST = wrote("a", 2, 100.0, session="s", seq=7)
HEARD: list[Entry] = [("w2.1", Applied(BUCKET, "i", 7, ms(110)))]
NEXT: list[Entry] = [("w2.1", Session("t", "s", ms(120)))]
LATER: list[Entry] = [("w2.1", Session("t", "s", ms(90)))]
FROZEN: list[Entry] = [("conductor", Fault("primary: freeze", "primary", ms(1000), ms(9000)))]
SILENT: list[Entry] = [("conductor", Fault("link: silent", "w2-primary", ms(1000), ms(9000)))]
SEEN = read(2, "a", 150, process="w3.1", session="m")
"""By a session that reads monotonically."""

GOOD: dict[str, list[Sequence[Entry]]] = {
    "nothing happens": [],
    "everybody sees it": [
        FIRST,
        *(read(2, "a", 101, via=via) for via in ("l1", "l2", "filled", "joined", "past")),
    ],
    "a read that began before": [FIRST, read(1, "", 99, via="l2"), read(1, "", 99, session="s")],
    "a node that lags, in no session": [FIRST, read(1, "", 200)],
    "l1 before the message": [FIRST, HEARD, read(1, "", 109, via="l1")],
    "l1 within the bound": [FIRST, read(1, "", 2099, via="l1")],
    "l1 of a process that stood still": [
        FIRST,
        [("w2.1", Stall(ms(200), ms(1200)))],
        read(1, "", 3000, via="l1"),
    ],
    "seen while it was being committed": [FIRST, read(2, "a", 95.5)],
    "seen though nobody knows what became of it": [
        wrote("a", 2, 100, outcome="unknown"),
        read(2, "a", 200),
    ],
    "a session that was handed over before the write": [
        FIRST,
        LATER,
        read(1, "", 200, session="t"),
    ],
    "another process's rollback": [
        wrote("a", 2, 100, outcome="rolled back"),
        wrote("b", 2, 200),
        read(2, "b", 201),
    ],
    "back and forth, without monotonic reads": [
        FIRST, read(2, "a", 150, session="m"), read(1, "", 200, session="m"),
    ],
    "all is right in the end": [FIRST, [("w2.1", Ending("l1", KEY, 2, 2, 1.0))]],
    "troubles that are told": [[("w2.1", Counted({"ChannelDown": 3, "PublishFailed": 1}))]],
    "documented errors": [failed("PrimaryBudgetExceeded"), failed("CommitOutcomeUnknown", "work")],
    "a bookmark that came too late": [[("w2.1", Counted({"BookmarkRefused(expired)": 1}))]],
    "the outer session before the inner one has ended": [
        FIRST, read(1, "", 150, session="o"), nested("s", "o", 200), read(2, "a", 201, session="o"),
    ],
    "the inner session of one that has written": [
        FIRST, read(1, "", 150, session="i"), nested("i", "s", 200),
    ],
    "handed over before an inner session ended": [
        FIRST,
        [("w2.1", Session("t", "o", ms(120)))],
        nested("s", "o", 200),
        read(1, "", 300, session="t"),
    ],
    "counted before the write": [FIRST, counted(2, 99, holds=False, session="s")],
    "counted what nobody had written yet": [FIRST, counted(3, 150, holds=False, session="s")],
    "counted, without monotonic reads": [
        FIRST, counted(2, 150, holds=True, session="m"), read(1, "", 200, session="m"),
    ],
    "every kind of read": [
        FIRST,
        *(read(2, "a", 150, how=how, session="s") for how in WAYS),
    ],
    "slow, and the primary speaks": [FIRST, read(2, "a", 9000, took=9000)],
    "slow, for it began before the freeze": [FROZEN, FIRST, read(1, "", 50, took=8900)],
    "slow, and another process's link was silent": [
        SILENT, FIRST, read(2, "a", 1500, process="w1.1", took=8500),
    ],
    "slow, for the process stood still": [
        FROZEN, FIRST, [("w2.1", Stall(ms(2000), ms(4000)))], read(2, "a", 1500, took=8500),
    ],
    "a slow transaction of the caller's own": [
        FROZEN, FIRST, read(2, "a", 1500, how="work", took=8500),
    ],
    "it left in time": [[("w2.1", Closed("", ms(0), ms(9900)))]],
    "too late, for it leaves": [
        failed("NotStarted", "get", 0, 20), [("w2.1", Closed("", ms(10), ms(30)))],
    ],
    "a list that is a moment late": [FIRST, read(1, "", 1000, process="w1.1", via="list")],
    "the list is right in the end": [FIRST, [("w2.1", Ending("list", KEY, 2, 2, 1.0))]],
    "the copy is right in the end": [FIRST, [("w2.1", Ending("feed", KEY, 2, 2, 1.0))]],
    "killed before it could publish": [
        FIRST, wrote("b", 3, 200)[:2], [("w2.1", Ending("l2", KEY, 2, 3, 5.0))],
    ],
}  # fmt: skip
BAD: dict[str, list[list[Sequence[Entry]]]] = {
    "own write": [
        [FIRST, read(1, "", 101, session="s")],
        [FIRST, NEXT, read(1, "", 130, session="t")],
        [FIRST, NEXT, [("w1.1", Session("u", "t", ms(140)))], read(1, "", 150, session="u")],
        [FIRST, counted(2, 101, holds=False, session="s")],
        [FIRST, nested("s", "o", 120), read(1, "", 150, session="o")],
        [
            FIRST,
            nested("s", "i", 110),
            nested("i", "o", 120),
            counted(2, 150, holds=False, session="o"),
        ],
        [
            FIRST,
            nested("s", "o", 120),
            [("w2.1", Session("t", "o", ms(130)))],
            read(1, "", 150, session="t"),
        ],
        [
            FIRST,
            [("w1.1", Session("i", "s", ms(105)))],
            nested("i", "s", 110),
            read(1, "", 150, session="i"),
        ],
    ],
    "monotonic": [
        [FIRST, SEEN, read(1, "", 200, process="w3.2", session="m")],
        [
            FIRST,
            SEEN,
            [("w3.2", Session("n", "m", ms(160)))],
            read(1, "", 200, process="w3.2", session="n"),
        ],
        [FIRST, SEEN, counted(2, 200, holds=False, session="m", process="w3.2")],
        [
            FIRST,
            counted(2, 150, holds=True, session="m", process="w3.1"),
            read(1, "", 200, process="w3.2", session="m"),
        ],
        [FIRST, SEEN, nested("m", "o", 160), read(1, "", 200, process="w3.1", session="o")],
    ],
    "stale fill": [[FIRST, read(1, "", 101, via="l2")], [FIRST, read(1, "", 101, via="filled")]],
    "applied": [
        [FIRST, HEARD, read(1, "", 111, via="l1")],
        [FIRST, HEARD, read(1, "", 111, via="joined")],
    ],
    "own process": [[FIRST, read(1, "", 101, process="w1.1", via="l1")]],
    "late": [[FIRST, read(1, "", 2101, via="l1")], [FIRST, read(1, "", 2101, via="list")]],
    "unreadable": [[read(2, "z", 100)], [FIRST, read(3, "a", 200)], [read(2, "", 100)]],
    "uncommitted": [[FIRST, read(2, "a", 93)]],
    "rolled back": [[wrote("a", 2, 100, outcome="rolled back"), read(2, "a", 200)]],
    "lost update": [[FIRST, wrote("b", 2, 200)]],
    "error": [
        [[("w2.1", Failed("c", "get", "CacheUnavailable", "away", 1, 2))]],
        [failed("CommitOutcomeUnknown")],
        [failed("NotStarted")],
        [failed("NotStarted", "get", 0, 20), [("w1.1", Closed("", ms(10), ms(30)))]],
        [[("w2.1", Closed("RuntimeError", 1, 2))]],
        [[("w2.1", Counted({"BookmarkRefused(expires too late)": 1}))]],
        [[("w2.1", Counted({"TaskFailed": 2}))]],
        [
            [
                ("w1.1", Begun("a", "orm", "c", "", 1)),
                ("w1.1", Ended("a", "rolled back", False, {}, "KeyError", 2)),
            ]
        ],
    ],
    "hang": [
        [failed("Hang")],
        [
            [
                ("w1.1", Begun("a", "orm", "c", "", 1)),
                ("w1.1", Ended("a", "unknown", False, {}, "Hang", 2)),
            ],
        ],
        [FROZEN, FIRST, read(2, "a", 1500, took=8500)],
        [FROZEN, FIRST, read(1, "", 50, took=9100)],
        [FROZEN, failed("DatabaseUnavailable", "find", 1500, 10000)],
        [FROZEN, [("w2.1", AtLeast("c", "", "count", KEY, 1, True, ms(1500), ms(10000)))]],
        [SILENT, FIRST, read(2, "a", 1500, took=8500)],
        [[("w2.1", Closed("", ms(0), ms(10100)))]],
        [[("w2.1", Closed("Hang", ms(0), ms(9000)))]],
    ],
    "feed": [[FIRST, [("w2.1", Ending("feed", KEY, 1, 2, 5.0))]]],
    "ending": [
        [FIRST, [("w2.1", Ending("l1", KEY, 1, 2, 5.0))]],
        [FIRST, [("w2.1", Ending("l1", KEY, 1, 1, 5.0))]],
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_no_violation(name: str) -> None:
    assert broken(*GOOD[name]) == []


@pytest.mark.parametrize(
    "promise, number", [(promise, n) for promise in BAD for n in range(len(BAD[promise]))]
)
def test_what_is_wrong_is_one(promise: str, number: int) -> None:
    assert broken(*BAD[promise][number]) == [promise]


@pytest.mark.parametrize("how", WAYS)
def test_a_session_misses_its_past_by_every_way_to_read(how: str) -> None:
    assert broken(FIRST, read(1, "", 101, session="s", how=how)) == ["own write"]
    older = read(1, "", 200, process="w3.2", session="m", how=how)
    assert broken(FIRST, SEEN, older) == ["monotonic"]


@pytest.mark.parametrize("how", WAYS)
def test_what_was_seen_by_every_way_to_read_was_seen(how: str) -> None:
    newer = read(2, "a", 150, process="w3.1", session="m", how=how)
    older = read(1, "", 200, process="w3.2", session="m")
    assert broken(FIRST, newer, older) == ["monotonic"]


def test_every_promise_is_held_by_a_bad_history() -> None:
    assert {*BAD, "strict"} == set(PROMISES)


def test_strict_owners_show_no_past_by_any_way() -> None:
    strict = Bounds(local=2.0, strict=True)
    assert (
        broken(FIRST, read(1, "", 99, via="past"), read(2, "a", 101, via="past"), bounds=strict)
        == []
    )
    assert broken(FIRST, read(1, "", 101, via="past"), bounds=strict) == ["strict"]


def test_once_nothing_gets_lost_with_a_process_its_keys_count_too() -> None:
    settled = Bounds(local=2.0)
    assert broken(*GOOD["killed before it could publish"], bounds=settled) == ["ending"]


def test_it_counts_what_was_held_against_each_promise() -> None:
    verdict = judged(FIRST, HEARD, read(2, "a", 150, via="l1"), read(2, "a", 150, session="s"))
    assert (
        verdict.checked["applied"],
        verdict.checked["own write"],
        verdict.checked["unreadable"],
    ) == (1, 1, 2)
    assert judged(FIRST, read(1, "", 350, via="l1")).latest == pytest.approx(0.25)


def test_the_bound_is_a_pulse_and_a_deadline_and_a_little() -> None:
    assert 2.0 < bounds_of(Limits()).local <= 3.0
