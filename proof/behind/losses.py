"""What a Redis that is killed loses of what it had accepted, under each of its settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from proof.behind.storm import make_tables
from proof.behind.words import Counter
from proof.behind.worker import QUIET
from repocache import Database, Flush, KeyOwner, WriteBehind
from repocache.errors import BehindUnavailable
from repocache.testing import Layout, Servers, embedded_servers
from tests.shop import until

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "appendfsync always": ("appendonly yes", "appendfsync always"),
    "appendfsync everysec": ("appendonly yes", "appendfsync everysec"),
    "appendfsync no": ("appendonly yes", "appendfsync no"),
    "RDB only: save 1 1": ("appendonly no", "save 1 1"),
    "no persistence": ("appendonly no", 'save ""'),
}


class Accepting(WriteBehind[Counter, int]):
    """Flushes nothing by itself."""

    owner = KeyOwner("counter")
    flush = Flush(every=86_400.0, most=10**9, backlog=10**9)


@dataclass(frozen=True, slots=True)
class Loss:
    """Increments a second, `accepted` until the kill, and `kept` after the start."""

    setting: str
    rate: float
    accepted: int
    kept: int

    def __str__(self) -> str:
        lost = self.accepted - self.kept
        return (
            f"| `{self.setting}` | {self.rate:,.0f} | {self.accepted:,} | {lost:,} "
            f"({lost / max(1, self.accepted):.0%}) |"
        )


async def loss(servers: Servers, setting: str, seconds: float) -> Loss:
    """Add for so long, kill the server without warning, start it again, and flush."""
    url = servers.primary.url(database="losses")
    accepted = 0
    loop = asyncio.get_running_loop()
    async with Database(
        url, redis=servers.redis.url, repositories=[Accepting], settings=QUIET
    ) as db:
        counters = db[Accepting]

        async def add(number: int) -> None:
            nonlocal accepted
            while loop.time() < ends:
                # One item for each: what is lost is not hidden by what goes together.
                await counters.add(number, hits=1)
                accepted += 1

        began = loop.time()
        ends = began + seconds
        await asyncio.gather(*(add(number) for number in range(16)))
        rate = accepted / (loop.time() - began)
        await asyncio.to_thread(servers.redis.kill)
        await asyncio.to_thread(servers.redis.start)
        await until(partial(is_back, counters), "Redis is back")
        await counters.flushed()
        found = await counters.get_many(range(16))
    kept = sum(each.hits for each in found.values())
    return Loss(setting, rate, accepted, kept)


async def is_back(counters: Accepting) -> bool:
    try:
        await counters.backlog()
    except BehindUnavailable:
        return False
    return True


def losses(names: Iterable[str], seconds: float = 4.0) -> list[Loss]:
    """Each on servers of its own."""
    found = []
    for name in names:
        with embedded_servers(Layout(replicas=0, redis=SETTINGS[name])) as servers:
            servers.primary.create_database("losses")
            asyncio.run(make_tables(servers.primary.url(database="losses")))
            found.append(asyncio.run(loss(servers, name, seconds)))
    return found
