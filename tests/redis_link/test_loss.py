"""What a link does when the server is away, silent, or not what it should be."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace

import pytest

from repocache.errors import CacheUnavailable
from repocache.redis_link import (
    Address,
    Limits,
    Link,
    LinkSettings,
    ReplyError,
    Script,
    ServerFacts,
)
from repocache.testing import RedisServer
from repocache.testing.process import await_condition
from tests.redis_link.conftest import StartRedis
from tests.redis_link.heard import QUICK, Heard, until
from tests.redis_link.serving import serving

pytestmark = pytest.mark.usefixtures("clean_loop")

ECHO = Script("return ARGV[1]")


def link_to(redis: RedisServer, heard: Heard) -> Link:
    return Link(Address.parse(redis.url), heard, scripts=[ECHO], channels=["news"], settings=QUICK)


async def test_entering_without_a_server_returns_and_the_link_comes_up_later(
    own_redis: RedisServer,
) -> None:
    """Soon: the cool-down, which is forever here, is not for attempts that reach nobody."""
    own_redis.kill()
    heard = Heard()
    settings = replace(QUICK, breaker=replace(QUICK.breaker, cooldown=100_000))
    async with Link(
        Address.parse(own_redis.url), heard, scripts=[ECHO], channels=["news"], settings=settings
    ) as link:
        assert not link.alive
        with pytest.raises(CacheUnavailable):
            link.call("PING")
        await until(lambda: len(heard.troubles) > QUICK.breaker.failures)
        assert heard.events == []
        await asyncio.to_thread(own_redis.start)
        await until(lambda: link.alive)
        assert await link.run(ECHO, [], ["hello"]) == b"hello"
    assert heard.events == ["up", "down: the link is closed"]


async def test_entering_a_silent_server_takes_no_longer_than_its_deadline(
    own_redis: RedisServer,
) -> None:
    own_redis.freeze()
    heard = Heard()
    async with asyncio.timeout(10), link_to(own_redis, heard) as link:
        assert not link.alive
        assert heard.troubles
        own_redis.thaw()
        await until(lambda: link.alive)


async def test_entering_may_be_cancelled(own_redis: RedisServer) -> None:
    own_redis.freeze()
    link = link_to(own_redis, Heard())
    entering = asyncio.create_task(link.__aenter__())
    await asyncio.sleep(0.02)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not link.alive


async def test_restart_brings_a_new_run_id_scripts_and_channel(own_redis: RedisServer) -> None:
    heard = Heard()
    async with link_to(own_redis, heard) as link:
        for turn in range(1, 4):
            await asyncio.to_thread(own_redis.kill if turn % 2 else own_redis.stop)
            await until(lambda: len(heard.events) % 2 == 0)
            assert not link.alive
            await asyncio.to_thread(own_redis.start)
            await until(lambda: link.alive)
            assert await link.call("EVALSHA", ECHO.sha, 0, "x") == b"x"
            await link.call("PUBLISH", "news", turn)
            assert heard.pushes[-1] == (b"news", b"%d" % turn)
    assert len({facts.identity.run_id for facts in heard.facts}) == 4
    assert [event.split(":")[0] for event in heard.events] == ["up", "down"] * 4


async def test_the_listener_hears_of_the_loss_before_any_caller(own_redis: RedisServer) -> None:
    calls: list[asyncio.Future[object]] = []

    class First(Heard):
        def down(self, reason: str) -> None:
            assert calls
            self.events.append(
                f"down, {sum(call.done() for call in calls)} done, alive: {link.alive}"
            )

    heard = First()
    link = link_to(own_redis, heard)

    async def wait(call: asyncio.Future[object]) -> None:
        with suppress(CacheUnavailable):
            await call
        heard.events.append("caller")

    async with link:
        calls += [link.call("BLPOP", f"empty{i}", 0) for i in range(3)]
        waiting = [asyncio.create_task(wait(call)) for call in calls]
        await asyncio.to_thread(own_redis.kill)
        await asyncio.gather(*waiting)
    assert heard.events[:5] == ["up", "down, 0 done, alive: False", "caller", "caller", "caller"]


async def test_overdue_reply_ends_the_connection(own_redis: RedisServer) -> None:
    heard = Heard()
    async with link_to(own_redis, heard) as link:
        own_redis.freeze()
        calls = [link.call("GET", "k") for _ in range(5)]
        for call in calls:
            with pytest.raises(CacheUnavailable, match=r"no reply within 0\.4 s"):
                await call
        assert not link.alive
        with pytest.raises(CacheUnavailable):
            link.call("GET", "k")
        own_redis.thaw()
        await until(lambda: link.alive)
    assert heard.events[:3] == ["up", "down: no reply within 0.4 s", "up"]


async def test_silence_is_found_although_nobody_calls(own_redis: RedisServer) -> None:
    heard = Heard()
    async with link_to(own_redis, heard) as link:
        own_redis.freeze()
        await until(lambda: not link.alive)
        assert heard.events == ["up", "down: no reply within 0.4 s"]
        own_redis.thaw()
        await until(lambda: link.alive)


def await_pulses(redis: RedisServer, count: int) -> None:
    """The server was asked that often who it is (that this asks too counts only once for each
    look)."""
    asked = re.compile(r"cmdstat_info:calls=(\d+)")
    looks = 0

    def counted() -> int:
        nonlocal looks
        looks += 1
        found = asked.search(str(redis.command("INFO", "commandstats")))
        return (int(found[1]) if found else 0) - looks

    first = counted()
    await_condition(lambda: counted() >= first + count, "the link asks")


async def test_an_idle_link_stays_up(own_redis: RedisServer) -> None:
    heard = Heard()
    async with link_to(own_redis, heard) as link:
        await asyncio.to_thread(await_pulses, own_redis, 3)
        assert link.alive
        assert heard.events == ["up"]


async def test_through_losses_and_cancellations_each_caller_gets_its_own_reply(
    own_redis: RedisServer,
) -> None:
    answered, lost, working = 0, 0, True

    async def work(link: Link, name: int) -> None:
        nonlocal answered, lost
        number = 0
        while working:
            number += 1
            text = f"{name}:{number}".encode()
            try:
                call = link.call("ECHO", text)
                if number % 5 == name % 5:
                    asyncio.get_running_loop().call_soon(call.cancel)
                assert await call == text
                answered += 1
            except CacheUnavailable:
                lost += 1
                await asyncio.sleep(0.002)
            except asyncio.CancelledError:
                if not working:
                    raise

    heard = Heard()
    async with link_to(own_redis, heard) as link, asyncio.TaskGroup() as workers:
        for name in range(64):
            workers.create_task(work(link, name))
        try:
            for turn in range(1, 5):
                enough = answered + 3000
                await until(lambda enough=enough: answered > enough)  # type: ignore[misc]
                if turn % 2:
                    await asyncio.to_thread(own_redis.kill)
                    await asyncio.to_thread(own_redis.start)
                else:
                    own_redis.freeze()
                    await until(lambda turn=turn: len(heard.events) == 2 * turn)  # type: ignore[misc]
                    own_redis.thaw()
                await until(lambda: link.alive)
        finally:
            working = False
    assert lost >= 64
    assert heard.events.count("up") == 5


async def test_a_replica_is_refused_until_it_is_promoted(start_redis: StartRedis) -> None:
    master, replica = start_redis("master"), start_redis("replica")
    heard = Heard()
    unasked = replace(QUICK, limits=Limits(reply_timeout=20, pulse=20))
    async with Link(Address.parse(replica.url), heard, settings=unasked) as link:
        await asyncio.to_thread(replica.replica_of, master)
        with pytest.raises(ReplyError, match="READONLY"):
            await link.call("SET", "k", 1)
        assert not link.alive
        assert heard.events == ["up", "down: the server is no longer the master: READONLY"]
        await until(lambda: any("not the master" in text for text in heard.troubles))
        replica.promote()
        await until(lambda: link.alive)
        assert await link.call("SET", "k", 1) == b"OK"


async def test_a_listener_that_fails_on_a_push_loses_the_connection(redis: RedisServer) -> None:
    class Deaf(Heard):
        def push(self, channel: bytes, payload: bytes) -> None:
            super().push(channel, payload)
            if payload == b"bad":
                raise IndexError("cannot hear that")

    heard = Deaf()
    async with link_to(redis, heard) as link:
        with suppress(CacheUnavailable):
            await link.call("PUBLISH", "news", "bad")
        assert "cannot hear that" in heard.events[1]
        await until(lambda: link.alive)


async def test_a_listener_that_fails_on_up_is_never_alive(redis: RedisServer) -> None:
    class Refusing(Heard):
        def up(self, facts: ServerFacts) -> None:
            raise ValueError("not this one")

    heard = Refusing()
    async with link_to(redis, heard) as link:
        await until(lambda: len(heard.troubles) >= 2)
        assert not link.alive
    assert "not this one" in heard.troubles[0]
    assert heard.events == []


async def test_a_listener_that_fails_on_down_keeps_no_caller_waiting(
    own_redis: RedisServer,
) -> None:
    class Failing(Heard):
        def down(self, reason: str) -> None:
            raise ValueError("no")

    heard = Failing()
    async with link_to(own_redis, heard) as link:
        call = link.call("BLPOP", "empty", 0)
        await asyncio.to_thread(own_redis.kill)
        with pytest.raises(CacheUnavailable):
            await call
        await until(lambda: any("Listener.down failed" in text for text in heard.troubles))
        await asyncio.to_thread(own_redis.start)
        await until(lambda: link.alive)


# A server of a few lines, to say what no Redis says.


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


INFO = (
    bulk(b"run_id:feed\r\nredis_version:99.0\r\n")
    + bulk(b"role:master\r\n")
    + bulk(b"used_memory:1\r\n")
)
GREETING = b"%1\r\n+server\r\n+redis\r\n+OK\r\n" + INFO + b"%0\r\n"
CONFIRMED = b">3\r\n+subscribe\r\n$4\r\nnews\r\n:1\r\n"


def saying(*answers: bytes) -> AbstractAsyncContextManager[Address]:
    """Each time something is read, the next of the answers is written; after the last, silence."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for reply in answers:
                await reader.read(65536)
                writer.write(reply)
                await writer.drain()
            while await reader.read(65536):
                pass

    return serving(answer)


