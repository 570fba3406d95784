"""What a session needs of a node, and what becomes of bookmarks: merged, remembered by child tasks,
refused."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark, Seen, says_something
from repocache.errors import ConfigurationError
from repocache.nodes.selection import BEHIND, ReadRequirement
from repocache.nodes.topology import Topology
from repocache.routing.causal_session import CausalSession
from repocache.routing.routing import (
    ANYWHERE,
    LONGEST_CUT,
    NEWER,
    ON_PRIMARY,
    Route,
    Routing,
    Stickiness,
    implausible,
    last_fill,
    living,
    need_of,
    on_replica,
)

NOW = 1000.0
HERE, BEFORE, AFTER = "s.1.h", "s.1.old", "s.2.new"


def mark(history: str = "s.1.h", position: int | None = 50, expires: float = NOW + 1) -> Bookmark:
    return Bookmark(history, position, {}, covered=True, expires=expires)


@pytest.mark.parametrize(
    "floor, bookmark, history, need",
    [
        (0, None, "s.1.h", ReadRequirement("s.1.h", 0)),
        (40, None, "s.1.h", ReadRequirement("s.1.h", 40)),
        (40, mark(), "s.1.h", ReadRequirement("s.1.h", 50)),
        (60, mark(), "s.1.h", ReadRequirement("s.1.h", 60)),
        (None, mark(), "s.1.h", ReadRequirement("s.1.h", 50, primary="floor unknown")),
        (
            40,
            mark("s.1.old"),
            "s.1.h",
            ReadRequirement("s.1.h", 40, primary="bookmark of another history"),
        ),
        (
            40,
            mark(position=None),
            "s.1.h",
            ReadRequirement("s.1.h", 40, primary="bookmark without position"),
        ),
        (40, mark("", 0), "s.1.h", ReadRequirement("s.1.h", 40)),
        (None, None, "", ReadRequirement("", 0, primary="floor unknown")),
        (40, mark("", None), "", ReadRequirement("", 0, primary="bookmark without position")),
        (40, mark("", 0), "", ReadRequirement("", 0)),
        (
            40,
            mark("s.2.new"),
            "s.1.h",
            ReadRequirement("s.1.h", 40, primary="bookmark of another history", unmet=NEWER),
        ),
        (
            40,
            mark("s.2.new", None),
            "s.1.h",
            ReadRequirement("s.1.h", 40, primary="bookmark without position", unmet=NEWER),
        ),
        (40, mark("s.2.new", 0), "s.1.h", ReadRequirement("s.1.h", 40)),
        (
            40,
            mark("s.1.old"),
            "s.2.new",
            ReadRequirement("s.2.new", 40, primary="bookmark of another history"),
        ),
        (
            40,
            mark("t.2.new"),
            "s.1.h",
            ReadRequirement("s.1.h", 40, primary="bookmark of another history"),
        ),
    ],
)
def test_what_is_needed(
    floor: int | None, bookmark: Bookmark | None, history: str, need: ReadRequirement
) -> None:
    assert need_of(floor, bookmark, history, ANYWHERE) == need


@pytest.mark.parametrize(
    "bookmark, why, driven",
    [
        (mark(position=None), "bookmark without position", True),
        (mark("s.1.old"), "bookmark of another history", True),
        (mark(), BEHIND, True),
        (mark(), "replicas lost", False),
        (mark(), "replicas out", False),
        (mark(), "no replicas", False),
        (None, "replicas lost", False),
    ],
)
def test_who_is_charged_for_a_read_at_the_primary(
    bookmark: Bookmark | None, why: str, driven: bool
) -> None:
    """Nobody, where a replica would not have answered anybody else either."""
    need = need_of(0, bookmark, "s.1.h", ANYWHERE, "client")
    assert need.driven_by(why) == ("client" if driven else None)
    assert need_of(0, bookmark, "s.1.h", ANYWHERE).driven_by(why) is None


def test_the_caller_may_wish() -> None:
    asked = need_of(None, mark("s.1.old"), "s.1.h", ON_PRIMARY)
    assert (asked.asked, bool(asked.primary)) == (True, True)
    assert need_of(0, mark(), "s.1.h", on_replica(2.0)) == ReadRequirement(
        "s.1.h", 50, max_lag=2.0, fallback=False
    )
    with pytest.raises(ConfigurationError, match="max_lag"):
        on_replica(0.0)


@pytest.mark.parametrize("route", [ANYWHERE, ON_PRIMARY, on_replica()])
def test_a_newer_timeline_is_satisfied_by_no_node_here(route: Route) -> None:
    """Not by the primary either: it has been replaced."""
    assert need_of(0, mark(AFTER), HERE, route).unmet
    assert not need_of(0, mark(BEFORE), HERE, route).unmet


def test_time_is_not_looked_at_again() -> None:
    """1. A read begins, and its bookmark counts; 2. the bookmark's life ends; 3. the load is sent:
    who joined it was promised what the bookmark said at 1."""
    assert need_of(0, mark(position=None, expires=-1e9), HERE, ANYWHERE).primary


class TestLife:
    """`living`: what a bookmark says to a read that begins now."""

    def test_before_its_end_it_says_all(self) -> None:
        for each in (mark(), mark(position=None), mark(BEFORE), mark("", None)):
            assert living(each, NOW + 0.1, NOW, HERE) is each

    def test_its_end_is_not_what_stands_in_it(self) -> None:
        each = mark(position=None, expires=NOW - 1)
        assert living(each, NOW + 1, NOW, HERE) is each

    @pytest.mark.parametrize("covered", [True, False])
    @pytest.mark.parametrize("wrote", [{}, {1: Seen("i", 1)}, None])
    def test_a_position_of_the_present_history_does_not_lapse(
        self, covered: bool, wrote: dict[int, Seen] | None
    ) -> None:
        old = Bookmark(HERE, 50, wrote, covered, NOW - 1e6, NOW - 2e6)
        left = living(old, NOW, NOW, HERE)
        assert left == Bookmark(HERE, 50, {}, covered=True, expires=NOW, made=NOW - 2e6)
        assert left is not None
        assert left.takes_cached
        assert need_of(0, left, HERE, ANYWHERE) == ReadRequirement(HERE, 50)

    @pytest.mark.parametrize(
        "bookmark, history",
        [
            (mark(position=None), HERE),
            (mark("", None), HERE),
            (mark("", None), ""),
            (mark(BEFORE), HERE),
            (mark(BEFORE), AFTER),
            (mark("t.1.h"), HERE),
            (mark(), ""),
            (mark("", 5), ""),
            (Bookmark("", 0, {1: Seen("i", 1)}, covered=True, expires=NOW), HERE),
            (Bookmark("", 0, None, covered=True, expires=NOW), HERE),
            (Bookmark("", 0, {}, covered=False, expires=NOW), HERE),
            (Bookmark(HERE, 0, {}, covered=False, expires=NOW), HERE),
        ],
    )
    def test_what_no_position_tells_lapses(self, bookmark: Bookmark, history: str) -> None:
        assert living(bookmark, NOW, NOW, history) is None

    @pytest.mark.parametrize("position", [50, None])
    def test_of_a_newer_timeline_it_counts_for_a_day_more(self, position: int | None) -> None:
        """Else an hour after the failover that this process has not noticed its old primary
        answers."""
        last = mark(AFTER, position, NOW)
        for moment, counts in (
            (NOW, True),
            (NOW + LONGEST_CUT - 1, True),
            (NOW + LONGEST_CUT, False),
        ):
            left = living(last, NOW, moment, HERE)
            assert (left is not None) == counts
            assert left is None or need_of(0, left, HERE, ANYWHERE).unmet

    def test_what_says_nothing_has_no_life(self) -> None:
        assert living(mark("", 0), NOW + 1, NOW, HERE) is None
        assert living(mark(HERE, 0), NOW + 1, NOW, HERE) is None

    @given(
        st.sampled_from(["", HERE, BEFORE, AFTER]),
        st.none() | st.integers(0, 100),
        st.sampled_from([HERE, BEFORE, AFTER]),
        st.floats(NOW - 100, NOW + 100),
    )
    def test_what_is_left_needs_no_more_than_it_did(
        self, history: str, position: int | None, present: str, ends: float
    ) -> None:
        whole = mark(history, position)
        left = living(whole, ends, NOW, present)
        assert left is None or says_something(left)
        had, has = (need_of(0, each, present, ANYWHERE) for each in (whole, left))
        assert has.position <= had.position
        assert not has.primary or had.primary
        assert not has.unmet or had.unmet
        if history == present and position is not None:
            assert has == had


@given(st.floats(0.1, 1e5), st.floats(0.1, 10.0), st.floats(0.1, 100.0))
def test_the_last_stale_fill_is_waited_for(ttl: float, lease: float, staleness: float) -> None:
    assert last_fill(ttl, lease, staleness) >= max(ttl, lease, staleness)
    assert last_fill(ttl, lease, staleness) == pytest.approx(ttl + lease + staleness)


def made(window: float = 60.0, uncovered: float = 100.0) -> Routing:
    """A routing that nobody has started: its clock is this machine's."""
    topology = Topology("sqlite+aiosqlite:////nowhere/at/all")
    topology._primary.clock._wall = lambda: NOW
    return Routing(topology, Stickiness(window, uncovered))


