"""What a session carries while it goes on: what it wrote, and what it saw and cannot place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark, Seen
from repocache.nodes.stamps import UNKNOWN, Stamp
from repocache.nodes.wal import PrimaryPosition
from repocache.routing.causal_session import CausalSession, Look
from repocache.routing.past_caches import PastCaches
from repocache.routing.routing import ANYWHERE, need_of

NOW = 1000.0
HERE, LATER = "s.1.h", "s.2.h"
MARK = Bookmark(HERE, 50, {}, covered=True, expires=NOW + 1)


def session(*, monotonic: bool = True) -> CausalSession:
    return CausalSession(60.0, lambda: NOW, monotonic=monotonic)


def of_primary(position: int | None, history: str = HERE) -> Stamp:
    return Stamp(history, position, primary=True)


def of_replica(position: int | None, history: str = HERE) -> Stamp:
    return Stamp(history, position, primary=False)


def seen(position: int | None, history: str = HERE) -> Bookmark:
    """What a read of now leaves behind."""
    return Bookmark(history, position, {}, covered=True, expires=NOW + 60.0, made=NOW)


class TestWrites:
    def test_a_new_one_says_nothing_and_can_be_sent(self) -> None:
        new = session(monotonic=False)
        assert new.bookmark == Bookmark("", 0, {}, covered=True, expires=NOW + 60.0)
        assert new.encode() == new.bookmark.encode()

    def test_what_says_nothing_changes_nothing(self) -> None:
        here = session()
        here.advance(MARK)
        here.advance(Bookmark("", 0, {}, covered=True, expires=NOW + 60.0))
        assert here.bookmark == MARK

    @pytest.mark.parametrize(
        "bookmark",
        [
            Bookmark("", 0, {1: Seen("i", 1)}, covered=True, expires=NOW),
            Bookmark("", 0, None, covered=True, expires=NOW),
            Bookmark("", 0, {}, covered=False, expires=NOW),
        ],
    )
    def test_what_it_says_of_caches_is_kept(self, bookmark: Bookmark) -> None:
        here = session()
        here.advance(bookmark)
        assert here.bookmark == bookmark
        here.saw(here.reads(), of_primary(70))
        assert (here.bookmark.wrote, here.bookmark.covered) == (bookmark.wrote, bookmark.covered)

    async def test_a_childs_write_sticks_its_parent(self) -> None:
        here = session()

        async def child() -> None:
            here.advance(MARK)

        await asyncio.create_task(child())
        assert here.bookmark == MARK

    def test_a_commit_whose_position_is_not_known_is_not_forgotten_for_the_next_one(self) -> None:
        here = session(monotonic=False)
        here.advance(seen(None))
        here.advance(MARK)
        assert here.bookmark.position is None

    def test_one_that_was_polled_before_says_nothing_of_what_was_noted_since(self) -> None:
        """1. A commit is polled at 50; 2. while it is published another task of the session reads
        what nothing bounds; 3. the commit's bookmark comes."""
        here = session()
        here.saw(here.reads(), UNKNOWN)
        here.advance(MARK)
        assert here.bookmark.position is None


class TestReads:
    def test_they_count_only_if_asked(self) -> None:
        plain, monotonic = session(monotonic=False), session()
        for each in (plain, monotonic):
            each.saw(each.reads(), of_replica(70))
            each.saw(each.reads(), of_replica(60))
        assert plain.bookmark.position == 0
        assert monotonic.bookmark == seen(70)

    @pytest.mark.parametrize("stamp", [UNKNOWN, of_replica(None), of_primary(None)])
    def test_what_is_not_known_means_the_primary(self, stamp: Stamp) -> None:
        here = session()
        here.saw(here.reads(), of_replica(70))
        here.saw(here.reads(), stamp)
        assert here.bookmark.position is None
        assert need_of(0, here.bookmark, HERE, ANYWHERE).primary

    def test_a_replicas_position_does_not_stand_for_what_is_not_known(self) -> None:
        here = session()
        here.saw(here.reads(), UNKNOWN)
        here.saw(here.reads(), of_replica(70))
        assert here.bookmark.position is None

    def test_the_primarys_does_if_the_read_began_after(self) -> None:
        here = session()
        here.saw(here.reads(), UNKNOWN)
        here.saw(here.reads(), of_primary(70))
        assert here.bookmark == seen(70)

    def test_and_does_not_if_it_began_before(self) -> None:
        """1. A read begins on the primary, which is polled behind it; 2. another, on a replica, is
        polled too late: what it showed is not known; 3. the first one ends, with its older
        position."""
        here = session()
        first = here.reads()
        here.saw(here.reads(), UNKNOWN)
        here.saw(first, of_primary(70))
        assert here.bookmark.position is None
        here.saw(here.reads(), of_primary(80))
        assert here.bookmark.position == 80

    def test_what_was_not_published_is_not_forgotten(self) -> None:
        """Its outcome may not be known: it may yet become visible, past what the primary says
        now."""
        here = session()
        here.advance(Bookmark(HERE, None, {}, covered=False, expires=NOW + 60.0))
        here.saw(here.reads(), of_primary(70))
        assert (here.bookmark.position, here.bookmark.covered) == (None, False)

    def test_what_came_with_the_request_is_seen_past(self) -> None:
        here = session()
        here.begin_with(seen(None))
        here.saw(here.reads(), of_primary(70))
        assert here.bookmark.position == 70

    def test_a_failover_between_two_reads_is_placed_by_the_new_primary_alone(self) -> None:
        for stamp, position in ((of_replica(40, LATER), None), (of_primary(40, LATER), 40)):
            here = session()
            here.saw(here.reads(), of_primary(70))
            here.saw(here.reads(), stamp)
            assert (here.bookmark.history, here.bookmark.position) == (LATER, position)

    def test_a_read_that_began_before_the_failover_was_seen_does_not_place_it(self) -> None:
        here = session()
        early = here.reads()
        here.saw(here.reads(), of_replica(70))
        here.saw(here.reads(), of_primary(40, LATER))
        here.saw(early, of_primary(90))
        assert (here.bookmark.history, here.bookmark.position) == (LATER, None)