@pytest.mark.parametrize(
    "answers, trouble",
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "Protocol error"),
        ([b"\x00\xff\x00\xff" * 1000], "Protocol error"),
        ([b"*1000000000000\r\n"], "exceeds 65536 elements"),
        ([b"+OK\r\n" * 100], "nobody waits"),
        ([b"%1\r\n*1\r\n:1\r\n:1\r\n"], "unhashable"),
        ([GREETING.replace(b"run_id", b"ran_id")], "run_id"),
        ([GREETING.replace(b"master", b"secret")], "not the master"),
        ([b"-ERR unknown command 'HELLO'\r\n" + b"-NOAUTH\r\n" * 5], "RESP3"),
        ([GREETING, b"-NOPERM no\r\n"], "NOPERM"),
        ([GREETING[:-4]], "no reply within"),
        ([GREETING], "not up within"),
        ([GREETING, b">1\r\n:1\r\n"], "cannot be followed"),
        ([GREETING, b">0\r\n"], "cannot be followed"),
    ],
)
async def test_a_server_that_is_none_is_left(answers: list[bytes], trouble: str) -> None:
    heard = Heard()
    async with (
        saying(*answers) as address,
        Link(address, heard, channels=["news"], settings=QUICK) as link,
    ):
        assert not link.alive
        await until(lambda: len(heard.troubles) >= 2)
    assert trouble in heard.troubles[0]
    assert heard.events == []


