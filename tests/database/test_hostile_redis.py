"""Somebody else writes in Redis, or sends ids of any length: what is signed is believed, and memory
stays bounded."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio as redis_client

from repocache import ConfigurationError, Settings
from repocache.events import CacheFailed, Filled, Served, ValueRefused
from repocache.keys import LONGEST, bucket_of
from repocache.records import Namespace
from repocache.signing.signer import LENGTH
from repocache.testing import Endpoints
from tests.shop import QUICK, Countries, Country, Shop, UserCard, Users, open_shop, until

OLD, NEW = "an old secret of the shop's", "a newer secret of the shop's"
SIGNING = Settings(topology=QUICK, secrets=(NEW, OLD), sign_values=True)


async def values(endpoints: Endpoints) -> dict[str, bytes]:
    """What lies under each key's text, with the whole name in front."""
    async with redis_client.Redis.from_url(endpoints.redis) as client:
        names = [name.decode() async for name in client.scan_iter("*:user:*")]
        found: dict[str, Any] = {name: await client.get(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


async def write(endpoints: Endpoints, name: str, value: bytes) -> None:
    async with redis_client.Redis.from_url(endpoints.redis) as client:
        await client.set(name, value, px=60_000)


async def stored(shop: Shop, endpoints: Endpoints, *ids: int) -> list[str]:
    """The names of the users' values, each once it is there, in the ids' order."""
    await shop.users.get_many(ids)
    await until(lambda: len(shop.seen.of(Filled)) >= len(ids), "the rows are stored")
    found = await values(endpoints)
    return [next(name for name in found if name.endswith(f":user:{id}")) for id in ids]


async def read_anew(shop: Shop, id: int) -> str | None:
    """What another process is shown: L1 has it no more."""
    shop.db._started.cache.shared.local.clear()
    shop.seen.clear()
    user = await shop.users.get(id)
    return None if user is None else user.name


def invented(value: bytes) -> bytes:
    return value.replace(b"n07", b"bad")


async def test_without_signatures_whoever_writes_in_redis_invents_rows(
    repocache_endpoints: Endpoints,
) -> None:
    """What signing is for."""
    async with open_shop(repocache_endpoints) as shop:
        [seven] = await stored(shop, repocache_endpoints, 7)
        await write(
            repocache_endpoints, seven, invented((await values(repocache_endpoints))[seven])
        )
        assert await read_anew(shop, 7) == "bad"


async def test_an_invented_row_is_not_believed(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints, SIGNING) as shop:
        [seven] = await stored(shop, repocache_endpoints, 7)
        honest = (await values(repocache_endpoints))[seven]
        for forged in (
            invented(honest),
            honest[:-LENGTH],
            honest[:-1] + bytes([honest[-1] ^ 1]),
            b"N",
            honest[:5],
        ):
            await write(repocache_endpoints, seven, forged)
            assert await read_anew(shop, 7) == "n07"
            assert [event.key for event in shop.seen.of(ValueRefused)][:1] == ["user:7"]
            await until(lambda: bool(shop.seen.of(Filled)), "it is replaced")
            assert (await values(repocache_endpoints))[seven] == honest
        assert await read_anew(shop, 7) == "n07"
        assert {event.tier for event in shop.seen.of(Served)} == {"l2"}
        assert not shop.seen.of(CacheFailed)


async def test_a_signed_value_counts_under_its_own_key_alone(
    repocache_endpoints: Endpoints,
) -> None:
    async with open_shop(repocache_endpoints, SIGNING) as shop:
        seven, none = await stored(shop, repocache_endpoints, 7, 1_000)
        found = await values(repocache_endpoints)
        await write(repocache_endpoints, none, found[seven])
        assert await read_anew(shop, 1_000) is None
        assert shop.seen.of(ValueRefused)[0].why == "the signature is wrong"
        await until(lambda: bool(shop.seen.of(Filled)), "it is replaced")
        await write(repocache_endpoints, seven, found[none])
        assert await read_anew(shop, 7) == "n07"
        assert shop.seen.of(ValueRefused)[0].why == "the signature is wrong"


async def test_secrets_of_values_rotate(repocache_endpoints: Endpoints) -> None:
    """1. All know the new one; 2. it comes first; 3. the old one goes."""
    for secrets in ((OLD,), (OLD, NEW), (NEW, OLD)):
        async with open_shop(
            repocache_endpoints, dataclasses.replace(SIGNING, secrets=secrets)
        ) as shop:
            assert (await shop.users.require(7)).name == "n07"
            assert not shop.seen.of(ValueRefused)
            await until(
                lambda: {event.tier for event in shop.seen.of(Served)} != set(), "it was read"
            )
    async with open_shop(repocache_endpoints, dataclasses.replace(SIGNING, secrets=(NEW,))) as shop:
        assert (await shop.users.require(7)).name == "n07"
        assert [event.why for event in shop.seen.of(ValueRefused)] == ["the signature is wrong"]


async def test_those_who_sign_and_those_who_do_not_never_meet(
    repocache_endpoints: Endpoints,
) -> None:
    async with (
        open_shop(repocache_endpoints) as plain,
        open_shop(repocache_endpoints, SIGNING) as signing,
    ):
        for shop in (plain, signing, plain, signing):
            assert await read_anew(shop, 7) == "n07"
            assert not shop.seen.of(ValueRefused)
        async with plain.db.causal_session() as session:
            await plain.rename(7, "Ada")
        for shop in (signing, plain):
            async with shop.db.causal_session(session.bookmark):
                assert await read_anew(shop, 7) == "Ada"


def test_signing_without_a_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"sign_values=True\): give Settings\(secrets="):
        Settings(sign_values=True)


LONG = "x" * (LONGEST + 1)


def in_l1(shop: Shop) -> Iterator[object]:
    return iter(shop.db._started.cache.shared.local.shelf("country").entries)


async def test_a_row_with_a_long_id_is_read_and_not_cached(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        countries = shop.db[Countries]
        async with shop.db.unit_of_work() as work:
            work.add(Country(code=LONG, name="Longland"))
            bookmark = await work.commit()
        async with shop.db.causal_session(bookmark):
            assert (await countries.require(LONG)).name == "Longland"
            assert {
                code: country.name
                for code, country in (await countries.get_many(["de", LONG])).items()
            } == {
                "de": "<de>",
                LONG: "Longland",
            }
            async with shop.db.unit_of_work() as work:
                (await work[Countries].require(LONG)).name = "Renamed"
                await work.commit()
            assert (await countries.require(LONG)).name == "Renamed"
        await until(lambda: "de" in in_l1(shop), "the short one is kept")
        assert LONG not in in_l1(shop)
        assert not shop.seen.of(CacheFailed)
        assert not shop.seen.of(ValueRefused)


async def test_as_long_as_allowed_is_cached(repocache_endpoints: Endpoints) -> None:
    longest = "x" * (LONGEST - len("country:"))
    async with open_shop(repocache_endpoints) as shop:
        assert await shop.db[Countries].get(longest) is None
        await until(lambda: longest in in_l1(shop), "it is kept")
        assert await shop.db[Countries].get(longest + "x") is None
        assert list(in_l1(shop)) == [longest]


async def test_ids_of_any_length_take_no_more_than_local_bytes(
    repocache_endpoints: Endpoints,
) -> None:
    """Each unknown text is a negative entry."""
    most = 200_000
    async with open_shop(repocache_endpoints, Settings(topology=QUICK, local_bytes=most)) as shop:
        local = shop.db._started.cache.shared.local
        for length in (900, 60_000):
            for begin in range(0, 400, 100):
                await shop.db[Countries].get_many(
                    [f"{n:06}".ljust(length, "y") for n in range(begin, begin + 100)]
                )
        await until(lambda: len(shop.db._started.cache.shared.inflight) == 0, "all is over")
        assert local.stats.evicted > 0
        assert 0 < sum(sys.getsizeof(id) for id in in_l1(shop)) < most


async def test_views_and_many_ids_take_the_same_way(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        assert await shop.users.card.get(7) == UserCard(7, "n07")
        assert list(await shop.db[Users].get_many([3, 2])) == [3, 2]
        assert list(await shop.db[Countries].get_many([LONG, "de", LONG + "y"])) == ["de"]


async def test_a_floor_that_nobody_will_reach_heals(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints, SIGNING) as shop:
        await stored(shop, repocache_endpoints, 7)
        record = Namespace(SIGNING.app).record(bucket_of("user:7"))
        async with redis_client.Redis.from_url(repocache_endpoints.redis) as client:
            await client.hset(record, "f", "7fffffffffffffff")
            await client.delete(
                *[name for name in await values(repocache_endpoints) if name.endswith(":user:7")]
            )
            before = await client.hget(record, "i")
            assert await read_anew(shop, 7) == "n07"
            await until(lambda: bool(shop.seen.of(CacheFailed)), "it is told")
            assert [event.what for event in shop.seen.of(CacheFailed)] == ["settle"]
            for _ in range(2):
                assert await read_anew(shop, 7) == "n07"
                await until(
                    lambda: bool(shop.seen.of(Filled) or shop.seen.of(Served)), "it is filled"
                )
            assert await client.hget(record, "i") != before
            assert not shop.seen.of(CacheFailed)
