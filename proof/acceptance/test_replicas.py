"""A replica is killed, frozen, lags or goes back: another answers, then the primary, and it returns
by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from proof.acceptance.conftest import Start, Truth, until_busy
from repocache import TopologySettings
from repocache.testing import PostgresServer, Servers

STRICT = TopologySettings(sample_every=0.05, max_lag=1.0, connect_timeout=1.0, primary_wait=20.0)


@dataclass(frozen=True)
class Fault:
    begin: Callable[[PostgresServer], None]
    end: Callable[[PostgresServer], None]
    out: str


def go_back(replica: PostgresServer) -> None:
    """A crash: it starts again from its last checkpoint, and a delay keeps it from running ahead
    again."""
    replica.sql("ALTER SYSTEM SET recovery_min_apply_delay = '1h'", "postgres")
    replica.kill()
    replica.start()


def go_on(replica: PostgresServer) -> None:
    replica.sql("ALTER SYSTEM RESET recovery_min_apply_delay", "postgres")
    replica.restart()


FAULTS = {
    "killed": Fault(PostgresServer.kill, PostgresServer.start, "lost"),
    "frozen": Fault(PostgresServer.freeze, PostgresServer.thaw, "lost"),
    "lagging": Fault(PostgresServer.pause_replay, PostgresServer.resume_replay, "lagging"),
    "further back": Fault(go_back, go_on, "not streaming"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_replica_away_is_missed_by_nobody(
    start: Start, truth: Truth, repocache_controls: Servers, fault: Fault
) -> None:
    first, second = repocache_controls.replicas
    name, other = (f"{each.host}:{each.port}" for each in (first, second))
    await asyncio.to_thread(repocache_controls.primary.sql, "CHECKPOINT")
    await asyncio.to_thread(repocache_controls.catch_up)
    await asyncio.to_thread(first.sql, "CHECKPOINT")
    remotes = await asyncio.gather(start(topology=STRICT), start(topology=STRICT))
    for remote in remotes:
        await remote.ask("storm", callers=6)
    await until_busy(*remotes)
    marks = [len(remote.events) for remote in remotes]
    await asyncio.to_thread(fault.begin, first)
    for remote, mark in zip(remotes, marks, strict=True):
        await remote.until_told("NodeOut", mark, node=name, why=fault.out)
    before = [await remote.ask("counts") for remote in remotes]
    await until_busy(*remotes)
    for remote, early in zip(remotes, before, strict=True):
        late = await remote.ask("counts")
        assert late[name] <= early[name] + 6, "none but those under way"
        assert late[other] > early[other], "the other replica answers"
    await asyncio.to_thread(fault.end, first)
    for remote, mark in zip(remotes, marks, strict=True):
        await remote.until_told("NodeBack", mark, node=name)
    before = [await remote.ask("counts") for remote in remotes]
    await until_busy(*remotes)
    for remote, early in zip(remotes, before, strict=True):
        assert (await remote.ask("counts"))[name] > early[name], "it answers again"
        await remote.ask("calm")
        tally = await remote.ask("tally")
        assert (tally["own_misses"], tally["errors"]) == (0, {})
    await truth.assert_caches_right(*remotes)
