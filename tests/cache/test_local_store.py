"""The bounded store in the process: bounds, time, invalidation, and which entries are worth
keeping."""

import random
import weakref
from bisect import bisect
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from repocache.cache.local_store import LARGEST, MOST_FREQ, PATIENCE, SWEPT, LocalStore, held
from repocache.cache.shelf import Entry, LocalKey
from repocache.errors import ConfigurationError

LONG = 1000.0
ROOMY = 10_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def key(number: int) -> LocalKey:
    return ("user", number)


def room(number: int, size: int) -> int:
    return held(key(number), size)


def store_of(entries: int, clock: Clock | None = None) -> LocalStore:
    return LocalStore(entries, ROOMY, clock or Clock())


def fill(store: LocalStore, numbers: Sequence[int], ttl: float = LONG) -> None:
    for number in numbers:
        store.put(key(number), number, number % 4, ttl, 1)


def value(store: LocalStore, number: int) -> object:
    entry = store.get(key(number))
    return None if entry is None else entry.value


class RandomUse(RuleBasedStateMachine):
    """Whatever is done to it, the store is within its bounds and never returns what it must not."""

    keys = st.integers(1, 30)
    max_entries, max_bytes = 20, 12 * room(1, 4)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = LocalStore(self.max_entries, self.max_bytes, self.clock)
        self.truth: dict[int, tuple[int, float]] = {}
        self.puts = self.gets = self.told_invalidated = 0

    @rule(
        number=keys,
        size=st.integers(0, 7) | st.sampled_from([400, 1000]),
        ttl=st.sampled_from([0.0, 1.0, 5.0, 50.0]),
    )
    def put(self, number: int, size: int, ttl: float) -> None:
        self.puts += 1
        is_new = key(number) not in self.store
        self.store.put(key(number), self.puts, number % 4, ttl, size)
        if room(number, size) * LARGEST > self.max_bytes:
            self.truth.pop(number, None)
            assert key(number) not in self.store
        else:
            self.truth[number] = (self.puts, self.clock.now + ttl)
            entry = self.store.find(key(number))
            assert entry is not None or not is_new
            assert entry is None or entry.value == self.puts

    @rule(number=keys)
    def get(self, number: int) -> None:
        self.gets += 1
        entry = self.store.get(key(number))
        if entry is not None:
            latest, expires = self.truth[number]
            assert entry.value == latest
            assert expires > self.clock.now

    @rule(number=keys)
    def discard(self, number: int) -> None:
        was_here = key(number) in self.store
        assert self.store.discard(key(number)) is was_here
        self.told_invalidated += was_here
        self.truth.pop(number, None)

    @rule(bucket=st.integers(0, 3))
    def clear_bucket(self, bucket: int) -> None:
        before = len(self.store)
        self.told_invalidated += (count := self.store.clear_bucket(bucket))
        assert len(self.store) == before - count
        assert all(entry.bucket != bucket for entry in self.store.entries())
        self.truth = {number: kept for number, kept in self.truth.items() if number % 4 != bucket}

    @rule()
    def clear(self) -> None:
        before = len(self.store)
        assert self.store.clear() == before
        self.told_invalidated += before
        self.truth.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_is_within_its_bounds(self) -> None:
        assert len(self.store) <= self.max_entries
        assert self.store.bytes <= self.max_bytes

    @invariant()
    def its_numbers_add_up(self) -> None:
        stats = self.store.stats
        assert stats.entries == len(self.store) == len(self.store.entries())
        assert stats.bytes == sum(entry.size for entry in self.store.entries())
        assert stats.stored + stats.replaced + stats.refused == self.puts
        assert stats.stored == stats.entries + stats.evicted + stats.expired + stats.invalidated
        assert stats.hits + stats.misses == self.gets
        assert stats.invalidated == self.told_invalidated

    @invariant()
    def its_indexes_agree(self) -> None:
        store = self.store
        entries = store.entries()
        queued = [*store._small, *store._main]
        assert len(set(queued)) == len(queued)
        assert {each for each in queued if each.alive} == set(entries)
        cleared = {
            each for some in store._cleared for each in some.values() if isinstance(each, Entry)
        }
        assert all(each.alive or each in cleared for each in queued)
        for shelf in store._shelves.values():
            assert shelf.bytes == sum(each.size for each in shelf.entries.values())
            named = [(bucket, id) for bucket, ids in shelf.buckets.items() for id in ids]
            assert sorted(named) == sorted((e.bucket, e.id) for e in shelf.entries.values())
            assert all(shelf.buckets.values())
        assert len(store._ghosts) <= self.max_entries + SWEPT


