"""A foreign history is replaced in a bucket once; whoever is met there again lives in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from repocache.cache.histories import Histories


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
                if lives_in[bucket] != mine and histories.may_replace(bucket, lives_in[bucket], mine):
                    lives_in[bucket] = mine
                    replaced += 1
    assert replaced <= 6