class TestSettled:
    """After a commit the end of the primary's WAL is known."""

    def test_what_was_not_known_before_is_covered_by_it(self) -> None:
        here = session(monotonic=False)
        here.begin_with(Bookmark("", None, {3: Seen("i", 1)}, covered=True, expires=NOW + 9))
        look = here.reads()
        here.settle(look, PrimaryPosition(HERE, 60, 70))
        assert (here.bookmark.history, here.bookmark.position) == (HERE, 70), (
            "inserted, not only flushed"
        )
        assert here.bookmark.wrote == {3: Seen("i", 1)}

    def test_not_what_was_noted_since(self) -> None:
        """1. A commit begins to be placed; 2. another one, whose position is not to be had, is
        noted; 3. the first one's poll, from before it perhaps, is there."""
        here = session(monotonic=False)
        here.advance(seen(None))
        look = here.reads()
        here.advance(seen(None))
        here.settle(look, PrimaryPosition(HERE, 60, 70))
        assert here.bookmark.position is None
        here.settle(here.reads(), PrimaryPosition(HERE, 60, 80))
        assert here.bookmark.position == 80

    def test_not_what_was_merged_into_it_since(self) -> None:
        here = session()
        here.saw(here.reads(), UNKNOWN)
        look = here.reads()
        here.saw(here.reads(), of_replica(90))
        here.settle(look, PrimaryPosition(HERE, 60, 70))
        assert here.bookmark.position is None

    def test_not_a_commit_that_may_appear_later(self) -> None:
        here = session(monotonic=False)
        here.advance(Bookmark(HERE, None, {}, covered=False, expires=NOW + 60.0))
        here.settle(here.reads(), PrimaryPosition(HERE, 60, 70))
        assert here.bookmark.position is None

    def test_one_that_is_known_is_left_as_it_is(self) -> None:
        here = session()
        here.advance(MARK)
        here.settle(here.reads(), PrimaryPosition(HERE, 60, 70))
        assert here.bookmark == MARK

    def test_not_by_the_primary_of_an_older_line(self) -> None:
        """Which lives on, and is still taken for the primary in this process."""
        here = session()
        here.saw(here.reads(), of_replica(None, LATER))
        here.settle(here.reads(), PrimaryPosition(HERE, 60, 70))
        assert (here.bookmark.history, here.bookmark.position) == (LATER, None)
        here.saw(here.reads(), of_primary(80))
        assert (here.bookmark.history, here.bookmark.position) == (LATER, None)
        here.saw(here.reads(), of_primary(10, LATER))
        assert (here.bookmark.history, here.bookmark.position) == (LATER, 10)

    def test_without_an_answer_nothing_is(self) -> None:
        here = session()
        here.saw(here.reads(), UNKNOWN)
        here.settle(here.reads(), None)
        assert here.bookmark.position is None


