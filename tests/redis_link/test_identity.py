"""A server that is not what it was: demoted, promoted anew, or with another replication id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from repocache.errors import CacheUnavailable
from repocache.redis_link import Address, Identity, Limits, Link, LinkSettings, Script
from repocache.testing import RedisServer
from tests.redis_link.conftest import StartRedis
from tests.redis_link.heard import QUICK, Heard, until
from tests.redis_link.serving import serving
from tests.redis_link.test_loss import CONFIRMED, GREETING, bulk

pytestmark = pytest.mark.usefixtures("clean_loop")

READ = Script("return redis.call('GET', KEYS[1])")
WRITE = Script("return redis.call('SET', KEYS[1], 'x')")
DEMOTED = "down: the server is no longer the master"
ANOTHER = "down: the server has another replication id"
MASTER = (
    b"# Replication\r\nrole:master\r\nmaster_failover_state:no-failover\r\nmaster_replid:%b\r\n"
)


WATCHFUL = LinkSettings(
    connect_timeout=10, limits=Limits(reply_timeout=10, pulse=0.1), breaker=QUICK.breaker
)


def link_to(redis: RedisServer, heard: Heard) -> Link:
    return Link(
        Address.parse(redis.url), heard, scripts=[READ, WRITE], channels=["news"], settings=WATCHFUL
    )


@pytest.mark.parametrize(
    "replication, doubt",
    [
        (MASTER % (b"a" * 40), ""),
        (MASTER % (b"b" * 40), "another replication id"),
        (MASTER % (b"a" * 39), "another replication id"),
        (MASTER.replace(b"role:master", b"role:slave") % (b"a" * 40), "no longer the master"),
        (b"role:master\r\nmaster_replid2:" + b"a" * 40 + b"\r\n", "another replication id"),
        (b"", "no longer the master"),
    ],
)
def test_a_master_with_the_same_id_is_not_doubted(replication: bytes, doubt: str) -> None:
    said = Identity("r" * 40, "a" * 40).why_changed(replication)
    assert doubt in said if doubt else not said


def test_a_server_that_tells_no_replication_id_is_doubted_for_its_role_alone() -> None:
    identity = Identity.of({"run_id": "r" * 40})
    assert not identity.why_changed(MASTER % b"any")
    assert identity.why_changed(b"role:slave\r\n")


def test_each_half_tells_identities_apart() -> None:
    texts = {str(Identity(run * 40, replication * 40)) for run in "ab" for replication in "ab"}
    assert len(texts) == 4


async def test_a_demoted_master_is_left_although_nobody_writes(start_redis: StartRedis) -> None:
    demoted, other = start_redis("demoted"), start_redis("other")
    other.command("SET", "k", "new")
    demoted.command("SET", "k", "old")
    heard = Heard()
    async with link_to(demoted, heard) as link:
        await asyncio.to_thread(demoted.replica_of, other)
        await until(lambda: not link.alive)
        assert heard.events[1].startswith(DEMOTED)
        for _ in range(5):
            with pytest.raises(CacheUnavailable):
                await link.call("GET", "k")
        await until(lambda: any("not the master" in text for text in heard.troubles))
        assert heard.events[2:] == []


async def test_a_demoted_master_is_left_at_the_first_script_that_writes(
    start_redis: StartRedis,
) -> None:
    demoted, other = start_redis("demoted"), start_redis("other")
    heard = Heard()
    async with link_to(demoted, heard) as link:
        await asyncio.to_thread(demoted.command, "REPLICAOF", other.host, other.port)
        with suppress(CacheUnavailable):
            await link.run(READ, ["k"])
        with pytest.raises(Exception, match=r"READONLY|master|LOADING"):
            await link.run(WRITE, ["k"])
        assert not link.alive


async def test_a_master_that_was_a_replica_meanwhile_is_another(start_redis: StartRedis) -> None:
    """A to B to A, without a restart, and faster than anything but the pulse would see."""
    a, b = start_redis("a"), start_redis("b")
    heard = Heard()
    b.replica_of(a)
    async with link_to(a, heard) as link:
        b.promote()
        a.replica_of(b)
        a.promote()
        await until(lambda: len(heard.facts) == 2 and link.alive)
    before, after = (facts.identity for facts in heard.facts)
    assert before.run_id == after.run_id
    assert str(before) != str(after)
    assert heard.events[1].startswith((ANOTHER, DEMOTED))


def first_replica(master: RedisServer, replica: RedisServer) -> None:
    replica.replica_of(master)


def backlog_freed(master: RedisServer, replica: RedisServer) -> None:
    master.command("CONFIG", "SET", "repl-backlog-ttl", 1)
    replica.promote()


@pytest.mark.parametrize("happens", [first_replica, backlog_freed])
async def test_all_processes_agree_within_a_pulse_when_the_id_changes(
    start_redis: StartRedis, happens: Callable[[RedisServer, RedisServer], None]
) -> None:
    master, replica = start_redis("master"), start_redis("replica")
    if happens is backlog_freed:
        replica.replica_of(master)
    before: list[Heard] = [Heard(), Heard()]
    async with link_to(master, before[0]), link_to(master, before[1]):
        await asyncio.to_thread(happens, master, replica)
        await until(lambda: all(len(heard.facts) == 2 for heard in before))
        late = Heard()
        async with link_to(master, late):
            pass
    assert len({str(heard.facts[-1].identity) for heard in (*before, late)}) == 1
    assert all(heard.events[1].startswith(ANOTHER) for heard in before)
    assert len({facts.identity.run_id for heard in before for facts in heard.facts}) == 1


async def test_a_busy_link_asks_too(own_redis: RedisServer) -> None:
    heard = Heard()
    async with link_to(own_redis, heard) as link:

        async def read() -> None:
            with suppress(CacheUnavailable):
                while True:
                    await link.call("GET", "k")

        readers = [asyncio.create_task(read()) for _ in range(20)]
        await asyncio.to_thread(own_redis.command, "REPLICAOF", "127.0.0.1", 1)
        await asyncio.gather(*readers)
    assert heard.events[1].startswith(DEMOTED)


async def test_a_server_that_is_busy_with_a_script_is_not_doubted(own_redis: RedisServer) -> None:
    own_redis.command("CONFIG", "SET", "busy-reply-threshold", 1)
    endless = (
        "local till = redis.call('TIME')[1] + 1 while tonumber(redis.call('TIME')[1]) < till "
        "do end return 1"
    )
    heard = Heard()
    async with link_to(own_redis, heard) as link:
        running = asyncio.create_task(asyncio.to_thread(own_redis.command, "EVAL", endless, 0))
        await until(running.done)
        assert link.alive
        await running
    assert heard.events == ["up", "down: the link is closed"]


async def test_nothing_behind_the_answer_of_a_demoted_master_is_handed_out() -> None:
    """Its pulse's answer, a push and two replies come in one block; the callers asked before it was
    noticed."""
    message = b">3\r\n+message\r\n+news\r\n+stale\r\n"
    stale = bulk(b"role:slave\r\n") + message + bulk(b"stale") + bulk(b"stale")
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (GREETING, CONFIRMED):
            await reader.read(65536)
            writer.write(reply)
        seen = b""
        while seen.count(b"GET") < 2 or b"replication" not in seen:
            seen += await reader.read(65536)
            if b"replication" in seen:
                asked.set()
        writer.write(stale)
        while await reader.read(65536):
            pass

    heard = Heard()
    async with (
        serving(answer) as address,
        Link(address, heard, channels=["news"], settings=WATCHFUL) as link,
    ):
        await asked.wait()
        calls = [link.call("GET", "k"), link.call("GET", "k")]
        for call in calls:
            with pytest.raises(CacheUnavailable, match="no longer the master"):
                await call
    assert heard.pushes == []
