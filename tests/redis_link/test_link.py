"""What a link does while all is well."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repocache.errors import CacheUnavailable, ConfigurationError, UsageError
from repocache.redis_link import Address, Limits, Link, LinkSettings, ReplyError, Script
from repocache.testing import RedisServer
from tests.redis_link.conftest import PASSWORD, StartRedis
from tests.redis_link.heard import PATIENT, QUICK, Heard, until

pytestmark = pytest.mark.usefixtures("clean_loop")

ECHO = Script("return {KEYS[1], ARGV[1]}")


def link_to(redis: RedisServer, heard: Heard | None = None) -> Link:
    return Link(
        Address.parse(redis.url),
        heard or Heard(),
        scripts=[ECHO],
        channels=["news"],
        settings=QUICK,
    )


async def test_replies_keep_their_types(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        assert await link.call("SET", b"k", 12) == b"OK"
        assert await link.call("GET", "k") == b"12"
        assert await link.call("GET", "nothing") is None
        assert await link.call("INCR", "k") == 13
        assert await link.call("MGET", "k", "nothing") == [b"13", None]
        assert await link.call("CONFIG", "GET", "databases") == {b"databases": b"16"}
        assert await link.call("SET", "é", "ü") == b"OK"
        assert await link.call("GET", "é".encode()) == "ü".encode()


async def test_facts_are_those_of_the_server(redis: RedisServer) -> None:
    heard = Heard()
    async with link_to(redis, heard):
        pass
    info = str(redis.command("INFO", "server"))
    [facts] = heard.facts
    assert f"run_id:{facts.identity.run_id}\r" in info
    product, version = facts.version.split(" ")
    assert f"{product}_version:{version}\r" in info
    assert facts.role == "master"
    assert facts.maxmemory_policy == "noeviction"
    assert facts.pubsub_limit
    assert (facts.pubsub_limit.hard, facts.pubsub_limit.soft, facts.pubsub_limit.seconds) == (
        33554432,
        8388608,
        60,
    )


async def test_error_reply_is_raised_and_the_next_call_succeeds(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        await link.call("SET", "k", "text")
        wrong, right = link.call("INCR", "k"), link.call("GET", "k")
        with pytest.raises(ReplyError, match="not an integer") as caught:
            await wrong
        assert caught.value.code == "ERR"
        assert await right == b"text"
        assert link.alive


async def test_error_inside_a_list_is_a_value(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        inside = await link.call("EVAL", "return {1, redis.error_reply('ODD inside')}", 0)
        assert inside[0] == 1
        assert isinstance(inside[1], ReplyError)
        assert inside[1].code == "ODD"


async def test_unfit_argument_is_refused_where_it_is_given(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        with pytest.raises(TypeError):
            link.call("SET", "k", None)  # type: ignore[arg-type]
        assert await link.call("PING") == b"PONG"


async def test_big_values_arrive_whole(redis: RedisServer) -> None:
    big = bytes(range(256)) * 4 * 8192  # 8 MiB: many reads, several writes
    async with Link(Address.parse(redis.url), Heard(), settings=PATIENT) as link:
        writes = [link.call("SET", f"big{i}", big + b"%d" % i) for i in range(3)]
        assert await asyncio.gather(*writes) == [b"OK"] * 3
        reads = [link.call("GET", f"big{i}") for i in range(3)]
        small = link.call("GET", "small")
        for i, read in enumerate(reads):
            assert await read == big + b"%d" % i
        assert await small is None


async def test_database_and_password_come_from_the_url(redis: RedisServer) -> None:
    async with Link(Address.parse(redis.url[:-1] + "5"), Heard(), settings=QUICK) as link:
        await link.call("SET", "here", 1)
        assert (await link.call("CLIENT", "INFO")).split(b" db=")[1].startswith(b"5 ")
        assert b" name=repocache " in await link.call("CLIENT", "INFO")
        await link.call("FLUSHDB")


async def test_user_of_an_acl_without_config_is_enough(start_redis: StartRedis) -> None:
    acl = 'user app on ">se cret" ~* &* +@all -config'
    redis = start_redis("acl", acl)
    heard = Heard()
    url = f"redis://app:se%20cret@{redis.host}:{redis.port}"
    async with Link(
        Address.parse(url), heard, scripts=[ECHO], channels=["news"], settings=QUICK
    ) as link:
        assert await link.call("ACL", "WHOAMI") == b"app"
    assert heard.facts[0].maxmemory_policy == "noeviction"
    assert heard.facts[0].pubsub_limit is None


async def test_refusals_are_reported_and_tried_again(start_redis: StartRedis) -> None:
    redis = start_redis("acl", "user deaf on nopass ~* resetchannels +@all")
    heard = Heard()
    bad = Address.parse(f"redis://:wrong@{redis.host}:{redis.port}")
    async with Link(bad, heard, settings=QUICK) as link:
        assert not link.alive
        await until(lambda: len(heard.troubles) >= 2)
        with pytest.raises(CacheUnavailable, match="WRONGPASS"):
            link.call("PING")
    assert "WRONGPASS" in heard.troubles[0]
    assert "wrong@" not in heard.troubles[0]
    heard = Heard()
    deaf = Address.parse(f"redis://deaf:any@{redis.host}:{redis.port}")
    async with Link(deaf, heard, channels=["news"], settings=QUICK) as link:
        assert not link.alive
    assert "NOPERM" in heard.troubles[0]
    assert heard.events == []


async def test_unix_socket(start_redis: StartRedis, tmp_path: Path) -> None:
    redis = start_redis("unix", "unixsocket server.sock", "unixsocketperm 777")
    folder = (await asyncio.to_thread(redis.command, "CONFIG", "GET", "dir"))[1]  # type: ignore[index]
    address = Address(host="", port=0, path=f"{folder}/server.sock", password=PASSWORD)
    async with Link(address, Heard(), channels=["news"], settings=QUICK) as link:
        assert await link.call("PING") == b"PONG"


async def test_script_runs_by_digest_and_survives_a_flush(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        assert await link.run(ECHO, ["k"], [7]) == [b"k", b"7"]
        await link.call("SCRIPT", "FLUSH")
        runs = [link.run(ECHO, [f"k{i}"], ["v"]) for i in range(3)]
        get = link.call("PING")
        assert await asyncio.gather(*runs) == [[b"k%d" % i, b"v"] for i in range(3)]
        assert await get == b"PONG"
        before = await loads(link)
        await link.run(ECHO, ["k"], [7])
        assert await loads(link) == before  # it is there again: digests suffice


async def loads(link: Link) -> int:
    stats = (await link.call("INFO", "commandstats")).decode()
    return int(stats.split("cmdstat_script|load:calls=")[1].split(",")[0])


async def test_scripts_are_loaded_before_the_first_call(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        assert await link.call("EVALSHA", ECHO.sha, 1, "k", "v") == [b"k", b"v"]


async def test_error_of_a_script_that_is_there_is_raised(redis: RedisServer) -> None:
    fails = Script("return redis.error_reply('NOSCRIPT of its own')")
    async with Link(Address.parse(redis.url), Heard(), scripts=[fails], settings=QUICK) as link:
        with pytest.raises(ReplyError, match="of its own"):
            await link.run(fails, [])
        assert await link.call("PING") == b"PONG"


async def test_cancelled_calls_leave_the_order_right(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        await asyncio.gather(*(link.call("SET", f"k{i}", i) for i in range(100)))
        for turn in range(20):
            calls = [link.call("GET", f"k{i}") for i in range(100)]
            for gone in calls[turn % 3 :: 3]:
                gone.cancel()
            if turn % 2:
                await asyncio.sleep(0)  # written already
            for gone in calls[(turn + 1) % 3 :: 3]:
                gone.cancel()
            for i, call in enumerate(calls):
                if not call.cancelled():
                    assert await call == b"%d" % i
        assert link.alive


async def test_cancelled_caller_stops_waiting_at_once(own_redis: RedisServer) -> None:
    async with Link(Address.parse(own_redis.url), Heard(), settings=PATIENT) as link:
        own_redis.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await link.call("GET", "k")
        own_redis.thaw()
        assert await link.call("ECHO", "next") == b"next"


async def test_calls_nobody_awaits_do_no_harm(redis: RedisServer) -> None:
    async with link_to(redis) as link:
        await link.call("SET", "k", "text")
        link.call("INCR", "k")
        link.call("SUBSTR")
        assert await link.call("PING") == b"PONG"


async def test_overload_is_refused_at_once(own_redis: RedisServer) -> None:
    settings = LinkSettings(limits=Limits(reply_timeout=20, pulse=20, max_pending=10))
    async with Link(Address.parse(own_redis.url), Heard(), settings=settings) as link:
        own_redis.freeze()
        calls = [link.call("INCR", "n") for _ in range(10)]
        with pytest.raises(CacheUnavailable, match="overloaded"):
            link.call("INCR", "n")
        own_redis.thaw()
        assert await asyncio.gather(*calls) == list(range(1, 11))
        assert await link.call("INCR", "n") == 11


async def test_commands_wait_while_the_socket_is_full(own_redis: RedisServer) -> None:
    async with Link(Address.parse(own_redis.url), Heard(), settings=PATIENT) as link:
        own_redis.freeze()
        value = b"x" * 4_000_000
        calls = []
        for i in range(10):
            calls.append(link.call("SET", f"k{i}", value))
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        connection = link._connection
        assert connection._paused  # type: ignore[union-attr]
        assert connection._unsent  # type: ignore[union-attr]
        own_redis.thaw()
        assert await asyncio.gather(*calls) == [b"OK"] * 10


async def test_it_is_used_inside_its_block_and_entered_once(redis: RedisServer) -> None:
    link = link_to(redis)
    assert not link.alive
    with pytest.raises(CacheUnavailable, match="not started"):
        link.call("PING")
    with pytest.raises(CacheUnavailable, match="not started"):
        link.run(ECHO, [])
    async with link:
        with pytest.raises(UsageError, match="already started"):
            await link.__aenter__()
    with pytest.raises(CacheUnavailable, match="closed"):
        link.call("PING")
    async with link:
        assert await link.call("PING") == b"PONG"


async def test_leaving_fails_the_calls_that_wait(redis: RedisServer) -> None:
    heard = Heard()
    async with link_to(redis, heard) as link:
        call = link.call("BLPOP", "nothing", 5)
        await asyncio.sleep(0)
    with pytest.raises(CacheUnavailable, match="closed"):
        await call
    assert heard.events == ["up", "down: the link is closed"]


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "two words"}, {"name": "é"}, {"connect_timeout": 0}]
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        LinkSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", ["reply_timeout", "pulse", "max_pending", "max_reply", "max_unread"]
)
def test_limits_are_checked(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        Limits(**{wrong: 0})


def test_an_error_shows_no_arguments_of_a_command() -> None:
    """A server that does not know HELLO quotes what it was given, the password too."""
    error = ReplyError(
        "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'app' 'hunter2' "
    )
    assert (str(error), error.code) == ("ERR unknown command 'HELLO'", "ERR")
