"""Another process lives in another history: when it is worth looking, by name, who the primary
is."""

from __future__ import annotations

import asyncio
import math

import pytest

from repocache.nodes.lineage import MOST_MET
from repocache.nodes.primary import HURRY, Primary
from repocache.nodes.topology import Topology

HERE = "s.2.a"


@pytest.fixture
def primary() -> Primary:
    """One that nobody has started, in a history."""
    made = Topology("sqlite+aiosqlite:////nowhere/at/all")._primary
    made.lineage.history = HERE
    made.poll._wake = asyncio.Event()
    return made


def looks(primary: Primary, history: str) -> bool:
    """Whether it will connect anew for that."""
    primary._suspected, primary._hurried_at = False, -math.inf
    wake = primary.poll._wake
    assert wake is not None
    wake.clear()
    primary.met(history)
    assert wake.is_set() == primary._suspected, "and at once"
    return primary._suspected


@pytest.mark.parametrize("history", [HERE, "s.1.a", "", "garbage", "t.9.a", ".2.a"])
def test_its_own_an_older_one_and_what_is_of_another_cluster_say_nothing(
    primary: Primary, history: str
) -> None:
    assert not looks(primary, history)


def test_a_newer_timeline_is_looked_for_until_it_is_found(primary: Primary) -> None:
    """The name may lead to the old server for a while yet."""
    assert [looks(primary, "s.3.b") for _ in range(3)] == [True] * 3
    primary.lineage.history = "s.3.b"
    assert not looks(primary, "s.3.b")


def test_another_server_process_of_the_same_timeline_once(primary: Primary) -> None:
    """It may be the primary, restarted, or one that was promoted beside it; or this is the one that
    lives on, and who writes the other is looked for in vain."""
    assert [looks(primary, "s.2.b") for _ in range(3)] == [True, False, False]
    assert looks(primary, "s.2.c")
    assert not looks(primary, "s.2.b")


def test_who_says_so_again_and_again_hurries_nobody(primary: Primary) -> None:
    """The next poll looks in any case."""
    assert looks(primary, "s.3.b")
    wake = primary.poll._wake
    assert wake is not None
    for timeline in range(4, 100):
        wake.clear()
        primary._suspected = False
        primary.met(f"s.{timeline}.b")
        assert (primary._suspected, wake.is_set()) == (True, False)
    primary._hurried_at -= HURRY
    primary.met("s.100.b")
    assert wake.is_set()


def test_not_all_are_remembered_for_ever(primary: Primary) -> None:
    for number in range(10 * MOST_MET):
        primary.met(f"s.2.{number}")
        assert len(primary.lineage._met) <= MOST_MET