@pytest.mark.parametrize(
    "given, expires",
    [
        (Bookmark(HERE, 5, {}, True, NOW + 10, NOW - 20), NOW + 40),
        (Bookmark(HERE, 5, {}, True, NOW + 70, NOW - 20), NOW + 70),
        (Bookmark(HERE, 5, {}, False, NOW + 10, NOW - 20), NOW + 80),
        (Bookmark(HERE, 5, {}, True, NOW - 90, NOW - 100), NOW - 40),
        (Bookmark(HERE, 5, {}, True, NOW + 10), NOW + 10),
        (Bookmark(HERE, 5, {}, True, float("inf"), NOW), NOW + LONGEST_CUT),
        (Bookmark(HERE, 5, {}, True, NOW + 1e9, NOW), NOW + LONGEST_CUT),
        (Bookmark(HERE, 5, {}, True, NOW + 10, NOW + 1e12), NOW + LONGEST_CUT),
        (Bookmark(HERE, 5, {}, True, float("-inf"), NOW - 10), NOW + 50),
    ],
    ids=[
        "the reader's window",
        "the writer's",
        "uncovered",
        "over in both",
        "does not say when",
        "for ever",
        "for years",
        "made in the future",
        "never lived",
    ],
)
def test_the_longer_of_two_lives_counts_and_none_for_ever(given: Bookmark, expires: float) -> None:
    assert made()._lengthened(given).expires == expires