@pytest.mark.parametrize(
    "after, reason",
    [
        (b">3\r\n+unsubscribe\r\n$4\r\nnews\r\n:0\r\n", "ended the subscription"),
        (b">3\r\n+sunsubscribe\r\n$4\r\nnews\r\n:0\r\n", "ended the subscription"),
        (b"+unasked\r\n", "nobody waits"),
        (CONFIRMED, "cannot be followed: KeyError: b'news'"),
        (b"-ERR unasked\r\n", "unasked"),
        (b">2\r\n+message\r\n+news\r\n", "cannot be followed"),
    ],
)
async def test_an_up_connection_that_goes_wrong_is_dropped(after: bytes, reason: str) -> None:
    heard = Heard()
    settings = LinkSettings(
        limits=Limits(reply_timeout=5, pulse=5, max_reply=100_000), breaker=QUICK.breaker
    )
    async with (
        saying(GREETING, CONFIRMED + after) as address,
        Link(address, heard, channels=["news"], settings=settings),
    ):
        await until(lambda: len(heard.events) >= 3)
    assert heard.events[0] == heard.events[2] == "up"
    assert reason in heard.events[1]


@pytest.mark.parametrize(
    "pulse, reason",
    [
        (b"?\r\n", "Protocol error"),
        (b"$900000\r\n", "exceeds max_reply, 100000 bytes"),
        (b"*2147483647\r\n", "exceeds 65536 elements"),
        (b"%2147483647\r\n", "exceeds 65536 elements"),
        (b"*20\r\n" + b"*4000\r\n" * 17, "exceeds 65536 elements"),
        (b"*20\r\n" + bulk(b"x" * 6_000) * 19, "exceeds max_reply"),
        (b"+" + b"x" * 9_000, "a line exceeds"),
    ],
)
async def test_what_is_announced_ends_the_connection_before_it_comes(
    pulse: bytes, reason: str
) -> None:
    heard = Heard()
    settings = LinkSettings(
        limits=Limits(reply_timeout=5, pulse=0.05, max_reply=100_000), breaker=QUICK.breaker
    )
    async with (
        saying(GREETING, CONFIRMED, pulse) as address,
        Link(address, heard, channels=["news"], settings=settings),
    ):
        await until(lambda: len(heard.events) >= 3)
    assert heard.events[0] == heard.events[2] == "up"
    assert reason in heard.events[1]


