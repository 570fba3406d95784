"""Computed values where servers are away or behind, and where callers give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import select

from repocache import (
    CacheAside,
    DatabaseUnavailable,
    KeyOwner,
    Reader,
    ReadThrough,
)
from repocache.cache.entry import RowRequest
from repocache.computed.key import KeyText
from repocache.computed.loading import Loading
from repocache.errors import NotStarted
from repocache.events import PublishFailed
from repocache.testing import Endpoints, Servers
from tests.cached.library import Authors, Book, Books, open_library
from tests.shop import Shop, until

CALLS: list[list[int]] = []


class Gate:
    """Of the test that runs: each has a loop of its own."""

    event: asyncio.Event


class Titles(ReadThrough[int, tuple[str, ...]]):
    """Of an author. Author 4 waits for the gate; author 0 has none, and fails."""

    owner = KeyOwner("titles")
    policy = CacheAside(ttl=300, local_ttl=60)
    together = 4

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, tuple[str, ...]]:
        CALLS.append(list(keys))
        if 4 in keys:
            await Gate.event.wait()
        if 0 in keys:
            raise LookupError("author 0")
        found = {}
        for key in keys:
            read = select(Book.title).where(Book.author_id == key).order_by(Book.title)
            found[key] = tuple(title for (title,) in await reader.execute(read))
        return found


class Noted(ReadThrough[int, int]):
    """Of a tag that is named for the first time: the value is kept nowhere."""

    owner = KeyOwner("noted")

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, int]:
        CALLS.append(list(keys))
        reader.depends_on(f"note{len(CALLS)}")
        await Gate.event.wait()
        return dict.fromkeys(keys, len(CALLS))


ALL = (Authors, Books, Titles, Noted)


@pytest.fixture
async def library(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    CALLS.clear()
    Gate.event = asyncio.Event()
    async with open_library(repocache_endpoints, repositories=ALL) as shop:
        yield shop
        Gate.event.set()


@pytest.fixture
async def other(repocache_endpoints: Endpoints, library: Shop) -> AsyncIterator[Shop]:
    async with open_library(repocache_endpoints, repositories=ALL) as shop:
        yield shop


async def rename(shop: Shop, title: str) -> Any:
    async with shop.db.unit_of_work() as work:
        (await work[Books].require(11)).title = title
        return await work.commit()


async def kept(shop: Shop, key: int) -> tuple[str, ...] | None:
    """Read until `load` is not called for it."""
    found: tuple[str, ...] | None = None

    async def again() -> bool:
        nonlocal found
        before = len(CALLS)
        found = await shop.db[Titles].get(key)
        return len(CALLS) == before

    await until(again, "the value is kept")
    return found


async def test_without_redis_a_read_computes_once_and_tells_nobody(
    library: Shop, repocache_controls: Servers
) -> None:
    await kept(library, 1)
    await asyncio.to_thread(repocache_controls.redis.kill)
    await until(lambda: not library.db._started.cache.shared.views.alive, "Redis is missed")
    before, told = len(CALLS), len(library.seen.of(PublishFailed))
    for _ in range(5):
        assert await library.db[Titles].get(1) == ("a1", "b1")
    assert len(CALLS) == before + 5
    await asyncio.gather(*(library.db[Titles].get(2) for _ in range(50)))
    assert len(CALLS) == before + 6, "callers of one moment share it still"
    assert len(library.seen.of(PublishFailed)) == told
    assert not library.db._started.cache.retry._waiting
    async with library.db.causal_session(None):
        await rename(library, "z1")
        assert await library.db[Titles].get(1) == ("b1", "z1")


async def test_past_the_caches_a_read_computes_once(library: Shop) -> None:
    await kept(library, 1)
    before = len(CALLS)
    with library.db.bypass():
        assert await library.db[Titles].get(1) == ("a1", "b1")
    assert len(CALLS) == before + 1
    assert await library.db[Titles].get(1) == ("a1", "b1")
    assert len(CALLS) == before + 1, "what was kept is kept"


async def test_a_process_that_only_read_computes_once_after_a_write(
    library: Shop, other: Shop
) -> None:
    """It has registered nothing: which shapes the value depends on is told with its tags."""
    await kept(library, 1)
    await other.db[Titles].get(1)
    bookmark = await rename(library, "z1")
    async with other.db.causal_session(bookmark):
        before = len(CALLS)
        assert await other.db[Titles].get(1) == ("b1", "z1")
        assert len(CALLS) == before + 1
        assert await kept(other, 1) == ("b1", "z1")
    assert len(CALLS) <= before + 2


async def test_replicas_that_are_behind_compute_nothing_old(
    library: Shop, other: Shop, repocache_controls: Servers
) -> None:
    await kept(other, 1)
    for each in repocache_controls.replicas:
        await asyncio.to_thread(each.pause_replay)
    await rename(library, "z1")

    async def is_new() -> bool:
        return await other.db[Titles].get(1) == ("b1", "z1")

    await until(is_new, "the message has come")
    for each in repocache_controls.replicas:
        await asyncio.to_thread(each.resume_replay)
    for shop in (library, other):
        assert await shop.db[Titles].get(1) == ("b1", "z1")


async def test_two_processes_that_miss_at_once_compute_once(library: Shop, other: Shop) -> None:
    for shop in (library, other):
        await kept(shop, 1)  # the shape is known, and a new one would cost a miss
    before = len(CALLS)
    await asyncio.gather(*(shop.db[Titles].get(3) for _ in range(20) for shop in (library, other)))
    assert len(CALLS) == before + 1


async def test_a_caller_who_gives_up_takes_nobody_with_him(library: Shop) -> None:
    first = asyncio.create_task(library.db[Titles].get(4))
    await until(lambda: CALLS == [[4]], "it loads")
    second = asyncio.create_task(library.db[Titles].get(4))
    await asyncio.sleep(0)
    first.cancel()
    Gate.event.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == ("a4", "b4")
    assert CALLS == [[4]]


async def test_a_database_that_is_left_leaves_no_caller_waiting(
    repocache_endpoints: Endpoints,
) -> None:
    CALLS.clear()
    Gate.event = asyncio.Event()
    async with open_library(repocache_endpoints, repositories=ALL) as shop:
        reading = asyncio.create_task(shop.db[Titles].get(4))
        await until(lambda: CALLS == [[4]], "it loads")
        titles = shop.db[Titles]
    with pytest.raises((DatabaseUnavailable, NotStarted)):
        async with asyncio.timeout(10):
            await reading
    with pytest.raises((DatabaseUnavailable, NotStarted)):
        async with asyncio.timeout(10):
            await titles.get(3)


async def test_a_load_that_cannot_begin_is_an_error_of_its_callers() -> None:
    def closed(run: Coroutine[Any, Any, None]) -> object:
        run.close()
        raise NotStarted

    nobody: Any = None
    loading = Loading(Titles.uncalled(), nobody, closed)
    text = KeyText("titles:1")
    text.key = 1
    with pytest.raises(NotStarted):
        async with asyncio.timeout(5):
            await loading.compute(text, RowRequest(text, 0, "", None))


async def test_keys_of_one_call_are_bounded_and_one_that_fails_is_alone(library: Shop) -> None:
    found = await library.db[Titles].get_many([1, 2, 3, 5, 6, 7])
    assert list(found) == [1, 2, 3, 5, 6, 7]
    assert [len(call) for call in CALLS] == [4, 2]
    CALLS.clear()
    results = await asyncio.gather(
        *(library.db[Titles].get(key) for key in (0, 8, 9)), return_exceptions=True
    )
    assert isinstance(results[0], LookupError)
    assert results[1:] == [(), ()]


async def test_a_session_takes_no_value_of_another_that_has_no_tokens(library: Shop) -> None:
    """It could not tell whether the value shows what it wrote: without a session it is enough that
    the load was under way."""
    bookmark = await rename(library, "z1")
    text = bookmark.encode()

    async def in_a_session() -> int | None:
        async with library.db.causal_session(text):
            return await library.db[Noted].get(1)

    first = asyncio.create_task(in_a_session())
    await until(lambda: CALLS == [[1]], "it loads")
    others = [asyncio.create_task(in_a_session())]
    others.append(asyncio.create_task(library.db[Noted].get(1)))
    await asyncio.sleep(0.05)
    Gate.event.set()
    values = await asyncio.gather(first, *others)
    assert values[0] == values[2] != values[1]
    assert len(CALLS) == 2
