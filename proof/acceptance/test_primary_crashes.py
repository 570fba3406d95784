"""The primary comes back as another one that looks the same: by system, by timeline, and by its
address.

Several processes with warm caches, one Redis that keeps all of it, sessions that have written what
is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from proof.acceptance.conftest import Start, Truth, until_busy
from proof.acceptance.remote import Remote
from proof.acceptance.storm import IDS
from proof.acceptance.test_primary_fails_over import seeing, serves, until_on_replica
from repocache.testing import PostgresServer, Servers
from repocache.testing.process import await_condition
from tests.shop import until
from tests.tcp_proxy import TcpProxy
from tests.wal_writer import stop_wal_writer

LOST = IDS[:6]
TIMELINE = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"


async def write_and_see(remotes: Sequence[Remote]) -> list[str]:
    """The bookmarks of writes that every process then holds."""
    bookmarks = []
    for id in LOST:
        wrote = await remotes[id % len(remotes)].ask("write", id=id)
        assert (wrote["read"], wrote["covered"]) == (id + 1, True)
        bookmarks.append(wrote["bookmark"])
    for remote in remotes:
        assert await remote.ask("everything", ids=list(LOST), tier="l1") == [id + 1 for id in LOST]
        assert (await remote.ask("read", id=LOST[0], bookmark=bookmarks[0]))["age"] == LOST[0] + 1
    return bookmarks


async def until_noticed(remotes: Sequence[Remote], marks: Sequence[int]) -> None:
    for remote, mark in zip(remotes, marks, strict=True):
        await remote.until_told("HistoryChanged", mark)


async def assert_all_is_lost(
    truth: Truth, remotes: Sequence[Remote], bookmarks: Sequence[str]
) -> None:
    """And that the sessions which wrote it get what there is, from the primary."""
    assert await truth.ages() == list(IDS), "the commits are lost"
    await truth.assert_caches_right(*remotes)
    for remote in remotes:
        for id, bookmark in zip(LOST, bookmarks, strict=True):
            assert (await remote.ask("read", id=id, bookmark=bookmark))["age"] == id
        assert await serves(remote, "primary", 1, bookmarks[0]), (
            "positions of two histories never compare"
        )


async def test_a_crash_that_loses_commits_which_all_have_seen(
    start: Start, truth: Truth, repocache_controls: Servers, database: str
) -> None:
    """Asynchronous ones, whose WAL was never written: they were visible, and are gone on the same
    timeline."""
    primary, replica = repocache_controls.primary, repocache_controls.replicas[0]
    superuser = (
        seeing(primary, database),
        [seeing(each, database) for each in repocache_controls.replicas],
    )
    await asyncio.to_thread(primary.sql, f"ALTER DATABASE {database} SET synchronous_commit = off")
    await asyncio.to_thread(repocache_controls.catch_up)
    remotes = await asyncio.gather(
        *(start(primary=superuser[0], replicas=tuple(superuser[1]), window=600.0) for _ in range(3))
    )
    await truth.assert_caches_right(*remotes)
    await asyncio.to_thread(stop_wal_writer, primary)
    bookmarks = await write_and_see(remotes)
    timeline = await asyncio.to_thread(primary.sql, TIMELINE)
    marks = [len(remote.events) for remote in remotes]
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(primary.start)
    assert await asyncio.to_thread(primary.sql, TIMELINE) == timeline
    await until_noticed(remotes, marks)
    await assert_all_is_lost(truth, remotes, bookmarks)
    await asyncio.to_thread(replica.await_streaming, primary)
    for remote, bookmark in zip(remotes, bookmarks, strict=False):
        wrote = await remote.ask("write", id=LOST[0], bookmark=bookmark)
        assert (wrote["read"], wrote["covered"]) == (wrote["age"], True)
        # What nobody waited for is written, and sent.
        await asyncio.to_thread(primary.sql, "CHECKPOINT")
        await until_on_replica(remote, replica, wrote["bookmark"])
    for remote in remotes:
        await remote.ask("storm", callers=4)
    await until_busy(*remotes, reads=20, writes=3)
    for remote in remotes:
        await remote.ask("calm")
        tally = await remote.ask("tally")
        assert (tally["own_misses"], tally["errors"]) == (0, {})
        assert len(remote.told("HistoryChanged")) == 1
    await truth.assert_caches_right(*remotes)


async def test_the_address_leads_to_one_promoted_replica_and_then_to_another(
    start: Start, truth: Truth, repocache_controls: Servers, database: str
) -> None:
    """Both began the same timeline at the same place; what was committed on the first the second
    never had."""
    first, second = repocache_controls.replicas
    async with TcpProxy(seeing(repocache_controls.primary, database)) as door:
        remotes = await asyncio.gather(
            *(start(primary=door.url, replicas=(), window=600.0) for _ in range(2))
        )
        await truth.assert_caches_right(*remotes)
        await asyncio.to_thread(repocache_controls.catch_up)
        await asyncio.to_thread(repocache_controls.primary.kill)
        for each in (first, second):
            await asyncio.to_thread(each.promote)
        await lead_to(door, truth, first, remotes, database)
        bookmarks = await write_and_see(remotes)
        timelines = [await asyncio.to_thread(each.sql, TIMELINE) for each in (first, second)]
        assert timelines[0] == timelines[1]
        await lead_to(door, truth, second, remotes, database)
        await assert_all_is_lost(truth, remotes, bookmarks)
        for remote in remotes:
            wrote = await remote.ask("write", id=LOST[0])
            assert (wrote["read"], wrote["covered"]) == (wrote["age"], True)
        await truth.assert_caches_right(*remotes)
        for remote in remotes:
            assert len(remote.told("HistoryChanged")) == 2


async def lead_to(
    door: TcpProxy, truth: Truth, server: PostgresServer, remotes: Sequence[Remote], database: str
) -> None:
    marks = [len(remote.events) for remote in remotes]
    truth.server = server
    door.lead_to(seeing(server, database))
    await door.cut()
    await until_noticed(remotes, marks)


async def test_a_commit_that_waits_for_a_replica_and_loses_its_client(
    start: Start, truth: Truth, repocache_controls: Servers, database: str
) -> None:
    """1. COMMIT is in the WAL, and waits for a synchronous replica: nobody sees it; 2. its
    connection is lost; 3. all caches are filled with the old row, rightly; 4. the replica answers,
    and the commit appears."""
    primary, id = repocache_controls.primary, LOST[0]
    async with TcpProxy(seeing(primary, database)) as door:
        writer, *others = remotes = await asyncio.gather(start(primary=door.url), start(), start())
        await truth.assert_caches_right(*remotes)
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        await asyncio.to_thread(wait_for_replicas, primary)
        writing = asyncio.create_task(writer.ask("write", id=id))
        await until_waiting(primary)
        await door.cut()
        wrote = await writing
        assert (wrote["age"], wrote["read"], wrote["covered"]) == (None, id, False)
        assert (wrote["tier"], wrote["node"]) == ("database", "primary"), (
            "its session uses no cache, and no replica"
        )
        await truth.assert_caches_right(*remotes)
        assert (await others[0].ask("read", id=id))["tier"] == "l1"
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.resume_replay)
        await until_age(truth, id, id + 1)
        for remote in remotes:
            assert (await remote.ask("read", id=id, bookmark=wrote["bookmark"]))["age"] == id + 1
        await truth.assert_caches_right(*remotes)


def wait_for_replicas(primary: PostgresServer) -> None:
    primary.sql("ALTER SYSTEM SET synchronous_commit = remote_apply")
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.sql("SELECT pg_reload_conf()")
    await_condition(
        lambda: primary.sql("SHOW synchronous_standby_names") == [("*",)], "the setting counts"
    )


async def until_waiting(primary: PostgresServer) -> None:
    async def waits() -> bool:
        return bool(
            await asyncio.to_thread(
                primary.sql, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
        )

    await until(waits, "COMMIT waits for a replica")


async def until_age(truth: Truth, id: int, age: int) -> None:
    async def appeared() -> bool:
        return (await truth.ages())[id - 1] == age

    await until(appeared, "the commit has appeared")