class TestTransactions:
    def test_while_one_is_open_the_position_is_not_known(self) -> None:
        here = session()
        here.advance(MARK)
        look = here.look()
        assert (here.bookmark.history, here.bookmark.position) == (HERE, None)
        here.looked(look, of_primary(70))
        assert here.bookmark.position == 70

    def test_the_last_one_to_end_counts(self) -> None:
        here = session()
        one, other = here.look(), here.look()
        here.looked(one, of_primary(70))
        assert here.bookmark.position is None
        here.looked(other, of_primary(80))
        assert here.bookmark.position == 80

    def test_of_one_that_was_lost_nothing_is_known(self) -> None:
        here = session()
        here.looked(here.look(), UNKNOWN)
        assert here.bookmark.position is None
        here.saw(here.reads(), of_primary(70))
        assert here.bookmark.position == 70

    def test_what_is_sent_on_while_one_is_open_says_so(self) -> None:
        here = session()
        here.look()
        assert here.encode() == here.bookmark.encode()
        assert here.bookmark.position is None

    def test_a_read_beside_it_does_not_end_it(self) -> None:
        here = session()
        look = here.look()
        here.saw(here.reads(), of_primary(70))
        assert here.bookmark.position is None
        here.looked(look, UNKNOWN)
        assert here.bookmark.position is None


class TestInner:
    def test_what_it_did_counts_outside(self) -> None:
        outer, inner = session(), session()
        outer.advance(MARK)
        inner.advance(Bookmark(HERE, 70, {3: Seen("i", 1)}, covered=True, expires=NOW + 2))
        outer.absorb(inner.did)
        assert outer.bookmark == Bookmark(
            HERE, 70, {3: Seen("i", 1)}, covered=True, expires=NOW + 2
        )

    def test_what_it_was_given_does_not(self) -> None:
        outer, inner = session(), session()
        inner.begin_with(MARK)
        outer.absorb(inner.did)
        assert outer.bookmark.position == 0

    def test_what_it_saw_does(self) -> None:
        outer, inner = session(), session()
        inner.saw(inner.reads(), of_replica(70))
        outer.absorb(inner.did)
        assert outer.bookmark.position == 70
        inner.saw(inner.reads(), UNKNOWN)
        outer.absorb(inner.did)
        assert outer.bookmark.position is None

    def test_its_position_does_not_stand_for_what_the_outer_one_cannot_place(self) -> None:
        outer, inner = session(), session()
        inner.saw(inner.reads(), of_primary(70))
        outer.saw(outer.reads(), UNKNOWN)
        outer.absorb(inner.did)
        assert outer.bookmark.position is None

    def test_what_it_placed_in_the_end_is_placed_outside(self) -> None:
        outer, inner = session(), session()
        inner.saw(inner.reads(), UNKNOWN)
        inner.saw(inner.reads(), of_primary(70))
        outer.absorb(inner.did)
        assert outer.bookmark.position == 70


kinds = st.sampled_from(
    ["primary", "replica", "unknown", "commit", "not placed", "begin", "end", "inner"]
)


@given(st.lists(st.tuples(kinds, st.integers(0, 9)), max_size=25))
def test_a_session_never_forgets_what_it_saw(steps: Sequence[tuple[str, int]]) -> None:
    """A database that only grows, one write a step, all of it visible on the primary at once. Reads
    begin and end in any order; what each one showed, the session asks for ever after."""
    here, saw = session(), 0
    looks: list[tuple[Look, int]] = []
    for wal, (what, which) in enumerate(steps, start=1):
        if what in ("commit", "not placed"):
            here.settle(here.reads(), PrimaryPosition(HERE, wal, wal) if what == "commit" else None)
            here.advance(seen(wal if what == "commit" else None))
            saw = wal
        elif what == "inner":
            inner = session()
            inner.saw(inner.reads(), of_primary(wal))
            here.absorb(inner.did)
            saw = wal
        elif what == "begin":
            looks.append((here.look(), which))
        elif what == "end":
            if looks:
                look, kind = looks.pop(which % len(looks))
                here.looked(look, UNKNOWN if kind % 3 == 0 else of_primary(wal))
                saw = wal
        else:
            shown = wal if what != "replica" else wal - wal % 3
            stamps = {"primary": of_primary(wal), "replica": of_replica(shown), "unknown": UNKNOWN}
            here.saw(here.reads(), stamps[what])
            saw = max(saw, shown)
        need = need_of(0, here.bookmark, HERE, ANYWHERE)
        assert need.primary or need.position >= saw
        assert not looks or need.primary


def test_a_session_past_the_caches_has_all_that_callers_ask_of_one() -> None:
    session = CausalSession(60.0, lambda: 0.0)
    past = PastCaches(session, lambda bookmark: bookmark)
    asked = [name for name in vars(session) if not name.startswith("_")]
    assert len(asked) >= 3
    for name in asked:
        assert getattr(past, name) is getattr(session, name), name