RandomUse.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestRandomUse = RandomUse.TestCase


def test_an_entry_lives_for_its_own_ttl() -> None:
    clock = Clock()
    store = store_of(10, clock)
    store.put(key(1), "short", 0, 5.0, 1)
    store.put(key(2), "long", 0, 50.0, 1)
    clock.now = 4.9
    assert (value(store, 1), value(store, 2)) == ("short", "long")
    clock.now = 5.0
    assert (value(store, 1), value(store, 2)) == (None, "long")
    assert (len(store), store.bytes, store.stats.expired) == (1, room(2, 1), 1)


def test_putting_again_replaces_value_size_and_ttl() -> None:
    clock = Clock()
    store = store_of(10, clock)
    store.put(key(1), "old", 0, 5.0, 10)
    clock.now = 4.0
    store.put(key(1), "new", 0, 5.0, 30)
    clock.now = 8.0
    assert (value(store, 1), store.bytes, len(store)) == ("new", room(1, 30), 1)


def test_a_cached_none_is_a_hit() -> None:
    store = store_of(10)
    store.put(key(1), None, 0, LONG, 1)
    entry = store.get(key(1))
    assert entry is not None
    assert entry.value is None


def test_bytes_are_bounded_when_entries_come_and_when_they_grow() -> None:
    most = 10 * room(1, 8)
    store = LocalStore(100, most, Clock())
    for number in range(1, 21):
        store.put(key(number), number, 0, LONG, 8)
    assert (len(store), store.bytes, store.stats.evicted) == (10, most, 10)
    store.put(key(30), 30, 0, LONG, 1)
    store.put(key(30), 30, 0, LONG, 10)
    assert store.bytes <= most


def test_one_too_large_is_refused_and_takes_the_outdated_one_along() -> None:
    store = LocalStore(10, LARGEST * room(1, 10), Clock())
    store.put(key(1), "old", 0, LONG, 10)
    store.put(key(1), "new", 0, LONG, 11)
    assert value(store, 1) is None
    assert (store.refused, store.bytes, len(store)) == (1, 0, 0)


def test_expired_entries_make_room_before_living_ones() -> None:
    clock = Clock()
    store = store_of(100, clock)
    fill(store, range(100), ttl=1.0)
    for number in range(100):
        store.get(key(number))
    fill(store, range(100, 150))  # now half of the first are in the main queue
    clock.now = 2.0
    fill(store, range(150, 200))
    assert store.stats.evicted == 50
    assert all(value(store, number) == number for number in range(150, 200))


def test_memory_is_bounded_though_nobody_reads() -> None:
    clock = Clock()
    store = LocalStore(100, ROOMY, clock)
    for number in range(5000):
        clock.now += 1
        fill(store, [number], ttl=5.0)
    assert len(store) == 100
    assert len(store._ghosts) <= 100


def test_a_discarded_key_that_is_put_again_and_again_leaves_nothing_behind() -> None:
    store = store_of(100)
    for _ in range(1000):
        fill(store, [1])
        store.discard(key(1))
    assert (
        len(store._small),
        len(store._main),
        len(store._ghosts),
        store.shelf("user").buckets,
    ) == (
        0,
        0,
        0,
        {},
    )


def test_clearing_a_bucket_looks_at_no_other_entries() -> None:
    class Spy(int):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Spy.compared += 1
            return super().__eq__(other)

        __hash__ = int.__hash__

    store = store_of(5000)
    for number in range(4000):
        store.put(("user", Spy(number)), None, 1, LONG, 1)
    store.put(("user", Spy(-1)), None, 2, LONG, 1)
    store.put(("order", Spy(-1)), None, 2, LONG, 1)
    Spy.compared = 0
    assert store.clear_bucket(2) == 2
    assert Spy.compared <= 20
    assert len(store) == 4000


def test_clearing_an_owner_leaves_the_others() -> None:
    store = store_of(100)
    fill(store, range(8))
    for number in range(8):
        store.put(("order", number), number, number % 4, LONG, 1)
    assert store.clear_owner("user") == 8
    assert {each.key for each in store.entries()} == {("order", number) for number in range(8)}
    assert store.bytes == sum(held(("order", number), 1) for number in range(8))
    assert store.clear_owner("user") == 0
    assert store.stats.invalidated == 8


