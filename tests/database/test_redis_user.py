"""A user of Redis with the rights that docs/redis.md names: they are enough, and not one is too
many."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from repocache import KeyOwner, Repository, Settings, WriteThrough
from repocache.events import CacheFailed, PublishFailed, Served
from repocache.keys import bucket_of, owner_bucket
from repocache.records import CallerHistory, Intent, OpenRequest
from repocache.testing import Endpoints, RedisServer, Servers
from repocache.testing.errors import ServerError
from repocache.testing.redis import RedisLogin, ask
from tests.outbox.conftest import make_outbox
from tests.shop import QUICK, Country, Shop, Users, open_shop, until

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
SETTINGS = Settings(topology=QUICK, app="shop-of-one")
[LINE] = [
    line.replace("<app>", SETTINGS.app).replace("<password>", "own").split()
    for line in re.findall(r"^ACL SETUSER .*$", PAGE, re.MULTILINE)
    if "sentinel" not in line
]
RIGHTS = {word[1:] for word in LINE if word.startswith("+")}
LOGIN = RedisLogin("own", LINE[2])
REFUSED = "NOPERM|permission|can't access at least one of the keys"


class StrictCountries(Repository[Country, str]):
    owner = KeyOwner("country")
    policy = WriteThrough(strict=True)


@pytest.fixture
def place(repocache_servers: Servers) -> Iterator[tuple[str, int]]:
    """A Redis that has this user."""
    redis = repocache_servers.redis
    redis.command(*LINE)
    yield redis.host, redis.port
    redis.command("ACL", "DELUSER", LOGIN.user)


@pytest.fixture
def ends(place: tuple[str, int], repocache_endpoints: Endpoints) -> Endpoints:
    return replace(repocache_endpoints, redis=f"redis://{LOGIN.user}:own@{place[0]}:{place[1]}/0")


async def do_everything(ends: Endpoints) -> tuple[Shop, Shop]:
    """Two processes, each of whose tiers and ways to write are used."""
    repositories = (Users, StrictCountries)
    async with (
        open_shop(ends, SETTINGS, repositories) as shop,
        open_shop(ends, SETTINGS, repositories) as other,
    ):
        await shop.users.get_many(range(1, 20))
        await other.users.get_many(range(1, 20))
        await shop.rename(7, "Ada")
        await until(lambda: named(other, "Ada"), "the other has heard of it")
        async with shop.db.unit_of_work() as work:
            work.changes(Users)
            await work.commit()
        await shop.users.get_many(range(1, 20))
        await other.users.get_many(range(1, 20))
        await write_strictly(shop, other)
        await hold(shop)
        assert (await shop.db.verify(within=0)).wrong == 0
        return shop, other


async def named(shop: Shop, name: str) -> bool:
    return (await shop.users.require(7)).name == name


async def write_strictly(shop: Shop, other: Shop) -> None:
    await other.db[StrictCountries].require("de")
    async with shop.db.unit_of_work() as work:
        (await work[StrictCountries].require("de")).name = "Germany"
        await work.commit()
    assert (await other.db[StrictCountries].require("de")).name == "Germany"


async def hold(shop: Shop) -> None:
    """What readers of other processes meet: a write lease, given back, and a read lease."""
    records, terms = shop.db._started.cache.shared.records, CallerHistory(shop.db._topology.history)
    ask = OpenRequest(
        bucket_of("country:x"), owner_bucket("country"), "country", "f", "country:x", 5.0
    )
    intent = Intent(ask.bucket, (("country", ask.text),), (), (), "n", "1", 5.0)
    await records.intend(intent, terms)
    assert (await records.open(ask, terms)).kind == "written"
    await records.release(intent)
    assert [(await records.open(ask, terms)).kind for _ in range(2)] == ["lease", "wait"]


def used(redis: RedisServer) -> dict[str, tuple[int, int]]:
    """Of each command, how often it ran, in scripts too, and how often it was refused."""
    stats = str(redis.command("INFO", "commandstats"))
    found = re.findall(r"cmdstat_(\S+?):calls=(\d+),.*?rejected_calls=(\d+)", stats)
    return {name: (int(calls), int(rejected)) for name, calls, rejected in found}


async def test_the_rights_are_enough_and_each_is_used(
    repocache_servers: Servers, ends: Endpoints
) -> None:
    await make_outbox(ends.primary)
    await asyncio.to_thread(repocache_servers.catch_up)
    redis = repocache_servers.redis
    redis.command("CONFIG", "RESETSTAT")
    redis.command("ACL", "LOG", "RESET")
    shops = await do_everything(ends)
    assert not [
        event
        for each in shops
        for event in (*each.seen.of(CacheFailed), *each.seen.of(PublishFailed))
    ]
    assert "l2" in {event.tier for each in shops for event in each.seen.of(Served)}
    ours = {name for name, (calls, _) in used(redis).items() if calls} - {
        "hello",
        "config|resetstat",
        "acl|log",
    }
    # PING is what looks after a given server: ours would be rejected, and counted below.
    assert ours - {"auth", "ping"} == RIGHTS
    assert {name for name, (_, rejected) in used(redis).items() if rejected} == {"config|get"}
    log = redis.command("ACL", "LOG")
    assert isinstance(log, list)
    assert all("config|get" in str(entry) for entry in log)


NEEDLESS = (
    *(
        "CONFIG GET requirepass",
        "CONFIG SET maxmemory 1",
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "SCAN 0",
        "OBJECT FREQ k",
    ),
    *(
        "CLIENT KILL TYPE normal",
        "CLIENT LIST",
        "ACL LIST",
        "ACL SETUSER x",
        "SHUTDOWN NOSAVE",
        "MONITOR",
        "SAVE",
    ),
    *(
        "EVAL return 0",
        "SCRIPT FLUSH",
        "SCRIPT KILL",
        "FUNCTION LIST",
        "REPLICAOF NO ONE",
        "SLOWLOG GET",
        "SORT k",
    ),
    *(
        "PSUBSCRIBE *",
        "PUBSUB CHANNELS",
        "RENAME a b",
        "COPY a b",
        "DUMP k",
        "MIGRATE h 1 k 0 1",
        "SWAPDB 0 1",
    ),
    *(
        "MULTI",
        "LATENCY RESET",
        "MODULE LIST",
        "MEMORY STATS",
        "TYPE k",
        "EXPIRE k 1",
        "DBSIZE",
        "LASTSAVE",
    ),
)


@pytest.mark.parametrize("command", NEEDLESS)
def test_what_is_not_needed_is_refused(place: tuple[str, int], command: str) -> None:
    with pytest.raises(ServerError, match=REFUSED):
        ask(place, LOGIN, command.split())


@pytest.mark.parametrize(
    "command", ["GET {}", "SET {} 1", "DEL {}", "HSET {} f 1", "HGETALL {}", "STRLEN {}"]
)
@pytest.mark.parametrize("key", ["other:k", "k", "shop-of-one", "shop-of-one2:k"])
def test_keys_of_others_are_out_of_reach(place: tuple[str, int], command: str, key: str) -> None:
    words = command.format(key).split()
    with pytest.raises(ServerError, match=REFUSED):
        ask(place, LOGIN, words)
    script = ask(place, LOGIN, ["SCRIPT", "LOAD", "return redis.call(unpack(ARGV))"])
    with pytest.raises(ServerError, match=REFUSED):
        ask(place, LOGIN, ["EVALSHA", str(script), 0, *words])
    ask(place, LOGIN, ["EVALSHA", str(script), 0, "STRLEN", "shop-of-one:k"])


@pytest.mark.parametrize("command", ["PUBLISH {} x", "SUBSCRIBE {}"])
def test_channels_of_others_are_out_of_reach(place: tuple[str, int], command: str) -> None:
    with pytest.raises(ServerError, match=REFUSED):
        ask(place, LOGIN, command.format("other:news").split())
    ask(place, LOGIN, command.format("shop-of-one:news").split())
