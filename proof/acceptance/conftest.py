"""Service processes on the shop's servers, and what must hold of all caches in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from proof.acceptance.remote import Remote
from proof.acceptance.service import Setup
from proof.acceptance.storm import IDS
from repocache import CacheSettings, TopologySettings
from repocache.keys import owner_bucket
from repocache.redis_link import LinkSettings
from repocache.redis_link.breaker import BreakerSettings
from repocache.testing import Endpoints, RedisServer, Servers
from tests.shop import shop_template, until

PATIENT = TopologySettings(sample_every=0.05, max_lag=50.0, connect_timeout=1.0)
"""Replicas whose replay is paused stay in the rotation: what they show then is old for certain."""
EAGER = LinkSettings(breaker=BreakerSettings(retry=0.3, cooldown=0.3))
"""Redis is looked for often, so that tests are short."""

FOR_EVER = CacheSettings(lease=600.0, patience=0.1)
"""Whoever waits for a lease to end waits in vain."""

Start = Callable[..., Awaitable[Remote]]


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.fixture
def database(repocache_endpoints: Endpoints) -> str:
    """Name of the test's database."""
    return repocache_endpoints.primary.rpartition("/")[2]


@pytest.fixture
async def start(repocache_endpoints: Endpoints) -> AsyncIterator[Start]:
    """Starts a service process; `Setup`'s fields may be given. Nothing may have gone wrong in its
    own tasks."""
    remotes: list[Remote] = []

    async def start(**given: Any) -> Remote:
        ends = repocache_endpoints
        setup = {"primary": ends.primary, "replicas": ends.replicas, "redis": ends.redis}
        remotes.append(
            await Remote.start(Setup(**{**setup, "topology": PATIENT, "link": EAGER, **given}))
        )
        return remotes[-1]

    try:
        yield start
        for remote in remotes:
            assert not [
                each
                for each in remote.events
                if each[0] in ("TaskFailed", "HookFailed", "ValueRefused")
            ]
    finally:
        await asyncio.gather(*(remote.kill() for remote in remotes))


class Truth:
    """What the primary says, and whether the caches say the same."""

    def __init__(self, servers: Servers, database: str) -> None:
        self.server = servers.primary
        self._database = database

    async def ages(self) -> list[int]:
        """The versions of all users, in the order of their ids."""
        rows = await asyncio.to_thread(
            self.server.sql, "SELECT age FROM users ORDER BY id", self._database
        )
        return [int(age) for (age,) in rows]

    async def assert_caches_right(self, *remotes: Remote, seconds: float = 5.0) -> None:
        """Every cached key equals the primary's row, in every process and tier, soon; and stays
        so."""
        truth = await self.ages()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while wrong := await self._wrong(truth, remotes):
            assert loop.time() < until, f"(process, tier, id, cached, true): {wrong}"
            await asyncio.sleep(0.02)
        assert not await self._wrong(truth, remotes), "right once, and wrong again"

    async def _wrong(
        self, truth: Sequence[int], remotes: Sequence[Remote]
    ) -> list[tuple[int, str, int, int, int]]:
        wrong = []
        for tier in ("l1", "l2"):
            found = await asyncio.gather(
                *(remote.ask("everything", ids=list(IDS), tier=tier) for remote in remotes)
            )
            for number, ages in enumerate(found):
                differing = zip(IDS, ages, truth, strict=True)
                wrong += [
                    (number, tier, id, age, true) for id, age, true in differing if age != true
                ]
        return wrong


@pytest.fixture
def truth(repocache_servers: Servers, database: str) -> Truth:
    return Truth(repocache_servers, database)


async def until_busy(*remotes: Remote, reads: int = 60, writes: int = 8) -> None:
    """Until the storm in each has done so much more than until now."""
    for remote in remotes:
        before = await remote.ask("tally")

        async def enough(remote: Remote = remote, before: dict[str, int] = before) -> bool:
            now = await remote.ask("tally")
            return bool(
                now["reads"] >= before["reads"] + reads
                and now["writes"] >= before["writes"] + writes
            )

        await until(enough, "the storm blows")


async def nothing_waits(remote: Remote) -> None:
    """Until all that could not be published has been."""

    async def delivered() -> bool:
        return bool(await remote.ask("undelivered") == 0)

    await until(delivered, "all is delivered")


LEASES = """
local found = 0
for _, key in ipairs(redis.call('KEYS', '*:user:*')) do
  local root, record = string.match(key, '^([^{]*){b'), string.match(key, '^[^}]*}')
  local now = redis.call('HGET', record, 'i')
  local own = redis.call('HMGET', root .. '{b' .. ARGV[1] .. '}', 'i', 'g:user')
  local name = record .. ':' .. (now or '') .. '.' .. (own[2] or own[1] or '') .. ':'
  local reached = now and string.find(key, name, 1, true) == 1
  if reached and string.sub(redis.call('GET', key), 1, 1) == 'L' then found = found + 1 end
end
return found
"""


def leases(redis: RedisServer) -> int:
    """How many there are now that somebody could meet: those of a record that was made anew are out
    of reach."""
    found = redis.command("EVAL", LEASES, 0, owner_bucket("user"))
    assert isinstance(found, int)
    return found
