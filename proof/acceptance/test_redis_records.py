"""Records are lost, one by one or all, or old ones come back: none vouches for what it does not
know.

Replay is paused throughout, so that a replica's row is an old one for certain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proof.acceptance.conftest import Start, Truth, until_busy
from proof.acceptance.remote import Remote
from proof.acceptance.storm import IDS
from repocache.keys import bucket_of, owner_bucket
from repocache.redis_link import Identity
from repocache.testing import RedisServer, Servers
from repocache.testing.redis import Reply

HALF = IDS[:30]


def words(reply: Reply) -> list[str]:
    assert isinstance(reply, list)
    return [str(each) for each in reply]


def records(redis: RedisServer) -> dict[int, str]:
    """Bucket -> incarnation, of the records that this server made."""
    lines = "".join(
        str(redis.command("INFO", section)) for section in ("server", "replication")
    ).splitlines()
    identity = str(Identity.of(dict(line.split(":", 1) for line in lines if ":" in line)))
    found = {}
    for key in words(redis.command("KEYS", "*}")):
        incarnation, server = words(redis.command("HMGET", key, "i", "r"))
        if server == identity:
            found[int(key.rpartition("b")[2].rstrip("}"))] = incarnation
    return found


def flushed(redis: RedisServer) -> None:
    redis.command("FLUSHALL")


def records_evicted(redis: RedisServer) -> None:
    for key in words(redis.command("KEYS", "*}")):
        redis.command("DEL", key)


def memory_short(redis: RedisServer) -> None:
    """The server itself chooses what goes."""

    def info(section: str, name: str) -> int:
        return int(str(redis.command("INFO", section)).partition(f"{name}:")[2].split()[0])

    evicted, number = info("stats", "evicted_keys"), 0
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    redis.command("CONFIG", "SET", "maxmemory", info("memory", "used_memory") + 100_000)
    while info("stats", "evicted_keys") < evicted + 60:
        number += 1
        redis.command("SET", f"filler{number}", "x" * 10_000)
    redis.command("CONFIG", "SET", "maxmemory", 0)


def restarted(redis: RedisServer) -> None:
    """With what was there at the last snapshot."""
    redis.kill()
    redis.start()


Loss = Callable[[RedisServer], None]


async def lose(loss: Loss, redis: RedisServer, *remotes: Remote) -> None:
    """Returns when all are connected again."""
    marks = [len(remote.events) for remote in remotes]
    await asyncio.to_thread(loss, redis)
    if loss is restarted:
        for remote, mark in zip(remotes, marks, strict=True):
            await remote.until_told("ChannelUp", mark)


@pytest.mark.parametrize("loss", [flushed, records_evicted, memory_short, restarted])
async def test_no_record_vouches_for_what_it_does_not_know(
    start: Start, truth: Truth, repocache_controls: Servers, loss: Loss
) -> None:
    redis = repocache_controls.redis
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    one, other = remotes = await asyncio.gather(start(), start())
    await truth.assert_caches_right(*remotes)
    await asyncio.to_thread(redis.snapshot)
    for id in HALF:
        wrote = await one.ask("write", id=id)
        assert (wrote["age"], wrote["read"], wrote["covered"]) == (id + 1, id + 1, True)
    await truth.assert_caches_right(*remotes)
    before = records(redis)
    await lose(loss, redis, *remotes)
    left = records(redis)
    assert left != before
    assert await other.ask("everything", ids=[7], tier="l2") == [8]
    touched = records(redis)
    assert {bucket for bucket, _ in set(touched.items()) - set(left.items())} <= {
        bucket_of("user:7"),
        owner_bucket("user"),
    }
    for remote in remotes:
        for tier in ("l1", "l2"):
            assert await remote.ask("everything", ids=list(IDS), tier=tier) == await truth.ages(), (
                "not for a moment"
            )
    wrote = await other.ask("write", id=8)
    assert wrote["covered"]
    assert (await one.ask("read", id=8, bookmark=wrote["bookmark"]))["age"] == wrote["age"] == 10
    await truth.assert_caches_right(*remotes)
    for remote in remotes:
        await remote.ask("storm", callers=6)
    for _ in range(2):
        await until_busy(*remotes, reads=30, writes=4)
        await lose(loss, redis, *remotes)
    await until_busy(*remotes, reads=30, writes=4)
    for remote in remotes:
        await remote.ask("calm")
        tally = await remote.ask("tally")
        assert (tally["own_misses"], tally["errors"]) == (0, {})
    await truth.assert_caches_right(*remotes)
