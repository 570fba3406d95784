"""How often, when again, and how much waits: decided without an event loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.edges.allowance import Allowance
from repocache.edges.backlog import EdgeBacklog, wholes
from repocache.edges.header import folded
from repocache.edges.names import TagNames
from repocache.edges.pauses import FIRST, LONGEST, MOST_ASKED, REFUSED, pause
from repocache.errors import ConfigurationError, EdgeRefused, EdgeUnavailable

TAGS = st.sets(
    st.one_of(
        st.builds("{}:{}".format, st.sampled_from(["user", "order", "tag--"]), st.integers(0, 20)),
        st.sampled_from(["user", "order", "user:*", "tag--:*"]),
    ),
    max_size=30,
)
PAGES = st.sets(
    st.builds("{}:{}".format, st.sampled_from(["user", "order", "tag--"]), st.integers(0, 20)),
    min_size=1,
    max_size=12,
)


def waits(rate: float, *times: float) -> list[float]:
    allowance, found = Allowance.full(rate), []
    for now in times:
        allowance, wait = allowance.reserved(now)
        found.append(round(wait, 6))
    return found


def test_as_many_requests_as_a_second_allows_are_sent_at_once() -> None:
    assert waits(2.0, *[100.0] * 5) == [0.0, 0.0, 0.5, 1.0, 1.5]
    assert waits(2.0, 100.0, 100.0, 100.5, 100.5, 109.0, 109.0) == [0.0, 0.0, 0.0, 0.5, 0.0, 0.0]


def test_a_slow_edge_is_asked_once_in_so_many_seconds() -> None:
    assert waits(5 / 60, 0.0, 0.0, 12.0, 12.0) == [0.0, 12.0, 12.0, 24.0]


def test_a_clock_that_stands_still_gives_nothing() -> None:
    assert waits(1.0, 5.0, 4.0) == [0.0, 1.0]


@given(
    rate=st.floats(0.1, 100.0),
    gaps=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=50),
)
def test_no_stretch_of_time_has_more_than_it_may(rate: float, gaps: list[float]) -> None:
    allowance, now, sent = Allowance.full(rate), 0.0, list[float]()
    for gap in gaps:
        now += gap
        allowance, wait = allowance.reserved(now)
        sent.append(now + wait)
    for at, begin in enumerate(sent):
        for further, end in enumerate(sent[at:], 1):
            assert further <= max(1.0, rate) + (end - begin) * rate + 1 + 1e-6


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_lets_nothing_through_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="requests_a_second"):
        Allowance.full(rate)


def test_pauses_double_up_to_the_longest() -> None:
    away = EdgeUnavailable()
    assert [pause(away, tries, 1.0) for tries in (1, 2, 3)] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert pause(away, 10_000, 1.0) == LONGEST
    assert pause(away, 3, 0.0) == 2 * FIRST, "at least half of it, so that processes spread"


def test_what_an_edge_asks_for_is_waited_for() -> None:
    assert pause(EdgeUnavailable(retry_after=17.0), 1, 0.0) == 17.0
    assert pause(EdgeUnavailable(retry_after=17.0), 1, 1.0) == 17.0 + FIRST
    assert pause(EdgeUnavailable(retry_after=1e9), 1, 0.0) == MOST_ASKED
    assert pause(EdgeUnavailable(retry_after=-5.0), 1, 0.0) == 0.0


def test_a_refusal_is_waited_out() -> None:
    assert pause(EdgeRefused(), 1, 0.0) == REFUSED


def test_owners_with_most_tags_become_wholes() -> None:
    tags = {"user:1", "user:2", "user:*", "order:1", "order:*", "tag--:home"}
    assert wholes(tags, 6) == tags
    assert wholes(tags, 5) == {"user", "order:1", "order:*", "tag--:home"}
    assert wholes(tags, 3) == {"user", "order", "tag--:home"}
    assert wholes(tags, 2) == {"*"}
    assert wholes({*tags, "*"}, 99) == {"*"}


@given(told=TAGS, page=PAGES, most=st.integers(1, 40), carries=st.integers(4, 30))
def test_what_is_folded_purges_every_page_that_was_told(
    told: set[str], page: set[str], most: int, carries: int
) -> None:
    carried = folded(page, carries, 10**6, TagNames("shop"))
    left = wholes(told, most)
    assert len(left) <= most
    if carried is not None and carried & told:
        assert carried & left


@given(
    steps=st.lists(st.one_of(TAGS, st.tuples(st.integers(1, 9), st.booleans())), max_size=12),
    page=PAGES,
)
def test_a_backlog_loses_nothing(steps: list[set[str] | tuple[int, bool]], page: set[str]) -> None:
    """Whatever is added, taken, and put back: what the page has to be purged for waits until it
    is."""
    carried = folded(page, 99, 10**6, TagNames("shop"))
    assert carried is not None
    backlog, due = EdgeBacklog(12), False
    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            most, done = step
            taken = backlog.take(most)
            if not done:
                backlog.put_back(taken)
            elif carried & {*taken}:
                due = False
        else:
            backlog.add(step, float(number))
            due = due or bool(carried & step)
        assert len(backlog) <= 12
    assert not due or carried & {*backlog.take(99)}


def test_what_waits_is_in_the_order_in_which_it_came() -> None:
    backlog = EdgeBacklog(10)
    backlog.add(["b", "a"], 1.0)
    backlog.add(["a", "c"], 2.0)
    assert backlog.take(2) == {"b": 1.0, "a": 1.0}
    backlog.add(["d", "a"], 3.0)
    assert backlog.put_back({"b": 1.0, "a": 1.0}) == 0
    assert backlog.take(9) == {"b": 1.0, "a": 1.0, "c": 2.0, "d": 3.0}
    assert len(backlog) == 0


def test_a_fold_makes_room_and_says_so() -> None:
    backlog = EdgeBacklog(4)
    assert backlog.add([f"user:{n}" for n in range(4)], 1.0) == 0
    assert backlog.add(["order:1"], 2.0) == 5
    assert backlog.take(9) == {"user": 1.0, "order:1": 1.0}
    backlog.add(["user:1", "user:2"], 3.0)
    taken = backlog.take(9)
    backlog.add(["user:3", "user:4", "user:5"], 4.0)
    assert backlog.put_back(taken) == 5
    assert backlog.take(9) == {"user": 3.0}
    assert EdgeBacklog(1).add(["user:1", "order:1"], 1.0) == 2
