"""The primary fails over behind one name, and takes commits with it that all caches hold: a new
history for everybody.

Two processes with warm caches, one Redis that keeps all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from proof.acceptance.conftest import Start, Truth, until_busy
from proof.acceptance.remote import OrderFailed, Remote
from proof.acceptance.storm import IDS
from repocache.testing import PostgresServer, Servers
from tests.shop import until
from tests.tcp_proxy import TcpProxy

LOST = IDS[:10]
"""Written by commits that no replica ever received."""


def seeing(server: PostgresServer, database: str) -> str:
    """The address for a role that may see which timeline a replica receives."""
    return server.url(database=database, user="postgres")


async def serves(remote: Remote, node: str, id: int, bookmark: str = "") -> bool:
    """Whether this node answers a session's read past the cache."""
    before = (await remote.ask("counts")).get(node, 0)
    await remote.ask("find", id=id, bookmark=bookmark)
    return bool((await remote.ask("counts")).get(node, 0) > before)


async def lose_the_primary(servers: Servers, remotes: Sequence[Remote]) -> list[str]:
    """It commits what reaches no replica, and dies; the bookmarks of these commits. All processes
    hold what is lost."""
    await asyncio.to_thread(servers.catch_up)
    for replica in reversed(servers.replicas):
        await asyncio.to_thread(replica.kill)
    bookmarks = []
    for id in LOST:
        wrote = await remotes[id % len(remotes)].ask("write", id=id)
        assert (wrote["age"], wrote["covered"]) == (id + 1, True)
        bookmarks.append(wrote["bookmark"])
    for remote in remotes:
        assert await remote.ask("everything", ids=list(LOST), tier="l1") == [id + 1 for id in LOST]
        assert (await remote.ask("read", id=LOST[0]))["tier"] == "l1"
    await asyncio.to_thread(servers.primary.kill)
    for replica in servers.replicas:
        await asyncio.to_thread(replica.start)
    return bookmarks


async def test_a_failover_that_loses_commits(
    start: Start, truth: Truth, repocache_controls: Servers, database: str
) -> None:
    first, second = repocache_controls.replicas
    async with TcpProxy(seeing(repocache_controls.primary, database)) as door:
        replicas = (seeing(first, database), seeing(second, database))
        remotes = await asyncio.gather(
            *(start(primary=door.url, replicas=replicas, window=600.0) for _ in range(2))
        )
        await truth.assert_caches_right(*remotes)
        old = await lose_the_primary(repocache_controls, remotes)
        with pytest.raises(OrderFailed):
            await remotes[0].ask("write", id=50)
        await asyncio.to_thread(first.promote)
        truth.server = first
        assert await truth.ages() == list(IDS), "the commits are lost"
        door.lead_to(seeing(first, database))
        await door.cut()
        for remote in remotes:
            await remote.until_told("HistoryChanged")
        await truth.assert_caches_right(*remotes)
        for remote, bookmark in zip(remotes, old, strict=False):
            assert (await remote.ask("read", id=LOST[0], bookmark=bookmark))["age"] == LOST[0]
            assert await serves(remote, "primary", 1, bookmark), (
                "positions of two histories never compare"
            )
        await asyncio.to_thread(second.follow, first)
        for remote in remotes:
            assert await serves(remote, "primary", 1, old[0]), "nor do they when there is a replica"
            wrote = await remote.ask("write", id=LOST[1], bookmark=old[1])
            assert (wrote["read"], wrote["covered"]) == (wrote["age"], True)
            await until_on_replica(remote, second, wrote["bookmark"])
        await truth.assert_caches_right(*remotes)
        for remote in remotes:
            await remote.ask("storm", callers=5)
        await until_busy(*remotes)
        for remote in remotes:
            await remote.ask("calm")
            tally = await remote.ask("tally")
            assert (tally["own_misses"], tally["errors"]) == (0, {})
            assert len(remote.told("HistoryChanged")) == 1
        await truth.assert_caches_right(*remotes)


async def until_on_replica(remote: Remote, replica: PostgresServer, bookmark: str) -> None:
    """A session that has written since goes back to the replicas, though it began with a bookmark
    of before."""
    name = f"{replica.host}:{replica.port}"
    await until(lambda: serves(remote, name, 1, bookmark), "its reads go to the replica")
