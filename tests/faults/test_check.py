"""Histories made by hand: a good one has no violation, and each bad one has just its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from repocache.keys import bucket_of
from repocache.wire.connection import Limits
from tests.faults.check import Verdict, check
from tests.faults.promise import PROMISES, Bounds, bounds_of
from tests.faults.records import (
    Applied,
    Begun,
    Counted,
    Ended,
    Ending,
    Entry,
    Failed,
    Initial,
    Read,
    Record,
    Session,
    Staged,
    Stall,
)

KEY = 1
BUCKET = bucket_of(f"item:{KEY}")
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
    """A write of 10 ms, told to commit after 5; `at` is when it was answered. `seq`: 0: nobody knows which message."""
    messages = {BUCKET: ("i", seq)} if seq else {}
    covered = outcome == "committed"
    told: list[Record] = [
        Begun(token, "orm", "caller", session, ms(at - 10)),
        Staged(token, {KEY: version}, ms(at - 5)),
        Ended(token, outcome, covered, messages, "", ms(at)),
    ]
    return [(process, each) for each in told]


def read(
    version: int, token: str, at: float, *, process: str = "w2.1", session: str = "", via: str = "past"
) -> list[Entry]:
    """A read that began at `at` and took a millisecond."""
    return [(process, Read("reader", session, "get", KEY, version, token, via, "", ms(at), ms(at + 1)))]


def judged(*parts: Sequence[Entry], bounds: Bounds = BOUNDS) -> Verdict:
    return check([*START, *(entry for part in parts for entry in part)], bounds, ["w3"])


def broken(*parts: Sequence[Entry], bounds: Bounds = BOUNDS) -> list[str]:
    return [violation.promise for violation in judged(*parts, bounds=bounds).violations]


FIRST = wrote("a", 2, 100.0, session="s", seq=7)
HEARD: list[Entry] = [("w2.1", Applied(BUCKET, "i", 7, ms(110)))]
NEXT: list[Entry] = [("w2.1", Session("t", "s", ms(120)))]
LATER: list[Entry] = [("w2.1", Session("t", "s", ms(90)))]

GOOD: dict[str, list[Sequence[Entry]]] = {
    "nothing happens": [],
    "everybody sees it": [FIRST, *(read(2, "a", 101, via=via) for via in ("l1", "l2", "filled", "joined", "past"))],
    "a read that began before": [FIRST, read(1, "", 99, via="l2"), read(1, "", 99, session="s")],
    "a node that lags, in no session": [FIRST, read(1, "", 200)],
    "l1 before the message": [FIRST, HEARD, read(1, "", 109, via="l1")],
    "l1 within the bound": [FIRST, read(1, "", 2099, via="l1")],
    "l1 of a process that stood still": [FIRST, [("w2.1", Stall(ms(200), ms(1200)))], read(1, "", 3000, via="l1")],
    "seen while it was being committed": [FIRST, read(2, "a", 95.5)],
    "seen though nobody knows what became of it": [wrote("a", 2, 100, outcome="unknown"), read(2, "a", 200)],
    "a session that was handed over before the write": [FIRST, LATER, read(1, "", 200, session="t")],
    "another process's rollback": [wrote("a", 2, 100, outcome="rolled back"), wrote("b", 2, 200), read(2, "b", 201)],
    "back and forth, without monotonic reads": [
        FIRST, read(2, "a", 150, session="m"), read(1, "", 200, session="m"),
    ],
    "all is right in the end": [FIRST, [("w2.1", Ending("l1", KEY, 2, 2, 1.0))]],
    "troubles that are told": [[("w2.1", Counted({"ChannelDown": 3, "PublishFailed": 1}))]],
    "documented errors": [[("w2.1", Failed("c", "get", "PrimaryBudgetExceeded", "", 1, 2))]],
    "killed before it could publish": [
        FIRST, wrote("b", 3, 200)[:2], [("w2.1", Ending("l2", KEY, 2, 3, 5.0))],
    ],
}  # fmt: skip
BAD: dict[str, list[list[Sequence[Entry]]]] = {
    "own write": [
        [FIRST, read(1, "", 101, session="s")],
        [FIRST, NEXT, read(1, "", 130, session="t")],
        [FIRST, NEXT, [("w1.1", Session("u", "t", ms(140)))], read(1, "", 150, session="u")],
    ],
    "monotonic": [
        [FIRST, read(2, "a", 150, process="w3.1", session="m"), read(1, "", 200, process="w3.2", session="m")],
        [
            FIRST,
            read(2, "a", 150, process="w3.1", session="m"),
            [("w3.2", Session("n", "m", ms(160)))],
            read(1, "", 200, process="w3.2", session="n"),
        ],
    ],
    "stale fill": [[FIRST, read(1, "", 101, via="l2")], [FIRST, read(1, "", 101, via="filled")]],
    "applied": [[FIRST, HEARD, read(1, "", 111, via="l1")], [FIRST, HEARD, read(1, "", 111, via="joined")]],
    "own process": [[FIRST, read(1, "", 101, process="w1.1", via="l1")]],
    "late": [[FIRST, read(1, "", 2101, via="l1")]],
    "unreadable": [[read(2, "z", 100)], [FIRST, read(3, "a", 200)], [read(2, "", 100)]],
    "uncommitted": [[FIRST, read(2, "a", 93)]],
    "rolled back": [[wrote("a", 2, 100, outcome="rolled back"), read(2, "a", 200)]],
    "lost update": [[FIRST, wrote("b", 2, 200)]],
    "error": [
        [[("w2.1", Failed("c", "get", "CacheUnavailable", "away", 1, 2))]],
        [[("w2.1", Failed("c", "get", "Hang", "", 1, 2))]],
        [[("w2.1", Counted({"BookmarkRefused": 1}))]],
        [[("w2.1", Counted({"TaskFailed": 2}))]],
        [[("w1.1", Begun("a", "orm", "c", "", 1)), ("w1.1", Ended("a", "rolled back", False, {}, "KeyError", 2))]],
    ],
    "ending": [
        [FIRST, [("w2.1", Ending("l1", KEY, 1, 2, 5.0))]],
        [FIRST, [("w2.1", Ending("l1", KEY, 1, 1, 5.0))]],
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_no_violation(name: str) -> None:
    assert broken(*GOOD[name]) == []


@pytest.mark.parametrize("promise, number", [(promise, n) for promise in BAD for n in range(len(BAD[promise]))])
def test_what_is_wrong_is_one(promise: str, number: int) -> None:
    assert broken(*BAD[promise][number]) == [promise]


def test_every_promise_is_held_by_a_bad_history() -> None:
    assert {*BAD, "strict"} == set(PROMISES)


def test_strict_owners_show_no_past_by_any_way() -> None:
    strict = Bounds(local=2.0, strict=True)
    assert broken(FIRST, read(1, "", 99, via="past"), read(2, "a", 101, via="past"), bounds=strict) == []
    assert broken(FIRST, read(1, "", 101, via="past"), bounds=strict) == ["strict"]


def test_once_nothing_gets_lost_with_a_process_its_keys_count_too() -> None:
    settled = Bounds(local=2.0)
    assert broken(*GOOD["killed before it could publish"], bounds=settled) == ["ending"]


def test_it_counts_what_was_held_against_each_promise() -> None:
    verdict = judged(FIRST, HEARD, read(2, "a", 150, via="l1"), read(2, "a", 150, session="s"))
    assert (verdict.checked["applied"], verdict.checked["own write"], verdict.checked["unreadable"]) == (1, 1, 2)
    assert judged(FIRST, read(1, "", 350, via="l1")).latest == pytest.approx(0.25)


def test_the_bound_is_a_pulse_and_a_deadline_and_a_little() -> None:
    assert 2.0 < bounds_of(Limits()).local <= 3.0
