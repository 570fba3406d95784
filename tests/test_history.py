"""Which of two lines of WAL is the newer, in texts that may come from anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.engines.server import System
from repocache.history import LONGEST_TIMELINE, cluster_of, is_newer, timeline_of
from repocache.nodes.wal import PrimaryIdentity

texts = st.text() | st.lists(st.text("0123456789.x²٣-+_ ", max_size=12), max_size=4).map(".".join)
identities = st.builds(
    PrimaryIdentity,
    st.builds(System, st.integers(0, 2**64 - 1).map(str), st.integers(0, 9)),
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**60),
    st.integers(0, 2**60),
)


@given(identities)
def test_what_is_made_is_read(identity: PrimaryIdentity) -> None:
    assert cluster_of(identity.history) == identity.system.cluster
    assert timeline_of(identity.history) == identity.timeline


@given(identities, st.integers(1, 2**32 - 1), st.integers(0, 2**60))
def test_the_later_timeline_of_one_cluster_is_newer(
    identity: PrimaryIdentity, timeline: int, started: int
) -> None:
    other = identity._replace(timeline=timeline, started=started)
    assert is_newer(other.history, identity.history) == (timeline > identity.timeline)


@pytest.mark.parametrize(
    "history, timeline",
    [
        ("", 0),
        (".", 0),
        ("s", 0),
        ("s.", 0),
        ("s.2", 2),
        ("s.2.", 2),
        ("s.10.x", 10),
        ("s.-2.x", 0),
        ("s.+2.x", 0),
        ("s. 2.x", 0),
        ("s.2_0.x", 0),
        ("s.²", 0),
        ("s.٣.x", 0),
        ("s.x.2", 0),
        ("s." + "9" * LONGEST_TIMELINE + ".x", 9_999_999_999),
        ("s." + "9" * (LONGEST_TIMELINE + 1) + ".x", 0),
        ("s." + "9" * 5000, 0),
    ],
)
def test_what_is_no_timeline_is_none(history: str, timeline: int) -> None:
    assert timeline_of(history) == timeline


@given(texts, texts)
def test_any_texts_are_borne_and_one_at_most_is_the_newer(one: str, other: str) -> None:
    assert timeline_of(one) >= 0
    assert not is_newer(one, one)
    assert not (is_newer(one, other) and is_newer(other, one))
    assert not is_newer("", other)
    if is_newer(one, other):
        assert cluster_of(one) == cluster_of(other)


@given(texts, texts, texts)
def test_newer_than_the_newer_is_newer(one: str, two: str, three: str) -> None:
    if is_newer(one, two) and is_newer(two, three):
        assert is_newer(one, three)


@pytest.mark.parametrize(
    "history, than",
    [
        ("a.2.x", "b.1.x"),
        ("s.1.x", "s.1.y"),
        ("s.1.x", "s.2.x"),
        ("", ""),
        ("s.2.x", ""),
        ("", "s.1.x"),
    ],
)
def test_what_cannot_be_compared_is_not_newer(history: str, than: str) -> None:
    assert not is_newer(history, than)
