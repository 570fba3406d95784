"""A replica is killed, frozen, lags or goes back: another answers, then the primary, and it returns by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from repocache import Settings, TopologySettings
from repocache.testing import Endpoints, PostgresServer, Servers
from tests.acceptance.conftest import Start, Truth, until_busy
from tests.acceptance.storm import bump
from tests.shop import User, open_shop, until

STRICT = TopologySettings(sample_every=0.05, max_lag=1.0, connect_timeout=1.0, primary_wait=20.0)
STILL = TopologySettings(sample_every=600.0, max_lag=6000.0)
"""Nothing is polled unless a read needs it: a stale sample stays."""


@dataclass(frozen=True)
class Fault:
    begin: Callable[[PostgresServer], None]
    end: Callable[[PostgresServer], None]
    why: tuple[str, ...]


FAULTS = {
    "killed": Fault(PostgresServer.kill, PostgresServer.start, ("lost", "refused")),
    "frozen": Fault(PostgresServer.freeze, PostgresServer.thaw, ("lost",)),
    "lagging": Fault(PostgresServer.pause_replay, PostgresServer.resume_replay, ("lagging",)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_replica_away_is_missed_by_nobody(
    start: Start, truth: Truth, repocache_controls: Servers, fault: Fault
) -> None:
    first, second = repocache_controls.replicas
    name, other = (f"{each.host}:{each.port}" for each in (first, second))
    remotes = await asyncio.gather(start(topology=STRICT), start(topology=STRICT))
    for remote in remotes:
        await remote.ask("storm", callers=6)
    await until_busy(*remotes)
    marks = [len(remote.events) for remote in remotes]
    await asyncio.to_thread(fault.begin, first)
    for remote, mark in zip(remotes, marks, strict=True):
        assert (await remote.until_told("NodeOut", mark, node=name))["why"] in fault.why
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


async def test_a_replica_that_went_back_vouches_for_nothing(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """It crashes, and starts again from its last restartpoint; a delay keeps it from running ahead again."""
    replica = repocache_controls.replicas[0]
    ends = Endpoints(repocache_endpoints.primary, repocache_endpoints.replicas[:1], repocache_endpoints.redis)
    async with open_shop(ends, Settings(topology=STILL, window=9000.0)) as shop:
        async with shop.db.causal_session() as session:
            assert await bump(shop.db, 7) == 8
            position = session.bookmark.position
            assert position is not None
            await asyncio.to_thread(replica.await_position, position)
            assert (await shop.db[type(shop.users)].find(User.id == 7))[0].age == 8
            sample = shop.db.nodes[1].sample
            assert sample is not None
            assert sample.position >= position
            await asyncio.to_thread(repocache_controls.redis.clear)
            shop.db._caching.shared.local.clear()
            try:
                await asyncio.to_thread(replica.sql, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'", "postgres")
                await asyncio.to_thread(replica.kill)
                await asyncio.to_thread(replica.start)
                assert await asyncio.to_thread(replica.position) < position
                assert (await shop.users.find(User.id == 7))[0].age == 8
                user = await shop.users.get(7)
                assert user is not None
                assert user.age == 8
            finally:
                await asyncio.to_thread(replica.sql, "ALTER SYSTEM RESET recovery_min_apply_delay", "postgres")
                await asyncio.to_thread(replica.restart)
        await until(lambda: shop.db.nodes[1].sample is not sample, "the sample has died")
