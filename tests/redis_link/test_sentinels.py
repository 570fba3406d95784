"""A link that asks sentinels where the master is: real ones, and ones of a few lines that are wrong
or silent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from repocache.errors import CacheUnavailable
from repocache.redis_link import Address, Limits, Link, LinkSettings
from repocache.redis_link.dial import Dialer
from repocache.redis_link.sentinels import Sentinels
from repocache.testing import RedisGroup, RedisServer, redis_group
from repocache.testing.errors import ServerError
from repocache.testing.redis import RedisLogin, ask
from tests.redis_link.conftest import PASSWORD, StartRedis
from tests.redis_link.heard import QUICK, Heard, until
from tests.redis_link.sentinel import Saying, named

pytestmark = pytest.mark.usefixtures("clean_loop")

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
NOWHERE = Address(host="127.0.0.1", port=1)
WATCHFUL = LinkSettings(
    connect_timeout=3, limits=Limits(reply_timeout=3, pulse=0.1), breaker=QUICK.breaker
)
LIMITS = Limits(reply_timeout=0.4, pulse=0.05)


@pytest.fixture
def group() -> Iterator[RedisGroup]:
    with redis_group(sentinels=1) as group:
        yield group


def asking(*sentinels: Address, patience: float = 0.5) -> Sentinels:
    address = Address(host="", port=0, db=3, password="p", sentinels=sentinels, service="main")
    return Sentinels(address, Dialer(address), LIMITS, patience)


async def test_the_one_that_answers_is_believed_and_asked_again() -> None:
    silent, wrong, right = (
        Saying(b""),
        Saying(b"-ERR No such master with that name\r\n"),
        Saying(named(7, 1)),
    )
    async with silent.serving() as first, wrong.serving() as second, right.serving() as third:
        sentinels = asking(NOWHERE, first, second, third)
        assert await sentinels.master() == Address(host="127.0.0.1", port=7, db=3, password="p")
        before = silent.asked, wrong.asked
        assert (await sentinels.master()).port == 7
        assert (silent.asked, wrong.asked, right.asked) == (*before, 2)
        await sentinels.close()


@pytest.mark.parametrize(
    "reply, why",
    [
        (b"-NOAUTH Authentication required.\r\n", "NOAUTH"),
        (b"*-1\r\n", "its answer is none"),
        (b"*2\r\n$2\r\nip\r\n$1\r\nx\r\n", "its answer is none"),
        (b":1\r\n", "its answer is none"),
        (named(1, 1).replace(b"$1\r\n1\r\n$12", b"$1\r\nx\r\n$12"), "its answer is none"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error"),
        (b"", "is silent"),
    ],
)
async def test_what_no_sentinel_would_say_is_told(reply: bytes, why: str) -> None:
    async with Saying(reply).serving() as one:
        sentinels = asking(one, NOWHERE)
        with pytest.raises(CacheUnavailable, match="'main'") as caught:
            await sentinels.master()
        await sentinels.close()
    assert why in str(caught.value)
    assert str(one.port) in str(caught.value)
    assert f"{NOWHERE.place}: " in str(caught.value), "what each of them said"


async def test_who_names_a_master_of_before_is_not_believed() -> None:
    """It was cut off: it does not know that the master was replaced."""
    late, knowing = Saying(named(1, 4)), Saying(named(2, 5))
    async with late.serving() as one, knowing.serving() as other:
        sentinels = asking(one, other)
        assert (await sentinels.master()).port == 1, "nobody has said better"
        sentinels.distrust("it was no master")
        assert (await sentinels.master()).port == 2
        sentinels.distrust("it went away")
        assert (await sentinels.master()).port == 2
        sentinels.distrust("it went away")
        knowing.reply = b""
        with pytest.raises(CacheUnavailable, match="a master of before"):
            await sentinels.master()
        knowing.reply = named(3, 2)
        assert (await sentinels.master()).port == 1, (
            "all have begun anew: the best of what they say"
        )
        await sentinels.close()


async def test_a_link_leaves_a_master_that_was_replaced_and_knows_nothing_of_it(
    own_redis: RedisServer, start_redis: StartRedis
) -> None:
    """Cut off from all but this process: it answers, and says that it is the master."""
    other = start_redis("other")
    saying = Saying(named(own_redis.port, 1))
    heard = Heard()
    async with saying.serving() as sentinel:
        address = Address(host="", port=0, password=PASSWORD, sentinels=(sentinel,), service="main")
        async with Link(address, heard, channels=["news"], settings=WATCHFUL) as link:
            await link.call("SET", "who", "old")
            saying.reply = b""
            asked = saying.asked
            await until(lambda: saying.asked > asked + 2)
            assert link.alive, "a sentinel that is silent is no reason to leave the master"
            saying.reply = named(other.port, 2)
            await until(lambda: len(heard.facts) == 2)
            assert await link.call("GET", "who") is None
    assert "the sentinels name another master" in heard.events[1]


async def test_a_link_follows_a_failover(group: RedisGroup) -> None:
    old, heard = group.servers[0], Heard()
    async with Link(Address.parse(group.url), heard, channels=["news"], settings=WATCHFUL) as link:
        await link.call("SET", "k", "v")
        await asyncio.to_thread(old.kill)
        await until(lambda: not link.alive)
        new = await asyncio.to_thread(group.await_failover, old)
        await until(lambda: link.alive)
        assert (await link.call("INFO", "server")).decode().partition("tcp_port:")[2].split()[
            0
        ] == str(new.port)
        await link.call("PUBLISH", "news", "x")
        assert heard.pushes == [(b"news", b"x")]
    first, last = heard.facts[0].identity, heard.facts[-1].identity
    assert first.run_id != last.run_id
    assert first.replication_id != last.replication_id
    assert all("@" not in text and "sentinel_password" not in text for text in heard.troubles)


async def test_sentinels_that_are_all_away_are_asked_until_one_is_back(group: RedisGroup) -> None:
    [sentinel] = group.sentinels
    await asyncio.to_thread(sentinel.kill)
    heard = Heard()
    async with Link(Address.parse(group.url), heard, settings=WATCHFUL) as link:
        assert not link.alive
        await until(lambda: len(heard.troubles) > 2)
        assert "no sentinel tells" in heard.troubles[0]
        await asyncio.to_thread(sentinel.start)
        await until(lambda: link.alive)
        await asyncio.to_thread(sentinel.freeze)
        await asyncio.to_thread(group.servers[0].command, "CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.to_thread(group.servers[0].command, "CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: "silent" in heard.troubles[-1])
        sentinel.thaw()
        await until(lambda: link.alive)


async def test_wrong_credentials_of_the_sentinels_are_told_and_not_shown(group: RedisGroup) -> None:
    heard = Heard()
    url = group.url.partition("sentinel_password=")[0] + "sentinel_password=wrong"
    async with Link(Address.parse(url), heard, settings=WATCHFUL) as link:
        assert not link.alive
    assert "WRONGPASS" in heard.troubles[0]
    assert "password=" not in heard.troubles[0]


async def test_the_rights_that_are_named_are_enough_for_sentinels(group: RedisGroup) -> None:
    [line] = re.findall(r"^ACL SETUSER .*sentinel.*$", PAGE, re.MULTILINE)
    words = line.replace("<password>", "own").split()
    [sentinel], heard = group.sentinels, Heard()
    await asyncio.to_thread(sentinel.command, *words)
    url = group.url.partition("?")[0] + f"?sentinel_username={words[2]}&sentinel_password=own"
    async with Link(Address.parse(url), heard, settings=WATCHFUL) as link:
        assert await link.call("PING") == b"PONG"
    assert heard.troubles == []
    place, login = (sentinel.host, sentinel.port), RedisLogin("own", words[2])
    for command in (
        "SENTINEL FAILOVER shop",
        "SENTINEL REMOVE shop",
        "SENTINEL CONFIG GET *",
        "INFO",
        "SHUTDOWN",
        "ACL LIST",
    ):
        with pytest.raises(ServerError, match=r"NOPERM|permission"):
            await asyncio.to_thread(ask, place, login, command.split())
