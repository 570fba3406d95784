"""A hit in L1: what `LocalStore.get` would have done, and only where it counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark, Seen
from repocache.cache.bucket_views import BucketViews
from repocache.cache.entry import CachedRow, CacheSettings
from repocache.cache.inflight import InflightLoads
from repocache.cache.l1_reader import SAMPLED, Peek, hits_told, l1_peek, no_l1, observed
from repocache.cache.local_store import MOST_FREQ, LocalStore
from repocache.cache.process_cache import ProcessCache
from repocache.cache.settler import Settler
from repocache.cache.switch import Gate
from repocache.events import HitSampled, Served, ignore
from repocache.keys import KeyOwner, Keys, KeySpace
from repocache.records import MemoryRecords, Namespace, Nonces
from tests.cache.one_process import USERS, NobodysSession, Standing
from tests.cache.one_process import Seen as Events


@dataclass
class Place:
    """An L1 whose time stands still, and the reader of it."""

    now: float = 0.0
    session: NobodysSession | None = None
    told: Events = field(default_factory=Events)
    gate: Gate = field(default_factory=Gate)
    store: LocalStore = field(init=False)
    views: BucketViews = field(init=False)
    near: Peek = field(init=False)

    def __post_init__(self) -> None:
        self.store = LocalStore(100, 100_000, lambda: self.now)
        flights, primary = InflightLoads(), Standing()
        self.views = BucketViews(self.store, flights, KeySpace([USERS]), "me", ignore)
        self.views.up()
        records = MemoryRecords(self.views.apply, Nonces(), lambda: self.now, 0)
        settler = Settler(records, primary, asyncio.ensure_future, ignore)
        self.shared = ProcessCache(
            records,
            Namespace("memory"),
            self.store,
            self.views,
            flights,
            primary,
            settler,
            asyncio.ensure_future,
            ignore,
            CacheSettings(),
        )
        self.peek = self.reader("user")

    def reader(self, owner: str) -> Peek:
        tell = hits_told(Keys(KeyOwner(owner), (int,)), self.store, self.told)
        return l1_peek(owner, self.shared, self.gate, tell, lambda: self.session)

    def keep(self, id: int, ttl: float = 10.0) -> CachedRow:
        cell = CachedRow((id,))
        self.store.put(("user", id), cell, id % 3, ttl, 1)
        return cell


def test_what_is_there_is_at_hand() -> None:
    place = Place()
    cell = place.keep(7)
    assert place.peek(7) is cell
    assert place.peek(8) is None
    assert (place.store.stats.hits, place.store.stats.misses) == (1, 1)


def test_it_is_of_the_owner_alone() -> None:
    place = Place()
    place.keep(7)
    assert place.reader("order")(7) is None


@pytest.mark.parametrize("age, there", [(9.9, True), (10.0, False), (11.0, False)])
def test_what_has_expired_is_not(age: float, there: bool) -> None:
    place = Place()
    place.keep(7)
    place.now = age
    assert (place.peek(7) is not None) == there
    assert place.store.stats.misses == (0 if there else 1)


def test_without_the_channel_nothing_counts() -> None:
    place = Place()
    place.keep(7)
    place.views.alive = False
    assert place.peek(7) is None


def test_where_the_gate_is_shut_nothing_counts() -> None:
    place = Place()
    cell = place.keep(7)
    place.gate.open = False
    assert place.peek(7) is None
    place.gate.open = True
    assert place.peek(7) is cell


def test_it_counts_only_for_a_session_whose_writes_it_has_seen() -> None:
    place = Place()
    cell = place.keep(7)
    place.session = NobodysSession(Bookmark("h", 1, {1: Seen("i", 1)}, covered=True, expires=1e12))
    assert place.peek(7) is None
    assert place.store.stats.hits == 0
    place.session = NobodysSession(Bookmark("h", 1, {2: Seen("i", 1)}, covered=True, expires=1e12))
    assert place.peek(7) is cell


steps = st.lists(
    st.tuples(st.sampled_from(["keep", "read"]), st.integers(0, 3)) | st.just(("later", 4)),
    max_size=30,
)


@given(steps)
def test_it_does_what_the_stores_own_get_does(steps: list[tuple[str, int]]) -> None:
    place, twin = Place(), Place()
    for what, id in steps:
        if what == "later":
            place.now = twin.now = place.now + id
        elif what == "keep":
            place.keep(id)
            twin.keep(id)
        else:
            entry, cell = twin.store.get(("user", id)), place.peek(id)
            assert (cell is None) == (entry is None)
            kept = place.store.find(("user", id))
            if entry is not None:
                assert kept is not None
                # `get` drops what has expired, with its hits; here they are kept if it is put
                # again.
                assert entry.freq <= kept.freq <= MOST_FREQ
    mine, twins = place.store.stats, twin.store.stats
    assert (mine.hits, mine.misses) == (twins.hits, twins.misses)


def test_an_observer_is_told_of_hits_alone() -> None:
    place, events = Place(), Events()
    cell = place.keep(7)
    near = observed(place.peek, "user", events)
    assert near(8) is None
    assert events == []
    assert near(7) is cell
    assert events == [Served("user", "l1", "", "at hand")]


def test_some_hits_are_told_and_stand_for_all() -> None:
    place = Place()
    place.keep(7, ttl=1e9)
    place.keep(8, ttl=1e9)
    for turn in range(100 * SAMPLED):
        place.now = float(turn)
        place.peek(7 if turn % 2 else 8)
    told = place.told.of(HitSampled)
    assert 50 < len(told) < 200
    last = SAMPLED * 2
    hits = place.store.stats.hits
    assert hits - last <= sum(each.hits for each in told) <= hits
    of_seven = sum(each.hits for each in told if each.key == "user:7")
    assert 0.25 * hits < of_seven < 0.75 * hits, "keys that are asked for in turn are met alike"
    assert told[-1].age > told[0].age, "how old what it shows is"


def test_where_l1_is_not_read_nothing_is_at_hand() -> None:
    assert no_l1(7) is None
