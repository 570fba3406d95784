"""Reads and units of work are cancelled at any moment, in several processes: nothing stays behind,
nothing is lost.

One replica's replay is paused, so that what it shows is an old row for certain.
"""

from __future__ import annotations

import asyncio

import sqlalchemy

from proof.acceptance.conftest import FOR_EVER, Start, Truth, leases, nothing_waits
from proof.acceptance.remote import Remote
from proof.acceptance.storm import IDS
from repocache import TopologySettings
from repocache.testing import Servers
from tests.shop import until

PATIENT = TopologySettings(sample_every=0.05, max_lag=50.0, connect_timeout=1.0, primary_wait=20.0)
CONNECTIONS = """
SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%')
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def cancelled_enough(remote: Remote) -> None:
    """Often, and during COMMIT too: then nobody knows what became of the transaction."""

    async def enough() -> bool:
        tally = await remote.ask("tally")
        acted: bool = tally["cancelled"] >= 80 and tally["writes"] >= 20
        return acted and len(remote.told("CommitUnknown")) >= 2

    await until(enough, "so much was cancelled", seconds=60)


async def at_rest(remote: Remote) -> None:
    async def rests() -> bool:
        return not any((await remote.ask("under_way")).values())

    await until(rests, "all connections are in their pools, all loads and publications have ended")


async def test_cancelled_at_any_moment(
    start: Start, truth: Truth, repocache_controls: Servers, database: str
) -> None:
    redis = repocache_controls.redis
    await asyncio.to_thread(repocache_controls.replicas[0].pause_replay)
    remotes = await asyncio.gather(*(start(cache=FOR_EVER, topology=PATIENT) for _ in range(3)))
    await truth.assert_caches_right(*remotes)
    for id, remote in enumerate(remotes, start=1):
        assert (await remote.ask("write", id=id))["covered"]
        await remote.ask("storm", callers=5, cancelling=True)
    await asyncio.gather(*(cancelled_enough(remote) for remote in remotes))
    for remote in remotes:
        await remote.ask("calm")
        tally = await remote.ask("tally")
        assert (tally["own_misses"], tally["errors"]) == (0, {})
    for remote in remotes:
        await at_rest(remote)
        await nothing_waits(remote)
    await until(lambda: leases(redis) == 0, "no lease was left behind: these would last for ever")
    await truth.assert_caches_right(*remotes)
    writes = sum([(await remote.ask("tally"))["writes"] for remote in remotes])
    assert sum(await truth.ages()) >= sum(IDS) + len(remotes) + writes
    if not sqlalchemy.__version__.startswith("2.0."):
        # The pool of SQLAlchemy 2.0 does not close a connection whose set-up is cancelled.
        await until(
            lambda: told_by_server(truth, remotes, database),
            "the server knows of no other connections",
        )
    for id, remote in enumerate(remotes, start=1):
        wrote = await remote.ask("write", id=id)
        assert (wrote["read"], wrote["covered"]) == (wrote["age"], True)
    await truth.assert_caches_right(*remotes)


async def told_by_server(truth: Truth, remotes: list[Remote], database: str) -> bool:
    known = sum([await remote.ask("connections") for remote in remotes])
    [(connected, idle_in_transaction)] = await asyncio.to_thread(
        truth.server.sql, CONNECTIONS, database
    )
    return (int(connected), int(idle_in_transaction)) == (known, 0)
