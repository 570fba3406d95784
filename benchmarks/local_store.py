"""L1 beside cachetools: nanoseconds an operation in interleaved rounds, hit rates, bytes an entry.

    python3 dev.py benchmark local_store

Each contestant is read through an `async def get`, as a caller would. `inlined` is the read path's
way: what `LocalStore.get` does, without the call. Medians over the rounds, with the quartiles;
`ratio` is to TTLCache.
"""

import asyncio
import random
import statistics
import time
import tracemalloc
from bisect import bisect
from collections.abc import Awaitable, Callable
from itertools import accumulate

import cachetools

from repocache.cache.local_store import ENTRY, MOST_FREQ, LocalStore
from repocache.cache.shelf import LocalKey

ROUNDS = 31
READS = 20_000
CAPACITY = 10_000
KEYS = 100_000
REQUESTS = 400_000
TTL = 3600.0
SIZE = 100

Get = Callable[[LocalKey], Awaitable[object]]
Put = Callable[[LocalKey, object], None]


def our_store() -> LocalStore:
    return LocalStore(CAPACITY, CAPACITY * (ENTRY + SIZE), time.monotonic)


def ours() -> tuple[Get, Put]:
    store = our_store()

    async def get(key: LocalKey) -> object:
        entry = store.get(key)
        return None if entry is None else entry.value

    return get, lambda key, value: store.put(key, value, hash(key) & 1023, TTL, SIZE)


def inlined() -> tuple[Get, Put]:
    store = our_store()
    shelf, clock = store.shelf("user"), time.monotonic

    async def get(key: LocalKey) -> object:
        entry = shelf.entries.get(key[1])
        if entry is not None and entry.expires > clock():
            if entry.freq < MOST_FREQ:
                entry.freq += 1
            shelf.count.hits += 1
            return entry.value
        return None if (entry := store.get(key)) is None else entry.value

    return get, lambda key, value: store.put(key, value, hash(key) & 1023, TTL, SIZE)


def of_cachetools(cache: "cachetools.Cache[LocalKey, object]") -> tuple[Get, Put]:
    async def get(key: LocalKey) -> object:
        try:  # faster than `cache.get`, which looks twice
            return cache[key]
        except KeyError:
            return None

    def put(key: LocalKey, value: object) -> None:
        cache[key] = value

    return get, put


def ttl_cache() -> tuple[Get, Put]:
    return of_cachetools(cachetools.TTLCache(CAPACITY, TTL, time.monotonic))


def tlru_cache() -> tuple[Get, Put]:
    return of_cachetools(
        cachetools.TLRUCache(CAPACITY, lambda _key, _value, now: now + TTL, time.monotonic)
    )


def lru_cache() -> tuple[Get, Put]:
    return of_cachetools(cachetools.LRUCache(CAPACITY))


CONTESTANTS: dict[str, Callable[[], tuple[Get, Put]]] = {
    "cachetools TTLCache": ttl_cache,
    "cachetools TLRUCache": tlru_cache,
    "cachetools LRUCache (no TTL)": lru_cache,
    "LocalStore.get": ours,
    "LocalStore inlined": inlined,
}


def zipf(count: int, keys: int, seed: int) -> list[int]:
    weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(keys)))
    draw = random.Random(seed).random
    return [bisect(weights, draw() * weights[-1]) for _ in range(count)]


async def time_reads(get: Get, keys: list[LocalKey]) -> float:
    begin = time.perf_counter_ns()
    for key in keys:
        await get(key)
    return (time.perf_counter_ns() - begin) / len(keys)


def time_writes(put: Put, keys: list[LocalKey]) -> float:
    begin = time.perf_counter_ns()
    for key in keys:
        put(key, None)
    return (time.perf_counter_ns() - begin) / len(keys)


async def hit_rate(contestant: Callable[[], tuple[Get, Put]], trace: list[int]) -> float:
    get, put = contestant()
    hits = 0
    for number in trace:
        key = ("user", number)
        if await get(key) is None:
            put(key, number + 1)
        else:
            hits += 1
    return hits / len(trace)


def bytes_an_entry(contestant: Callable[[], tuple[Get, Put]]) -> float:
    keys = [("user", number) for number in range(2 * CAPACITY)]
    tracemalloc.start()
    kept = contestant()
    for key in keys:
        kept[1](key, None)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return used / CAPACITY


async def main() -> None:
    hot: list[LocalKey] = [("user", number) for number in zipf(READS, CAPACITY // 2, 1)]
    cold: list[LocalKey] = [("user", number) for number in range(CAPACITY, CAPACITY + READS)]
    reads: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    writes: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    pairs = {name: make() for name, make in CONTESTANTS.items()}
    for _ in range(ROUNDS):
        for name, (get, put) in pairs.items():
            for key in hot:
                put(key, 1)
            reads[name].append(await time_reads(get, hot))
            writes[name].append(time_writes(put, cold))

    print(
        f"{'':30}{'get ns':>8} {'quartiles':>13}{'ratio':>7}{'put ns':>8} "
        f"{'quartiles':>13}{'ratio':>7}{'B/entry':>9}"
    )
    for name, contestant in CONTESTANTS.items():
        row = f"{name:30}"
        for timings in (reads, writes):
            low, middle, high = statistics.quantiles(timings[name], n=4)
            ratio = middle / statistics.median(timings["cachetools TTLCache"])
            row += f"{middle:8.0f} {low:6.0f}-{high:<6.0f}{ratio:7.2f}"
        print(f"{row}{bytes_an_entry(contestant):9.0f}")

    static = zipf(REQUESTS, KEYS, 2)
    drifting = [(key + at // 100) % KEYS for at, key in enumerate(static)]
    shifting = [(key + at // (REQUESTS // 4) * KEYS // 7) % KEYS for at, key in enumerate(static)]
    scanned = [
        KEYS + at if at % 2 and at // 40_000 % 3 == 2 else key for at, key in enumerate(static)
    ]
    print(f"\n{'hit rate':30}{'Zipf 0.9':>10}{'drifting':>10}{'shifting':>10}{'scanned':>10}")
    for name in ("cachetools TTLCache", "cachetools LRUCache (no TTL)", "LocalStore.get"):
        rates = [
            await hit_rate(CONTESTANTS[name], trace)
            for trace in (static, drifting, shifting, scanned)
        ]
        print(f"{name:30}" + "".join(f"{rate:10.3f}" for rate in rates))


if __name__ == "__main__":
    asyncio.run(main())
