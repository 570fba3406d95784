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
from repocache.cache.entry import Cell
from repocache.cache.flights import Flight, Flights, LocalKey, may_join

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


@dataclasses.dataclass(frozen=True)
class Took:
    """How a flight took off."""

    bookmark: Bookmark | None = None
    began: Seen | None = None
    direct: bool = False
    dirty: bool = False

    def flight(self) -> Flight:
        flight = Flight(KEY, "user:7", BUCKET, self.bookmark)
        flight.began, flight.direct, flight.dirty = self.began, self.direct, self.dirty
        return flight


STATE = Seen("i", 3)


@pytest.mark.parametrize(
    "took, bookmark",
    [
        (Took(), None),
        (Took(asks(5)), None),
        (Took(direct=True), None),
        (Took(asks(5)), asks(5)),
        (Took(asks(6)), asks(5)),
        (Took(asks(5), STATE), asks(5, {BUCKET: STATE})),
        (Took(asks(5), Seen("i", 4)), asks(5, {BUCKET: STATE})),
        (Took(asks(5)), asks(5, {BUCKET + 1: STATE})),
        (Took(asks(5), direct=True), asks(5, covered=False)),
        (Took(asks(5), direct=True), asks(5, {BUCKET: STATE})),
    ],
)
def test_a_load_is_shared_by_whom_it_satisfies(took: Took, bookmark: Bookmark | None) -> None:
    assert may_join(took.flight(), bookmark)
    assert not may_join(dataclasses.replace(took, dirty=True).flight(), bookmark)


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
        (Took(asks(5), STATE), asks(5, covered=False)),
        (Took(asks(4), direct=True), asks(5, covered=False)),
    ],
)
def test_it_is_not_shared_by_who_asks_for_more(took: Took, bookmark: Bookmark) -> None:
    assert not may_join(took.flight(), bookmark)


def test_the_bookmark_that_it_took_off_with_is_satisfied_whatever_it_asks() -> None:
    bookmark = asks(None, {BUCKET: STATE}, covered=False)
    assert may_join(Took(bookmark).flight(), bookmark)


seens = st.builds(Seen, st.sampled_from(["i", "j"]), st.integers(0, 3))
bookmarks = st.builds(
    asks,
    st.none() | st.integers(0, 3),
    st.dictionaries(st.sampled_from([BUCKET, BUCKET + 1]), seens),
    st.sampled_from(["h", "g"]),
    covered=st.booleans(),
)
tooks = st.builds(Took, st.none() | bookmarks, st.none() | seens, st.booleans())


@given(tooks, bookmarks)
def test_who_joins_asks_no_more_than_was_promised(took: Took, bookmark: Bookmark) -> None:
    """A session that had seen both would not have read further on."""
    if may_join(took.flight(), bookmark):
        assert took.bookmark is not None
        assert merge(bookmark, took.bookmark).position == took.bookmark.position
        assert took.direct or bookmark.covered


@given(tooks, bookmarks)
def test_who_asks_less_joins_all_the_same(took: Took, bookmark: Bookmark) -> None:
    if may_join(took.flight(), bookmark):
        assert bookmark.position is not None
        for less in (
            asks(bookmark.position - 1, dict(bookmark.buckets), bookmark.history, covered=bookmark.covered),
            asks(bookmark.position, {}, bookmark.history, covered=bookmark.covered),
            asks(bookmark.position, dict(bookmark.buckets), bookmark.history, covered=True),
        ):
            assert may_join(took.flight(), less)
        assert may_join(took.flight(), None)


async def test_all_who_joined_are_answered_and_so_is_who_joins_later() -> None:
    flight, cell = Took().flight(), Cell((1,))
    before = [flight.join(), flight.join()]
    flight.land(cell)
    assert [await each for each in (*before, flight.join())] == [cell] * 3


async def test_one_that_goes_away_takes_nobody_along() -> None:
    landing, crashing = Took().flight(), Took().flight()
    for flight in (landing, crashing):
        flight.join().cancel()
    stay = [landing.join(), crashing.join()]
    landing.land(Cell(None))
    crashing.crash(ValueError("why"))
    assert [each.done() and not each.cancelled() for each in stay] == [True, True]


async def test_a_crash_fails_those_who_wait_and_is_not_told_twice() -> None:
    flight = Took().flight()
    waits, gone = flight.join(), flight.join()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    flight.crash(ValueError("why"))
    with pytest.raises(ValueError, match="why"):
        await waits
    del gone
    gc.collect()
    assert complaints == []


async def test_who_was_answered_is_not_failed_by_what_comes_later() -> None:
    flight = Took().flight()
    answered = flight.join()
    flight.land(Cell((1,)))
    flight.crash(ValueError("why"))
    assert (await answered).row == (1,)


KEYS: list[tuple[LocalKey, int]] = [(("user", id), id % 2) for id in range(4)]
steps = st.lists(
    st.tuples(st.just("begin"), st.sampled_from(KEYS))
    | st.tuples(st.just("end"), st.integers(0, 9))
    | st.tuples(st.just("key"), st.sampled_from(KEYS))
    | st.tuples(st.just("bucket"), st.integers(0, 2))
    | st.tuples(st.just("all"), st.none()),
    max_size=30,
)


@given(steps)
def test_each_flight_is_found_by_its_key_and_met_in_its_bucket(steps: list[tuple[str, Any]]) -> None:
    flights = Flights()
    begun: list[Flight] = []
    under_way: list[Flight] = []
    joined: dict[LocalKey, Flight] = {}
    met: set[Flight] = set()
    for what, which in steps:
        if what == "begin":
            key, bucket = which
            flight = Flight(key, str(key), bucket, None)
            flights.begin(flight)
            begun.append(flight)
            under_way.append(flight)
            joined[key] = flight
        elif what == "end" and which < len(begun):
            flight = begun[which]
            flights.end(flight)
            if flight in under_way:
                under_way.remove(flight)
            if joined.get(flight.key) is flight:
                del joined[flight.key]
        elif what == "key":
            flights.dirty_key(which[1], which[0])
            met.update(flight for flight in under_way if flight.key == which[0])
        elif what == "bucket":
            flights.dirty_bucket(which)
            met.update(flight for flight in under_way if flight.bucket == which)
        elif what == "all":
            flights.dirty_all()
            met.update(under_way)
        assert len(flights) == len(under_way)
        assert {key: flights.get(key) for key, _ in KEYS} == {key: joined.get(key) for key, _ in KEYS}
        assert {flight for flight in begun if flight.dirty} == met
        assert all(flight.touched == flight.dirty for flight in begun)
    for flight in begun:
        flights.end(flight)
    assert (len(flights), flights._by_key, flights._by_bucket) == (0, {}, {})
