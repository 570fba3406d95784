"""Computed values past their time, and loaders that say that nothing has changed, on real
servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import pytest
from sqlalchemy import select

from repocache import (
    CacheAside,
    ConfigurationError,
    DatabaseUnavailable,
    Freshness,
    KeyOwner,
    Reader,
    ReadThrough,
    WriteThrough,
)
from repocache.cache.entry import RowRequest
from repocache.cache.policies import Policy
from repocache.computed.entry import value_id
from repocache.computed.key import KeyText
from repocache.events import CacheFailed, Filled, Served
from repocache.testing import Endpoints, Servers, memory
from tests.cached.aged import age, behind_a_door, held, lives
from tests.cached.library import Author, Authors, Book, Books, open_library
from tests.policies.aged import lose
from tests.policies.kinds import ended
from tests.shop import Shop, until

TTL, STALE, ASIDE = 1_000.0, 2_000.0, 4_000.0
FRESH = Freshness(stale_while_revalidate=STALE, fail_safe=ASIDE)
POLICY = CacheAside(ttl=TTL, local_ttl=0, negative_ttl=30, jitter=0, freshness=FRESH)
PAST = STALE + ASIDE - 1


class World:
    """Of the test that runs. `rates`: what is elsewhere."""

    rates: dict[int, int]
    loaded: list[list[int]]
    asked: list[dict[int, Any]]
    gate: asyncio.Event
    reads: str


class Priced(msgspec.Struct, frozen=True):
    titles: tuple[str, ...]
    rate: int


async def titles_of(key: int, reader: Reader) -> tuple[str, ...]:
    read = select(Book.title).where(Book.author_id == key).order_by(Book.title)
    return tuple(title for (title,) in await reader.execute(read))


async def priced(keys: Sequence[int], reader: Reader) -> Mapping[int, Priced]:
    World.loaded.append(list(keys))
    return {key: Priced(await titles_of(key, reader), World.rates.get(key, 0)) for key in keys}


class Plain(ReadThrough[int, Priced]):
    owner = KeyOwner("plain")
    policy: ClassVar[Policy] = POLICY

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, Priced]:
        return await priced(keys, reader)


class Asked(ReadThrough[int, Priced]):
    """Says what has changed elsewhere; reads what the test wants, after the gate."""

    owner = KeyOwner("asked")
    policy = POLICY

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, Priced]:
        return await priced(keys, reader)

    async def refresh(self, kept: Mapping[int, Priced], reader: Reader) -> Mapping[int, Priced]:
        World.asked.append(dict(kept))
        await World.gate.wait()
        found: dict[int, Priced] = {}
        for key, value in kept.items():
            rate = World.rates.get(key, 0)
            if World.reads == "titles":
                await titles_of(key, reader)
            if World.reads == "city":
                await reader.execute(select(Author.city).where(Author.id == key))
            if World.reads == "error":
                raise LookupError("the rates are away")
            if rate == value.rate:
                found[key] = value
            elif rate < 100:
                found[key] = Priced(value.titles, rate)
        return found


class Early(Plain):
    owner = KeyOwner("early")
    policy = CacheAside(ttl=TTL, local_ttl=0, jitter=0, freshness=Freshness(refresh_early=True))


class Timed(Plain):
    owner = KeyOwner("timed")
    policy = CacheAside(
        ttl=TTL,
        local_ttl=0,
        jitter=0,
        freshness=Freshness(fail_safe=ASIDE, soft_timeout=0.05, hard_timeout=0.5),
    )


def life_of(value: Priced) -> float:
    return float(value.rate)


class Brief(Plain):
    owner = KeyOwner("brief")
    policy = CacheAside(ttl=TTL, jitter=0, freshness=Freshness(ttl_of=life_of))


def named(each: type[Any]) -> None:
    """Its key and value are those of the class that it derives from."""
    each.__orig_bases__ = Plain.__orig_bases__  # type: ignore[attr-defined]


for each in (Early, Timed, Brief):
    named(each)

ALL = (Authors, Books, Plain, Asked, Early, Timed, Brief)


@pytest.fixture(autouse=True)
def world() -> None:
    World.rates, World.loaded, World.asked = {}, [], []
    World.gate, World.reads = asyncio.Event(), ""
    World.gate.set()


@pytest.fixture
async def library(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    async with open_library(repocache_endpoints, repositories=ALL) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, library: Shop) -> AsyncIterator[Shop]:
    async with open_library(repocache_endpoints, repositories=ALL) as shop:
        yield shop


async def kept(shop: Shop, values: type[ReadThrough[int, Priced]], key: int = 1) -> Priced:
    """Read until `load` is not called for it."""
    found: Priced | None = None

    async def again() -> bool:
        nonlocal found
        before = len(World.loaded)
        found = await shop.db[values].get(key)
        await ended(shop)
        return len(World.loaded) == before

    await until(again, "the value is kept")
    assert found is not None
    World.loaded.clear()
    return found


async def rename(shop: Shop, title: str) -> Any:
    async with shop.db.unit_of_work() as work:
        (await work[Books].require(11)).title = title
        return await work.commit()


async def test_a_value_past_its_ttl_is_given_at_once_and_computed_behind(
    library: Shop, repocache_servers: Servers
) -> None:
    await kept(library, Plain)
    assert TTL + STALE < lives(repocache_servers, "plain-loaded") <= TTL + STALE + ASIDE
    World.rates[1] = 7
    assert (await library.db[Plain].require(1)).rate == 0
    assert World.loaded == []
    age(repocache_servers, "plain-loaded", PAST)
    assert (await library.db[Plain].require(1)).rate == 0
    await ended(library)
    assert World.loaded == [[1]]
    assert (await library.db[Plain].require(1)).rate == 7
    assert World.loaded == [[1]]
    assert lives(repocache_servers, "plain-loaded") > TTL + STALE


async def test_what_says_where_a_value_lies_lives_as_long(
    library: Shop, repocache_servers: Servers
) -> None:
    """Without its hint, and without its tokens, who reads would wait for the load."""
    await kept(library, Plain)
    assert lives(repocache_servers, "plain") > TTL + STALE + ASIDE
    tokens = "tag--books"
    before = held(repocache_servers, tokens)
    for owner, left in (("plain-loaded", PAST), ("plain", 600.0), (tokens, 600.0)):
        age(repocache_servers, owner, left)
    library.db._started.cache.shared.local.clear()
    await library.db[Plain].require(1)
    await ended(library)
    assert World.loaded == [[1]]
    assert lives(repocache_servers, "plain") > TTL + STALE + ASIDE
    assert lives(repocache_servers, tokens) > TTL + STALE + ASIDE
    assert held(repocache_servers, tokens) == before


async def test_a_loader_that_finds_nothing_changed_computes_nothing(
    library: Shop, other: Shop, repocache_servers: Servers
) -> None:
    found = await kept(library, Asked)
    before = held(repocache_servers, "asked-loaded")
    for _ in range(3):
        age(repocache_servers, "asked-loaded", PAST)
        assert await other.db[Asked].get(1) == found
        await ended(other)
        assert World.asked.pop() == {1: found}
        assert lives(repocache_servers, "asked-loaded") > TTL + STALE
    assert (World.loaded, World.asked) == ([], [])
    assert held(repocache_servers, "asked-loaded") == before
    filled = [each for each in other.seen.of(Filled) if each.owner == "asked-loaded"]
    assert [(each.landed, each.size) for each in filled] == [(True, 0)] * 3, "nothing was written"
    await rename(library, "z1")
    async with library.db.causal_session():
        assert (await library.db[Asked].require(1)).titles == ("b1", "z1")
    assert World.asked == []


async def test_it_gives_new_values_and_what_it_leaves_out_is_loaded(
    library: Shop, repocache_servers: Servers
) -> None:
    await kept(library, Asked)
    for rate, loads in ((7, []), (700, [[1]])):
        World.rates[1] = rate
        age(repocache_servers, "asked-loaded", PAST)
        await library.db[Asked].require(1)
        await ended(library)
        assert (await library.db[Asked].require(1)).rate == rate
        assert World.loaded == loads


async def test_what_it_has_read_a_value_depends_on_from_now_on(
    library: Shop, other: Shop, repocache_servers: Servers
) -> None:
    await kept(library, Asked)
    World.reads = "city"
    age(repocache_servers, "asked-loaded", PAST)
    await library.db[Asked].require(1)
    await ended(library)
    assert (World.loaded, len(World.asked)) == ([], 1)
    await until(lambda: "authors" in str(held(repocache_servers, "asked")), "the hint says so")
    async with library.db.unit_of_work() as work:
        (await work[Authors].require(1)).city = "Ulm"
        bookmark = await work.commit()
    async with other.db.causal_session(bookmark):
        await other.db[Asked].require(1)
    assert World.loaded == [[1]]


async def test_it_may_read_more_than_the_loader_and_nothing_is_computed_for_it(
    library: Shop, repocache_servers: Servers
) -> None:
    """The value lies under another name then, which the next hint says."""
    await kept(library, Asked)
    World.reads = "city"
    age(repocache_servers, "asked-loaded", PAST)
    await library.db[Asked].require(1)
    await ended(library)
    await until(lambda: "authors" in str(held(repocache_servers, "asked")), "the hint says so")
    for _ in range(3):
        await library.db[Asked].require(1)
        await ended(library)
    assert World.loaded == []


@pytest.mark.parametrize("reads", ["", "titles", "city"])
async def test_an_invalidation_that_comes_meanwhile_wins(
    library: Shop, other: Shop, repocache_servers: Servers, reads: str
) -> None:
    """1. It is asked; 2. a row is written that the value was computed of; 3. it reads, or does not,
    and says that nothing has changed."""
    await kept(library, Asked)
    World.reads = reads
    World.gate.clear()
    age(repocache_servers, "asked-loaded", PAST)
    await library.db[Asked].require(1)
    await until(lambda: bool(World.asked), "it is asked")
    bookmark = await rename(other, "z1")
    World.gate.set()
    await ended(library)
    for shop in (library, other):
        async with shop.db.causal_session(bookmark):
            assert (await shop.db[Asked].require(1)).titles == ("b1", "z1")
        assert (await shop.db[Asked].require(1)).titles == ("b1", "z1")


async def test_what_was_invalidated_is_never_given_to_it(library: Shop) -> None:
    """Its tokens are looked at once more before it is asked."""
    value = await kept(library, Asked)
    found: Any = library.db[Asked]._found
    hint = (await found._hints.read_past_l1(found._text(1), None)).row
    shapes = dict(hint.tags)
    tokens = await found._tokens_of(shapes, None)
    await rename(library, "z1")
    text = KeyText("asked:1")
    text.key = 1
    old = value_id(text, tokens, shapes)
    want = RowRequest(old, 0, "", None, fills=False, kept=(str(old), value))
    async with library.db.causal_session():
        await found._values._loader._source.load([want])
    assert (World.asked, World.loaded) == ([], [[1]])


async def test_an_error_of_it_is_told_and_what_is_kept_is_given(
    library: Shop, repocache_servers: Servers
) -> None:
    found = await kept(library, Asked)
    World.reads = "error"
    age(repocache_servers, "asked-loaded", PAST)
    for _ in range(3):
        assert await library.db[Asked].get(1) == found
        await ended(library)
    told = [event for event in library.seen.of(CacheFailed) if event.what == "renew"]
    assert told[0].why.startswith("LookupError")
    assert len(World.asked) == 1, "its lease stays: it is not asked by every read"


async def test_hot_values_are_computed_early(library: Shop, repocache_servers: Servers) -> None:
    await kept(library, Early)
    found: Any = library.db[Early]._found
    renewals = found._values._renewals
    renewals._seconds, renewals.draw = 60.0, lambda: 0.9
    age(repocache_servers, "early-loaded", 60)
    await library.db[Early].require(1)
    await ended(library)
    assert World.loaded == [[1]]
    assert lives(repocache_servers, "early-loaded") > 60


async def test_a_value_long_past_its_time_is_given_while_the_database_is_away(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with behind_a_door(repocache_endpoints, ALL) as (shop, door):
        found = await kept(shop, Plain)
        age(repocache_servers, "plain-loaded", ASIDE - 1)
        await lose(door)
        shop.seen.clear()
        async with shop.db.causal_session() as session:
            assert await shop.db[Plain].get(1) == found
            assert len(session.stale) == 1
        assert [event.tier for event in shop.seen.of(Served)][-1] == "aside"


async def test_what_an_invalidation_took_away_is_given_to_nobody(
    repocache_endpoints: Endpoints,
) -> None:
    async with behind_a_door(repocache_endpoints, ALL) as (shop, door):
        await kept(shop, Plain)
        await rename(shop, "z1")
        await lose(door)
        with pytest.raises(DatabaseUnavailable):
            await shop.db[Plain].get(1)


async def test_who_has_waited_is_given_what_is_kept_or_the_error(
    repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    async with behind_a_door(repocache_endpoints, ALL) as (shop, door):
        found = await kept(shop, Timed)
        age(repocache_servers, "timed-loaded", ASIDE - 1)
        door.freeze()
        async with asyncio.timeout(10):
            assert await shop.db[Timed].get(1) == found
            with pytest.raises(DatabaseUnavailable, match="in time"):
                await shop.db[Timed].get(2)
        await lose(door)


async def test_a_ttl_by_value(library: Shop, repocache_servers: Servers) -> None:
    World.rates[1] = 50
    await kept(library, Brief)
    assert 0 < lives(repocache_servers, "brief-loaded") <= 50


async def test_what_nothing_is_kept_for_is_refused() -> None:
    class Never(Asked):
        policy = CacheAside(ttl=60)

    class Stored(Plain):
        policy = WriteThrough()

    refused: list[tuple[type[Any], str]] = [
        (Never, "stale_while_revalidate"),
        (Stored, "CacheAside"),
    ]
    for declared, why in refused:
        named(declared)
        with pytest.raises(ConfigurationError, match=why):
            async with memory([Authors, declared]):
                pass


async def test_what_it_confirmed_is_not_found_again_under_its_old_name(
    library: Shop, repocache_servers: Servers
) -> None:
    """1. A value of the books is confirmed by a city; 2. the city changes; 3. the value is loaded,
    which reads the books alone: the old one lay under the name that it has then."""
    await kept(library, Asked)
    World.reads = "city"
    age(repocache_servers, "asked-loaded", PAST)
    await library.db[Asked].require(1)
    await until(lambda: "authors" in str(held(repocache_servers, "asked")), "the hint says so")
    World.rates[1], World.reads = 9, ""
    async with library.db.unit_of_work() as work:
        (await work[Authors].require(1)).city = "Ulm"
        await work.commit()
    for _ in range(4):
        assert (await library.db[Asked].require(1)).rate == 9
        await ended(library)
