"""The hottest keys are found among many, in bounded memory."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from repocache.events import Filled, HitSampled, NodesMeasured, Served
from repocache.observers.hot_keys import FADING, HotKeys, TopCounts


def test_a_hot_key_is_found_among_many_that_are_not() -> None:
    chance, top = random.Random(7), TopCounts(room=64)
    for _ in range(20_000):
        top.add("hot" if chance.random() < 0.05 else f"cold{chance.randrange(100_000)}", 1)
    first, *_ = top.top(5)
    assert first.key == "hot"
    assert first.sure <= 1_200
    assert first.count >= 900
    assert len(top._counts) <= 128


@given(st.lists(st.integers(0, 40), max_size=400))
def test_no_count_is_too_small_and_none_is_surer_than_it_was(met: list[int]) -> None:
    top, truth = TopCounts(room=8), Counter[str]()
    for each in met:
        key = f"k{each}"
        top.add(key, 1)
        truth[key] += 1
    for found in top.top(16):
        assert found.sure <= truth[found.key] <= found.count
    kept = {each.key for each in top.top(16)}
    left = [count for key, count in truth.items() if key not in kept]
    assert max(left, default=0) <= top._floor, "who has no room is no hotter than that"


def test_events_count_by_what_they_stand_for() -> None:
    hot = HotKeys()
    hot(HitSampled("user", "user:1", 64, 0.5))
    hot(Served("user", "l2", "", "a value", key="user:2", size=100))
    hot(Filled("user:3", True, "user", 50))
    hot(Served("user", "database", "primary", "asked"))
    assert [(each.key, each.count) for each in hot.reads()] == [
        ("user:1", 64), ("user:2", 1), ("user:3", 1),
    ]  # fmt: skip
    assert [each.key for each in hot.misses()] == ["user:3"]
    assert [(each.key, each.count) for each in hot.bytes()] == [("user:2", 100), ("user:3", 50)]


def test_tokens_of_tags_are_no_hot_keys() -> None:
    hot = HotKeys()
    for key in ("tag--:home", "tag--user:0f0f:7"):
        hot(HitSampled("tag--", key, 64, 0.5))
        hot(Served("tag--", "l2", "", "a value", key=key, size=100))
        hot(Filled(key, True, "tag--", 50))
    assert (hot.reads(), hot.misses(), hot.bytes()) == ([], [], [])


def test_what_was_hot_is_forgotten() -> None:
    hot = HotKeys()
    hot(HitSampled("user", "user:1", 64, 0.5))
    hot(NodesMeasured(0, 1, 0, 5.0))
    assert hot.reads()[0].count == 64 * FADING
    for _ in range(100):
        hot(NodesMeasured(0, 1, 0, 5.0))
    assert hot.reads() == []
