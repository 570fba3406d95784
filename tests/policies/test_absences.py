"""Unknown ids in any number: what L1 and Redis keep of them is bounded, and rows stay where they
are."""

from __future__ import annotations

import time

from repocache import CacheAside, Settings
from repocache.cache.absences import MOST, Absences
from repocache.cache.entry import CachedRow
from repocache.cache.local_store import LocalStore
from repocache.testing import Endpoints, Servers
from tests.policies.aged import opened, users_under
from tests.policies.kinds import ended, keys_of
from tests.shop import QUICK

FEW = 300


async def test_what_is_kept_of_unknown_ids_is_bounded_in_both_tiers(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    users = users_under(CacheAside(ttl=300, local_ttl=60, negative_ttl=60))
    settings = Settings(topology=QUICK, local_entries=500)
    async with opened(repocache_endpoints, users, settings) as shop:
        shared = shop.db._started.cache.shared
        values = shop.db[users]._access._cache._values  # type: ignore[attr-defined]
        values.absences = Absences(60, time.monotonic, FEW)
        for _ in range(3):
            assert len(await shop.db[users].get_many(list(range(1, 21)))) == 20
        sizes = []
        for start in range(1_000, 21_000, 2_000):
            assert await shop.db[users].get_many(list(range(start, start + 2_000))) == {}
            await ended(shop)
            sizes.append((len(keys_of(repocache_servers, "aged")), len(shared.local)))
        assert {keys for keys, _ in sizes} == {FEW + 20}
        assert max(entries for _, entries in sizes) <= 500
        assert len(shared.inflight) == 0
        assert all(shop.db[users]._peek(id) is not None for id in range(1, 21))


def test_a_million_of_them_leave_the_process_as_it_is() -> None:
    store = LocalStore(1_000, 10_000_000, lambda: 0.0)
    for id in range(20):
        store.put(("user", id), CachedRow((id,)), 1, 60.0, 10)
        assert store.get(("user", id))
    sizes = set()
    for id in range(1_000, 1_001_000):
        store.put(("user", id), CachedRow(None), id % 1_024, 60.0, 0)
        if id % 100_000 == 0:
            sizes.add((len(store), store.bytes, len(store._ghosts)))
    assert len(store) == 1_000
    assert len(sizes) <= 2  # the first look comes before it is full
    assert all(store.get(("user", id)) for id in range(20))


def test_each_time_so_many_are_admitted() -> None:
    now = 0.0
    absences = Absences(5.0, lambda: now, 3)
    assert [absences.admits() for _ in range(5)] == [True, True, True, False, False]
    now = 4.9
    assert not absences.admits()
    now = 5.0
    assert [absences.admits() for _ in range(4)] == [True, True, True, False]
    assert MOST == 10_000