def test_the_readers_own_longest_life_is_not_cut() -> None:
    long = 10 * LONGEST_CUT
    assert made(uncovered=long)._lengthened(mark(expires=float("inf"))).expires == NOW + long


@given(
    st.one_of(st.none(), st.integers(0, 100)),
    st.lists(
        st.tuples(st.sampled_from(["s.1.h", "s.1.g"]), st.one_of(st.none(), st.integers(0, 100))),
        max_size=5,
    ),
    st.sampled_from([ANYWHERE, on_replica(), on_replica(1.0)]),
)
def test_a_session_never_needs_less_after_it_advanced(
    floor: int | None, advances: Sequence[tuple[str, int | None]], route: Route
) -> None:
    session = CausalSession(60.0, lambda: NOW)
    before = need_of(floor, session.bookmark, "s.1.h", route)
    for history, position in advances:
        session.advance(mark(history, position))
        after = need_of(floor, session.bookmark, "s.1.h", route)
        if position == 0:
            assert after == before
        elif history == "s.1.h" and position is not None:
            assert after.primary or after.position >= position
        elif position is None or history != "s.1.h":
            assert after.primary
        if history == "s.1.h" and not after.primary and not before.primary:
            assert after.position >= before.position
        before = after


@pytest.mark.parametrize(
    "bookmark, why",
    [
        (mark(), ""),
        (mark(position=100), ""),
        (mark(position=101), "ahead of the primary"),
        (mark("s.1.old", 10**15), ""),
        (mark("other.1.h"), "foreign"),
        (mark("garbage"), "foreign"),
        (mark("", 5), "foreign"),
        (mark("", 0), ""),
        (mark("", None), ""),
        (mark(position=None), ""),
    ],
)
def test_what_cannot_be_ours(bookmark: Bookmark, why: str) -> None:
    assert implausible(bookmark, "s.1.h", 100) == why


def test_a_position_that_could_not_be_polled_disproves_nothing() -> None:
    assert implausible(mark(position=101), "s.1.h", None) == ""
    assert implausible(mark("other.1.h"), "s.1.h", None) == "foreign"


def test_a_database_without_positions_cannot_tell() -> None:
    assert implausible(mark("other.1.h"), "", 0) == ""


@pytest.mark.parametrize("window, uncovered", [(0.0, 1.0), (1.0, -1.0)])
def test_senseless_windows_are_refused(window: float, uncovered: float) -> None:
    with pytest.raises(ConfigurationError, match="Stickiness"):
        Stickiness(window, uncovered)
