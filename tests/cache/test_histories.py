"""A foreign history is replaced in a bucket once; whoever is met there again lives in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from repocache.cache.histories import MOST, Histories


def test_ones_own_history_is_never_in_the_way() -> None:
    histories = Histories()
    assert [histories.may_replace(1, "a", "a") for _ in range(3)] == [True] * 3


def test_a_foreign_history_gives_way_once_in_each_bucket() -> None:
    histories = Histories()
    assert histories.may_replace(1, "b", "a")
    assert not histories.may_replace(1, "b", "a")
    assert histories.may_replace(2, "b", "a")
    assert histories.may_replace(1, "c", "a")


def test_a_new_history_of_ones_own_begins_anew() -> None:
    histories = Histories()
    assert histories.may_replace(1, "b", "a")
    assert histories.may_replace(1, "b", "c")
    assert not histories.may_replace(1, "b", "c")


def test_a_newer_timeline_is_never_replaced() -> None:
    """Whoever lives in the older one has a primary that was; another of the same timeline is
    nobody's elder."""
    histories = Histories()
    assert not histories.may_replace(1, "s.2.b", "s.1.a")
    assert not histories.may_replace(2, "s.2.b", "s.1.a")
    assert histories.may_replace(1, "s.1.b", "s.1.a")
    assert histories.may_replace(1, "s.1.a", "s.2.b")
    assert histories.may_replace(1, "s.1.c", "s.2.b")


def test_once_it_lives_there_too_it_is_its_own() -> None:
    histories = Histories()
    assert not histories.may_replace(1, "s.2.b", "s.1.a")
    assert histories.may_replace(1, "s.2.b", "s.2.b")


names = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(st.integers(0, 1), names)), st.lists(st.tuples(st.integers(0, 1), names)))
def test_two_processes_of_two_histories_come_to_an_end(
    first: list[tuple[int, str]], second: list[tuple[int, str]]
) -> None:
    """However often each of them reads, no record is made anew for ever."""
    processes = (("a", Histories(), first), ("b", Histories(), second))
    lives_in = {0: "", 1: ""}
    replaced = 0
    for _ in range(3):
        for mine, histories, reads in processes:
            for bucket, _name in reads:
                if lives_in[bucket] != mine and histories.may_replace(
                    bucket, lives_in[bucket], mine
                ):
                    lives_in[bucket] = mine
                    replaced += 1
    assert replaced <= 6


@given(st.lists(st.integers(0, 1), max_size=20))
def test_the_older_of_two_processes_never_takes_a_record_from_the_newer(reads: list[int]) -> None:
    """An old primary that lives on for ever, and a process that has not noticed the new one."""
    older, newer = Histories(), Histories()
    lives_in = "s.1.a"
    taken = False
    for who in reads:
        if who and lives_in != "s.2.b":
            assert newer.may_replace(1, lives_in, "s.2.b")
            lives_in, taken = "s.2.b", True
        elif not who and lives_in != "s.1.a" and older.may_replace(1, lives_in, "s.1.a"):
            lives_in = "s.1.a"
        assert lives_in == ("s.2.b" if taken else "s.1.a")


def test_what_is_remembered_is_bounded() -> None:
    """Who may write Redis may put a new history into a record before each read."""
    histories = Histories()
    assert all(histories.may_replace(1, f"b{number}", "a") for number in range(MOST))
    assert not histories.may_replace(1, "another", "a")
    assert histories.may_replace(1, "a", "a")
    assert histories.may_replace(1, "another", "c")
