"""Who may share a load, who waits for which, and what an invalidation does to those under way."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark, Seen, merge
from repocache.cache.entry import CachedRow
from repocache.cache.inflight import InflightLoad, InflightLoads, may_join
from repocache.cache.shelf import LocalKey
from repocache.keys import owner_bucket

BUCKET = 17
KEY: LocalKey = ("user", 7)


def asks(
    position: int | None = 5,
    wrote: dict[int, Seen] | None = None,
    history: str = "h",
    *,
    covered: bool = True,
) -> Bookmark:
    return Bookmark(history, position, {} if wrote is None else wrote, covered, 1e12)


OWN = owner_bucket("user")
OWN_STATE = Seen("o", 2)


@dataclasses.dataclass(frozen=True)
class Took:
    """How a flight took off."""

    bookmark: Bookmark | None = None
    began: Seen | None = None
    direct: bool = False
    dirty: bool = False
    sent: bool = False
    own: Seen = OWN_STATE

    def flight(self) -> InflightLoad:
        """Past the cache, or answered by the record if `began` is known."""
        flight = InflightLoad(KEY, "user:7", BUCKET, owner_bucket("user"), self.bookmark)
        flight.began = None if self.began is None else (self.began, self.own)
        flight.direct, flight.invalidated = self.direct, self.dirty
        flight.sent = self.sent
        if self.direct or self.began is not None:
            flight.turns = False
        return flight


STATE = Seen("i", 3)


@pytest.mark.parametrize(
    "took, bookmark, direct",
    [
        (Took(), None, False),
        (Took(asks(5)), None, False),
        (Took(direct=True), None, True),
        (Took(direct=True, sent=True), None, True),
        (Took(asks(5)), asks(5), False),
        (Took(asks(6)), asks(5), False),
        (Took(asks(6), sent=True), asks(5), False),
        (Took(asks(5), STATE), asks(5, {BUCKET: STATE}), False),
        (Took(asks(5), Seen("i", 4)), asks(5, {BUCKET: STATE}), False),
        (Took(asks(5, {BUCKET: STATE}), STATE), None, False),
        (Took(asks(5)), asks(5, {BUCKET + 1: STATE}), False),
        (Took(asks(5), STATE), asks(5, {OWN: OWN_STATE}), False),
        (Took(asks(5), direct=True), asks(5, covered=False), True),
        (Took(asks(5), direct=True), asks(5, {BUCKET: STATE}), True),
    ],
)
def test_a_load_is_shared_by_whom_it_satisfies(
    took: Took, bookmark: Bookmark | None, direct: bool
) -> None:
    assert may_join(took.flight(), bookmark, direct=direct)
    assert not may_join(dataclasses.replace(took, dirty=True).flight(), bookmark, direct=direct)


@pytest.mark.parametrize(
    "took, bookmark",
    [
        (Took(), asks(5)),
        (Took(asks(4)), asks(5)),
        (Took(asks(None)), asks(5)),
        (Took(asks(5)), asks(None)),
        (Took(asks(None)), asks(None)),
        (Took(asks(6, history="other")), asks(5)),
        (Took(asks(5)), asks(5, {BUCKET: STATE})),
        (Took(asks(5), Seen("i", 2)), asks(5, {BUCKET: STATE})),
        (Took(asks(5), Seen("j", 9)), asks(5, {BUCKET: STATE})),
        (Took(asks(5)), asks(5, {OWN: OWN_STATE})),
        (Took(asks(5), STATE), asks(5, {OWN: Seen("o", 3)})),
        (Took(asks(5), STATE), asks(5, {OWN: Seen("p", 0)})),
        (Took(asks(5), STATE), asks(5, covered=False)),
        (Took(asks(4), direct=True), asks(5, covered=False)),
    ],
)
def test_it_is_not_shared_by_who_asks_for_more(took: Took, bookmark: Bookmark) -> None:
    assert not may_join(took.flight(), bookmark, direct=took.direct)


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("bookmark", [None, asks(5)])
def test_who_uses_the_cache_and_who_goes_past_it_share_nothing(
    bookmark: Bookmark | None, sent: bool
) -> None:
    """1. A session whose write no cache has heard of reads past it, on a replica that has the
    write, and lags for all others'; 2. who uses the cache has heard, there, of more than that
    replica shows. And the other way round what the cache says is not for the first one."""
    for direct in (False, True):
        flight = Took(asks(5), direct=direct, sent=sent).flight()
        assert not may_join(flight, bookmark, direct=not direct)
    same = asks(5)
    assert not may_join(Took(same).flight(), same, direct=True)


def test_one_that_may_yet_go_past_the_cache_is_its_own_sessions_alone() -> None:
    """Its session wrote in the bucket: a record that has not heard of that turns it away from the
    cache."""
    mine = asks(5, {BUCKET: STATE})
    flight = Took(mine).flight()
    assert flight.turns
    assert may_join(flight, mine, direct=False)
    for other in (None, asks(5), asks(5, {BUCKET: STATE})):
        assert not may_join(flight, other, direct=False)
    flight.turns, flight.began = False, (STATE, OWN_STATE)
    for other in (None, asks(5), asks(5, {BUCKET: STATE})):
        assert may_join(flight, other, direct=False)


@pytest.mark.parametrize("wrote", [{}, {BUCKET + 1: STATE}, None])
def test_only_who_wrote_there_may_turn_away(wrote: dict[int, Seen] | None) -> None:
    mark = Bookmark("h", 5, wrote, True, 1e12)
    assert not InflightLoad(KEY, "user:7", BUCKET, owner_bucket("user"), mark).turns


def test_a_load_past_the_cache_that_was_sent_is_joined_by_no_bookmark_of_ones_own() -> None:
    """On the primary a position is not visibility:

    1. two commits are flushed, and both their bookmarks name that position; 2. one of them is
    visible, and its session reads on the primary; 3. the other becomes visible, and its session
    comes to join."""
    mine = asks(5, covered=False)
    flight = Took(mine, direct=True, sent=True).flight()
    for position in (5, 4, 0):
        assert not may_join(flight, asks(position, covered=False), direct=True)
    assert may_join(flight, mine, direct=True), "asked for together"
    assert may_join(flight, None, direct=True), "he wrote nothing"
    assert may_join(Took(mine, direct=True).flight(), asks(5, covered=False), direct=True)


def test_the_bookmark_that_it_took_off_with_is_satisfied_whatever_it_asks() -> None:
    bookmark = asks(None, {BUCKET: STATE}, covered=False)
    assert may_join(Took(bookmark, direct=True, sent=True).flight(), bookmark, direct=True)


seens = st.builds(Seen, st.sampled_from(["i", "j"]), st.integers(0, 3))
bookmarks = st.builds(
    asks,
    st.none() | st.integers(0, 3),
    st.dictionaries(st.sampled_from([BUCKET, BUCKET + 1]), seens),
    st.sampled_from(["h", "g"]),
    covered=st.booleans(),
)
tooks = st.builds(Took, st.none() | bookmarks, st.none() | seens, st.booleans(), sent=st.booleans())


@given(tooks, bookmarks, st.booleans())
def test_who_joins_asks_no_more_than_was_promised(
    took: Took, bookmark: Bookmark, direct: bool
) -> None:
    """A session that had seen both would not have read further on."""
    if may_join(took.flight(), bookmark, direct=direct):
        assert took.bookmark is not None
        assert merge(bookmark, took.bookmark).position == took.bookmark.position
        assert took.direct == direct
        assert direct or bookmark.covered
        assert not (direct and took.sent)


@given(tooks, bookmarks, st.booleans())
def test_who_asks_less_joins_all_the_same(took: Took, bookmark: Bookmark, direct: bool) -> None:
    if may_join(took.flight(), bookmark, direct=direct):
        assert bookmark.position is not None
        wrote, history, covered = dict(bookmark.buckets), bookmark.history, bookmark.covered
        for less in (
            asks(bookmark.position - 1, wrote, history, covered=covered),
            asks(bookmark.position, {}, history, covered=covered),
            asks(bookmark.position, wrote, history, covered=True),
        ):
            assert may_join(took.flight(), less, direct=direct)
        assert may_join(took.flight(), None, direct=direct)


async def test_all_who_joined_are_answered_and_so_is_who_joins_later() -> None:
    flight, cell = Took().flight(), CachedRow((1,))
    before = [flight.join(), flight.join()]
    flight.resolve(cell)
    assert [await each for each in (*before, flight.join())] == [cell] * 3


async def test_one_that_goes_away_takes_nobody_along() -> None:
    landing, crashing = Took().flight(), Took().flight()
    for flight in (landing, crashing):
        flight.join().cancel()
    stay = [landing.join(), crashing.join()]
    landing.resolve(CachedRow(None))
    crashing.fail(ValueError("why"))
    assert [each.done() and not each.cancelled() for each in stay] == [True, True]


async def test_a_crash_fails_those_who_wait_and_is_not_told_twice() -> None:
    flight = Took().flight()
    waits, gone = flight.join(), flight.join()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    flight.fail(ValueError("why"))
    with pytest.raises(ValueError, match="why"):
        await waits
    del gone
    gc.collect()
    assert complaints == []


async def test_who_was_answered_is_not_failed_by_what_comes_later() -> None:
    flight = Took().flight()
    answered = flight.join()
    flight.resolve(CachedRow((1,)))
    flight.fail(ValueError("why"))
    assert (await answered).row == (1,)


class TestGoesPast:
    def test_from_then_on_it_is_found_by_those_who_go_past_alone(self) -> None:
        flights, flight = InflightLoads(), Took(asks(5, {BUCKET: STATE})).flight()
        flights.begin(flight)
        assert (flights.get(KEY), flights.get(KEY, direct=True)) == (flight, None)
        flights.goes_past(flight)
        assert (flights.get(KEY), flights.get(KEY, direct=True)) == (None, flight)
        assert (flight.direct, flight.turns) == (True, False)
        flights.goes_past(flight)
        assert flights.get(KEY, direct=True) is flight
        flights.end(flight)
        assert (len(flights), flights.by_key) == (0, {})

    def test_nobodys_place_is_taken(self) -> None:
        flights, one, other = InflightLoads(), Took().flight(), Took(direct=True).flight()
        flights.begin(one)
        flights.begin(other)
        assert (flights.get(KEY), flights.get(KEY, direct=True)) == (one, other)
        flights.goes_past(one)
        assert (flights.get(KEY), flights.get(KEY, direct=True)) == (None, other)
        flights.end(one)
        assert flights.get(KEY, direct=True) is other

    def test_one_that_has_a_successor_leaves_it_there(self) -> None:
        flights, one, other = InflightLoads(), Took().flight(), Took().flight()
        flights.begin(one)
        flights.begin(other)
        flights.goes_past(one)
        assert (flights.get(KEY), flights.get(KEY, direct=True)) == (other, one)

    def test_an_invalidation_meets_both(self) -> None:
        flights, one, other = InflightLoads(), Took().flight(), Took().flight()
        flights.begin(one)
        flights.goes_past(one)
        flights.begin(other)
        flights.invalidate_key(BUCKET, KEY)
        assert (one.invalidated, other.invalidated) == (True, True)


KEYS: list[tuple[LocalKey, int]] = [(("user", id), id % 2) for id in range(4)]
steps = st.lists(
    st.tuples(st.sampled_from(["begin", "begin past"]), st.sampled_from(KEYS))
    | st.tuples(st.sampled_from(["end", "past"]), st.integers(0, 9))
    | st.tuples(st.just("key"), st.sampled_from(KEYS))
    | st.tuples(st.just("bucket"), st.integers(0, 2))
    | st.tuples(st.just("all"), st.none()),
    max_size=30,
)


class Model:
    """What `InflightLoads` is to know, in the plainest form."""

    def __init__(self) -> None:
        self.flights = InflightLoads()
        self.begun: list[InflightLoad] = []
        self.under_way: list[InflightLoad] = []
        self.joined: dict[tuple[LocalKey, bool], InflightLoad] = {}
        self.met: set[InflightLoad] = set()

    def begin(self, key: LocalKey, bucket: int, *, direct: bool) -> None:
        flight = InflightLoad(key, str(key), bucket, owner_bucket(key[0]), None)
        flight.direct = direct
        self.flights.begin(flight)
        self.begun.append(flight)
        self.under_way.append(flight)
        self.joined[key, direct] = flight

    def end(self, flight: InflightLoad) -> None:
        self.flights.end(flight)
        if flight in self.under_way:
            self.under_way.remove(flight)
        self._forget(flight)

    def goes_past(self, flight: InflightLoad) -> None:
        was = flight.direct
        self.flights.goes_past(flight)
        if not was:
            self._forget(flight)
            self.joined.setdefault((flight.key, True), flight)

    def _forget(self, flight: InflightLoad) -> None:
        self.joined = {name: each for name, each in self.joined.items() if each is not flight}

    def invalidate(self, what: str, which: Any) -> None:
        if what == "key":
            self.flights.invalidate_key(which[1], which[0])
            self.met |= {flight for flight in self.under_way if flight.key == which[0]}
        elif what == "bucket":
            self.flights.invalidate_bucket(which)
            self.met |= {flight for flight in self.under_way if flight.bucket == which}
        else:
            self.flights.invalidate_all()
            self.met |= set(self.under_way)

    def check(self) -> None:
        assert len(self.flights) == len(self.under_way)
        for key, _ in KEYS:
            for direct in (False, True):
                assert self.flights.get(key, direct=direct) is self.joined.get((key, direct))
        assert {flight for flight in self.begun if flight.invalidated} == self.met
        assert all(flight.invalidated_since_fill == flight.invalidated for flight in self.begun)


@given(steps)
def test_each_flight_is_found_by_its_key_and_met_in_its_bucket(
    steps: list[tuple[str, Any]],
) -> None:
    model = Model()
    for what, which in steps:
        if what in ("begin", "begin past"):
            model.begin(*which, direct=what == "begin past")
        elif what == "end":
            for flight in model.begun[which : which + 1]:
                model.end(flight)
        elif what == "past":
            for flight in model.under_way[which : which + 1]:
                model.goes_past(flight)
        else:
            model.invalidate(what, which)
        model.check()
    for flight in model.begun:
        model.end(flight)
    assert (len(model.flights), model.flights.by_key, model.flights._by_bucket) == (0, {}, {})
