"""The judge of the demo: what it must find, and what it must not take for a fault."""

import pytest

from repocache.demo.history import Acknowledged, Entry, Findings, examine
from repocache.demo.records import ALL, Applied, Commit, DemoRead, Dropped
from repocache.keys import bucket_of

KEY = "KJFK"
OWNER = "airport"
BUCKET = bucket_of(f"{OWNER}:{KEY}")


def commit(version: int, end: int, session: str = "writer", *, published: bool = True) -> Commit:
    return Commit(session, KEY, version, published, end - 5, end)


def read(version: int, start: int, session: str = "reader", tier: str = "l1") -> DemoRead:
    return DemoRead(session, KEY, version, tier, "", start, start + 5)


def judge(*entries: Entry) -> Findings:
    return examine(entries, OWNER)


def test_a_clean_history_passes() -> None:
    found = judge(
        ("p", read(1, 1)),
        ("p", commit(2, 10)),
        ("q", Applied((KEY,), 9)),
        ("p", read(2, 12, "writer")),
        ("q", read(2, 12)),
        ("q", read(3, 13)),
    )
    assert (found.own_reads, found.missed, found.stale, found.outdated) == (1, (), (), ())
    assert found.guarded == 3


@pytest.mark.parametrize("process", ["p", "q"])
def test_an_own_write_is_missed_wherever_the_session_goes_on(process: str) -> None:
    old = read(1, 11, "writer", tier="database")
    found = judge(("p", commit(2, 10)), (process, old))
    assert (found.own_reads, found.missed) == (1, (old,))


def test_a_read_that_began_before_the_commit_returned_misses_nothing() -> None:
    found = judge(("p", commit(2, 10)), ("p", read(1, 10, "writer")))
    assert (found.own_reads, found.missed, found.stale) == (0, (), ())


def test_a_read_of_another_session_or_row_misses_no_own_write() -> None:
    other = DemoRead("writer", "EGLL", 1, "l1", "", 20, 25)
    found = judge(("p", commit(2, 10)), ("p", read(1, 20)), ("p", other))
    assert (found.own_reads, found.missed) == (0, ())


def test_a_newer_version_of_somebody_else_is_no_missed_write() -> None:
    found = judge(
        ("p", commit(2, 10)),
        ("q", commit(3, 20, "another")),
        ("p", read(2, 30, "writer", "database")),
    )
    assert (found.own_reads, found.missed) == (1, ())
    assert [age for _, age in found.stale] == [10]


def test_the_age_of_a_stale_read_counts_from_the_first_newer_version() -> None:
    old = read(1, 100, tier="database")
    found = judge(("p", commit(3, 20)), ("p", commit(2, 30)), ("q", old))
    assert found.stale == ((old, 80),)


@pytest.mark.parametrize("applied", [Applied((KEY,), 12), Dropped(BUCKET, 12), Dropped(ALL, 12)])
@pytest.mark.parametrize("tier", ["l1", "l2"])
def test_a_cached_value_older_than_an_applied_invalidation_is_found(
    applied: Applied | Dropped, tier: str
) -> None:
    old = read(1, 13, tier=tier)
    found = judge(("p", commit(2, 10)), ("q", applied), ("q", old))
    assert found.outdated == (old,)


def test_a_writers_process_has_applied_its_own() -> None:
    old = read(1, 12)
    assert judge(("p", commit(2, 10)), ("p", old)).outdated == (old,)


@pytest.mark.parametrize(
    "case, entries",
    [
        (
            "it is not cached",
            [("p", commit(2, 10)), ("q", Applied((KEY,), 12)), ("q", read(1, 13, tier="database"))],
        ),
        (
            "another process applied it",
            [("p", commit(2, 10)), ("q", Applied((KEY,), 12)), ("r", read(1, 13))],
        ),
        (
            "another row's was applied",
            [("p", commit(2, 10)), ("q", Applied(("EGLL",), 12)), ("q", read(1, 13))],
        ),
        (
            "another bucket was dropped",
            [("p", commit(2, 10)), ("q", Dropped(BUCKET ^ 1, 12)), ("q", read(1, 13))],
        ),
        ("it began before", [("p", commit(2, 10)), ("q", Applied((KEY,), 12)), ("q", read(1, 12))]),
        (
            "the message may be of version 1",
            [("p", commit(2, 10)), ("q", Applied((KEY,), 9)), ("q", read(1, 13))],
        ),
        (
            "nothing told Redis",
            [("p", commit(2, 10, published=False)), ("q", Applied((KEY,), 12)), ("q", read(1, 13))],
        ),
    ],
)
def test_what_proves_nothing_is_no_alarm(case: str, entries: list[Entry]) -> None:
    assert judge(*entries).outdated == (), case


def test_the_first_answer_counts_of_commits_that_were_answered_in_the_other_order() -> None:
    known = Acknowledged([(KEY, commit(2, 30)), (KEY, commit(3, 20))])
    assert known.first_newer(KEY, 1) == 20
    assert known.first_newer(KEY, 2) == 20
    assert known.first_newer(KEY, 3) > 10**18
    assert known.first_newer("EGLL", 0) > 10**18
