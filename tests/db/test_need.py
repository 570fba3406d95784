"""What a session needs of a node, and what becomes of bookmarks: merged, remembered by child tasks, refused."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark, Seen
from repocache.db.choice import Need
from repocache.db.routing import (
    ANYWHERE,
    ON_PRIMARY,
    CausalSession,
    Route,
    Stickiness,
    implausible,
    need_of,
    on_replica,
)
from repocache.errors import ConfigurationError

NOW = 1000.0
MARK = Bookmark("s.1.h", 50, {}, covered=True, expires=NOW + 1)


def mark(history: str = "s.1.h", position: int | None = 50, expires: float = NOW + 1) -> Bookmark:
    return Bookmark(history, position, {}, covered=True, expires=expires)


@pytest.mark.parametrize(
    "floor, bookmark, history, need",
    [
        (0, None, "s.1.h", Need("s.1.h", 0)),
        (40, None, "s.1.h", Need("s.1.h", 40)),
        (40, mark(), "s.1.h", Need("s.1.h", 50)),
        (60, mark(), "s.1.h", Need("s.1.h", 60)),
        (None, mark(), "s.1.h", Need("s.1.h", 50, primary="floor unknown")),
        (40, mark(expires=NOW), "s.1.h", Need("s.1.h", 40)),
        (40, mark("s.1.old"), "s.1.h", Need("s.1.h", 40, primary="bookmark of another history")),
        (40, mark("s.1.old", expires=NOW), "s.1.h", Need("s.1.h", 40)),
        (40, mark(position=None), "s.1.h", Need("s.1.h", 40, primary="bookmark without position")),
        (40, mark("", 0), "s.1.h", Need("s.1.h", 40)),
        (None, None, "", Need("", 0, primary="floor unknown")),
        (40, mark("", None), "", Need("", 0, primary="bookmark without position")),
        (40, mark("", None, NOW), "", Need("", 0)),
    ],
)
def test_what_is_needed(floor: int | None, bookmark: Bookmark | None, history: str, need: Need) -> None:
    assert need_of(floor, bookmark, history, NOW, ANYWHERE) == need


def test_the_caller_may_wish() -> None:
    asked = need_of(None, mark("s.1.old"), "s.1.h", NOW, ON_PRIMARY)
    assert (asked.asked, bool(asked.primary)) == (True, True)
    assert need_of(0, mark(), "s.1.h", NOW, on_replica(2.0)) == Need("s.1.h", 50, max_lag=2.0, fallback=False)
    with pytest.raises(ConfigurationError, match="max_lag"):
        on_replica(0.0)


@given(
    st.one_of(st.none(), st.integers(0, 100)),
    st.lists(st.tuples(st.sampled_from(["s.1.h", "s.1.g"]), st.one_of(st.none(), st.integers(0, 100))), max_size=5),
    st.sampled_from([ANYWHERE, on_replica(), on_replica(1.0)]),
)
def test_a_session_never_needs_less_after_it_advanced(
    floor: int | None, advances: Sequence[tuple[str, int | None]], route: Route
) -> None:
    session = CausalSession(Stickiness(), lambda: NOW)
    before = need_of(floor, session.bookmark, "s.1.h", NOW, route)
    for history, position in advances:
        session.advance(mark(history, position))
        after = need_of(floor, session.bookmark, "s.1.h", NOW, route)
        if position == 0:
            assert after == before
        elif history == "s.1.h" and position is not None:
            assert after.primary or after.position >= position
        elif position is None or history != "s.1.h":
            assert after.primary
        if history == "s.1.h" and not after.primary and not before.primary:
            assert after.position >= before.position
        before = after


class TestSession:
    def test_a_new_one_says_nothing_and_can_be_sent(self) -> None:
        session = CausalSession(Stickiness(), lambda: NOW)
        assert session.bookmark == Bookmark("", 0, {}, covered=True, expires=NOW + 60.0)
        assert session.bookmark.encode()

    def test_what_says_nothing_changes_nothing(self) -> None:
        session = CausalSession(Stickiness(), lambda: NOW)
        session.advance(MARK)
        session.advance(Bookmark("", 0, {}, covered=True, expires=NOW + 60.0))
        assert session.bookmark == MARK

    @pytest.mark.parametrize(
        "bookmark",
        [
            Bookmark("", 0, {1: Seen("i", 1)}, covered=True, expires=NOW),
            Bookmark("", 0, None, covered=True, expires=NOW),
            Bookmark("", 0, {}, covered=False, expires=NOW),
        ],
    )
    def test_what_it_says_of_caches_is_kept(self, bookmark: Bookmark) -> None:
        session = CausalSession(Stickiness(), lambda: NOW)
        session.advance(bookmark)
        assert session.bookmark == bookmark

    def test_reads_count_only_if_asked(self) -> None:
        plain, monotonic = (CausalSession(Stickiness(monotonic=each), lambda: NOW) for each in (False, True))
        for session in (plain, monotonic):
            session.saw("s.1.h", 70)
            session.saw("s.1.h", 60)
        assert plain.bookmark.position == 0
        assert monotonic.bookmark == mark(position=70, expires=NOW + 60.0)
        monotonic.saw("s.1.h", None)
        assert monotonic.bookmark.position is None

    async def test_a_childs_write_sticks_its_parent(self) -> None:
        session = CausalSession(Stickiness(), lambda: NOW)

        async def child() -> None:
            session.advance(MARK)

        await asyncio.create_task(child())
        assert session.bookmark == MARK


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