async def test_what_comes_after_the_loss_is_not_handed_out() -> None:
    message = b">3\r\n+message\r\n+news\r\n+%b\r\n"
    heard = Heard()
    gone = b">3\r\n+unsubscribe\r\n+news\r\n:0\r\n"
    async with (
        saying(
            GREETING, CONFIRMED + message % b"a" + gone + message % b"b" + b"+late\r\n"
        ) as address,
        Link(address, heard, channels=["news"], settings=QUICK),
    ):
        await until(lambda: len(heard.events) >= 3)
    assert {payload for _, payload in heard.pushes} == {b"a"}


async def test_up_comes_between_the_confirmation_and_the_next_push() -> None:
    order: list[str] = []

    class Ordered(Heard):
        def up(self, facts: ServerFacts) -> None:
            order.append("up")

        def push(self, channel: bytes, payload: bytes) -> None:
            order.append(payload.decode())

    second = b">3\r\n+subscribe\r\n$3\r\nold\r\n:2\r\n>3\r\n+message\r\n+news\r\n+first\r\n"
    async with (
        saying(GREETING, CONFIRMED + second) as address,
        Link(address, Ordered(), channels=["news", "old"], settings=QUICK),
    ):
        pass
    assert order == ["up", "first"]


async def test_replies_in_pieces_are_put_together() -> None:
    pieces = [GREETING[i : i + 1] for i in range(len(GREETING) - 1)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for piece in [*pieces, GREETING[-1:]]:
            writer.write(piece)
            await asyncio.sleep(0)
        while await reader.read(65536):
            pass

    async with serving(answer) as address, Link(address, Heard(), settings=QUICK) as link:
        assert link.alive


async def test_the_breaker_leaves_a_flapping_server_alone() -> None:
    heard = Heard()
    async with (
        saying(GREETING, CONFIRMED + b"+unasked\r\n") as address,
        Link(address, heard, channels=["news"], settings=QUICK) as link,
    ):
        await until(lambda: link._breaker.open)
        assert heard.events.count("up") >= QUICK.breaker.failures
        assert link._breaker.pause(0) == QUICK.breaker.cooldown / 2
