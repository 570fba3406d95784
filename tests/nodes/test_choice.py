"""Which replica answers, by what it has, by weight and by load; and when it is the primary."""

import math
import random
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.engines.server import Process
from repocache.nodes.selection import ANYTHING, ReadRequirement, choose_node, satisfies
from repocache.nodes.wal import Sample

SAMPLE = Sample(
    history="h",
    position=100,
    fresh_at=50.0,
    lag_bytes=0,
    lag=0.0,
    taken_at=50.0,
    out="",
    process=Process(1, 1),
)


@dataclass
class Node:
    name: str = "a"
    weight: float = 1.0
    in_flight: int = 0
    sample: Sample | None = SAMPLE
    down: str = ""


@pytest.mark.parametrize(
    "sample, need, able",
    [
        (SAMPLE, ANYTHING, True),
        (None, ANYTHING, False),
        (SAMPLE, ReadRequirement("h", 100), True),
        (SAMPLE, ReadRequirement("h", 101), False),
        (SAMPLE, ReadRequirement("other", 100), False),
        (SAMPLE, ReadRequirement("other", 0), True),
        (replace(SAMPLE, out="lagging"), ANYTHING, False),
        (replace(SAMPLE, out="lagging"), ReadRequirement("h", 100), False),
        (SAMPLE, ReadRequirement(max_lag=1.0), True),
        (SAMPLE, ReadRequirement(max_lag=0.5), False),
        (replace(SAMPLE, out="lagging"), ReadRequirement(max_lag=1.0), True),
        (replace(SAMPLE, out="other history"), ReadRequirement(max_lag=1.0), False),
        (replace(SAMPLE, fresh_at=-math.inf), ReadRequirement(max_lag=1e9), False),
        (SAMPLE, ReadRequirement("h", 101, max_lag=1.0), False),
        (SAMPLE, ReadRequirement(fresh=1.0), True),
        (SAMPLE, ReadRequirement(fresh=0.5), False),
        (SAMPLE, ReadRequirement(fresh=0.5, max_lag=5.0), False),
        (SAMPLE, ReadRequirement(fresh=5.0, max_lag=0.5), False),
        (replace(SAMPLE, out="lagging"), ReadRequirement(fresh=1.0), False),
        (replace(SAMPLE, fresh_at=-math.inf), ReadRequirement(fresh=1e9), False),
    ],
)
def test_what_satisfies(sample: Sample | None, need: ReadRequirement, able: bool) -> None:
    assert satisfies(sample, need, 51.0) is able


def test_what_fills_a_cache_is_known_to_be_within_the_limit_now() -> None:
    """1. The primary is heard at 50, and a replica has all that it had; 2. it is heard no more, and
    the replica stays in the rotation; 3. long after, what is read there may not be stored as if it
    were of now."""
    limit = 10.0
    for moment, fills in ((50.0, True), (60.0, True), (60.1, False), (5_000.0, False)):
        assert satisfies(SAMPLE, ReadRequirement("h", 100), moment)
        assert satisfies(SAMPLE, ReadRequirement("h", 100, fresh=limit), moment) is fills


@pytest.mark.parametrize(
    "nodes, need, why, curable",
    [
        ([Node()], ReadRequirement(primary="floor unknown"), "floor unknown", False),
        ([], ANYTHING, "no replicas", False),
        ([Node(sample=None, down="lost")], ANYTHING, "replicas lost", False),
        ([Node(sample=None)], ANYTHING, "no sample", True),
        ([Node()], ReadRequirement("h", 101), "replicas behind", True),
        (
            [Node(sample=replace(SAMPLE, out="lagging"))],
            ReadRequirement("h", 1),
            "replicas out",
            False,
        ),
        (
            [Node(), Node("b", sample=None, down="lost")],
            ReadRequirement("h", 101),
            "replicas behind",
            True,
        ),
    ],
)
def test_when_it_is_the_primary(
    nodes: list[Node], need: ReadRequirement, why: str, curable: bool
) -> None:
    assert choose_node(nodes, need, 50.0, random.random) == (None, why, curable)


def shares(nodes: list[Node], draws: int = 20_000) -> Counter[str]:
    source = random.Random(7)
    found: Counter[str] = Counter()
    for _ in range(draws):
        node = choose_node(nodes, ANYTHING, 50.0, source.random).node
        assert node is not None
        found[node.name] += 1
    return found


def test_an_idle_system_follows_the_weights() -> None:
    found = shares([Node("a", 3.0), Node("b", 1.0), Node("c", 1.0)])
    assert found["a"] / found.total() == pytest.approx(0.6, abs=0.02)
    assert found["b"] / found.total() == pytest.approx(0.2, abs=0.02)


def test_of_two_the_less_loaded_answers() -> None:
    assert shares([Node("a", in_flight=2), Node("b", in_flight=1)], 100) == {"b": 100}


def test_load_counts_for_each_unit_of_weight() -> None:
    assert shares([Node("a", 4.0, in_flight=3), Node("b", 1.0, in_flight=1)], 100) == {"a": 100}


@given(
    st.lists(
        st.builds(
            Node,
            name=st.uuids().map(str),
            weight=st.floats(0.1, 10),
            in_flight=st.integers(0, 5),
            sample=st.one_of(
                st.none(),
                st.builds(
                    replace,
                    st.just(SAMPLE),
                    position=st.integers(98, 102),
                    out=st.sampled_from(["", "lagging"]),
                    history=st.sampled_from(["h", "g"]),
                ),
            ),
        ),
        max_size=5,
    ),
    st.builds(ReadRequirement, st.just("h"), st.integers(98, 102)),
    st.floats(0, 1, exclude_max=True),
)
def test_whoever_is_chosen_has_what_is_needed(
    nodes: list[Node], need: ReadRequirement, drawn: float
) -> None:
    chosen = choose_node(nodes, need, 50.0, lambda: drawn).node
    able = [node for node in nodes if satisfies(node.sample, need, 50.0)]
    assert chosen in able if able else chosen is None