def test_what_was_cleared_goes_bit_by_bit() -> None:
    """To let go of many at once would stop the event loop."""
    store, kept = store_of(2000), []
    for number in range(1000):
        store.put(key(number), Clock(), number % 4, LONG, 1)
        kept.append(weakref.ref(value(store, number)))
    assert store.clear_owner("user") == 1000
    assert (len(store), store.bytes) == (0, 0)
    assert value(store, 7) is None
    gone = [sum(each() is None for each in kept)]
    for number in range(2000, 2100):
        store.put(("order", number), number, 0, LONG, 1)
        gone.append(sum(each() is None for each in kept))
    assert all(0 <= after - before <= SWEPT for before, after in pairwise(gone))
    assert (gone[0], gone[-1]) == (0, 1000)
    assert len(store) == 100


def test_clearing_what_is_empty_leaves_nothing_behind() -> None:
    """As messages do that come while nothing is read."""
    store = store_of(100)
    fill(store, range(8))
    for _ in range(1000):
        store.clear_owner("user")
        store.clear()
    assert len(store._cleared) <= 3
    fill(store, range(2))
    store.discard(key(1))
    assert store._cleared == []


def test_what_was_cleared_makes_no_room() -> None:
    """1. An owner is cleared; 2. others come until the store is full: they are evicted, and not
    those that are there no more."""
    store = store_of(100)
    fill(store, range(90))
    store.clear_owner("user")
    for number in range(150):
        store.put(("order", number), number, 0, LONG, 1)
    assert len(store) == 100
    assert store.stats.evicted == 50
    assert all(entry.alive for entry in store.entries())


def test_one_put_does_a_bounded_amount_of_work_even_if_everything_is_popular() -> None:
    store = store_of(2000)
    fill(store, range(2000))
    for _ in range(MOST_FREQ):
        for number in range(2000):
            store.get(key(number))
    before = sum(entry.freq for entry in store.entries())
    fill(store, [2000])
    after = sum(entry.freq for entry in store.entries())
    assert before - after <= (PATIENCE + 1) * MOST_FREQ
    assert (len(store), value(store, 2000)) == (2000, 2000)


@pytest.mark.parametrize(
    "max_entries, max_bytes, named", [(0, 1, "max_entries"), (1, 0, "max_bytes")]
)
def test_a_bound_that_holds_nothing_is_refused_by_name(
    max_entries: int, max_bytes: int, named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        LocalStore(max_entries, max_bytes, Clock())


# Which entries are kept: hit rates of whole traces, as a ratio to a plain LRU of the same size.

KEYS, REQUESTS, CAPACITY = 10_000, 60_000, 1_000


def zipf() -> list[int]:
    weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(KEYS)))
    draw = random.Random(7).random
    return [bisect(weights, draw() * weights[-1]) for _ in range(REQUESTS)]


def lru_hits(trace: Sequence[int], ttl: float) -> int:
    expires: OrderedDict[int, float] = OrderedDict()
    hits = 0
    for now, number in enumerate(trace):
        if expires.get(number, 0.0) > now:
            hits += 1
        else:
            expires[number] = now + ttl
        expires.move_to_end(number)
        if len(expires) > CAPACITY:
            expires.popitem(last=False)
    return hits


def ratio_to_lru(trace: Sequence[int], ttl: float = REQUESTS * 2.0) -> float:
    clock = Clock()
    store = store_of(CAPACITY, clock)
    for now, number in enumerate(trace):
        clock.now = now
        if store.get(key(number)) is None:
            fill(store, [number], ttl)
    return store.stats.hits / lru_hits(trace, ttl)


def test_it_keeps_the_popular_better_than_lru() -> None:
    assert ratio_to_lru(zipf()) > 1.08


def test_it_follows_popularity_that_drifts() -> None:
    assert ratio_to_lru([(number + at // 50) % KEYS for at, number in enumerate(zipf())]) > 1.04


def test_it_follows_popularity_that_changes_at_once() -> None:
    assert (
        ratio_to_lru([(number + at // 20_000 * 1500) % KEYS for at, number in enumerate(zipf())])
        > 1.0
    )


def test_a_scan_passes_through() -> None:
    scanned = [
        KEYS + at if at % 2 and at // 6_000 % 3 == 2 else number for at, number in enumerate(zipf())
    ]
    assert ratio_to_lru(scanned) > 1.12


@pytest.mark.parametrize("ttl", [500.0, 2_000.0, 5_000.0])
def test_what_expires_and_returns_is_still_known_to_be_popular(ttl: float) -> None:
    assert ratio_to_lru(zipf(), ttl) > 0.995
