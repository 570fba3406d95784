"""The cache of one process while it runs: records, views, channel and bus, wired for one database.

Owns their start and stop. What they do is theirs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from repocache.background.tasks import Grace, Tasks
from repocache.cache.bucket_views import BucketViews
from repocache.cache.inflight import InflightLoads
from repocache.cache.local_store import LocalStore
from repocache.cache.process_cache import ProcessCache
from repocache.cache.settler import Settler
from repocache.events import Degraded
from repocache.invalidation.bus import Bus, PublishRetry
from repocache.invalidation.channel import Channel, Receiver
from repocache.keys import KeySpace
from repocache.records import SCRIPTS, MemoryRecords, Namespace, Nonces, RedisRecords
from repocache.records.authorship import authorship
from repocache.records.sampler import NothingShared, RedisSampler, Sampler
from repocache.redis_link import Address, Link
from repocache.runtime.primary_wal import PrimaryWal
from repocache.settings import Settings

ALONE = (
    "this process hears of no other's writes: rows that others change stay in L1 until local_ttl "
    "ends; give Database(redis=...)"
)


@dataclass(frozen=True, slots=True)
class RunningCache:
    """What a running database works with. `receivers`: who hears the channel; feeds come and go
    there. `sampler`: what lies in Redis, looked at from outside of the read path."""

    shared: ProcessCache
    sampler: Sampler
    bus: Bus
    undelivered: PublishRetry
    tasks: Tasks
    receivers: list[Receiver]
    channel: Channel
    nonces: Nonces

    def evicts(self) -> bool:
        """Whether Redis said that it drops keys when its memory is full."""
        return self.channel.policy not in (None, "noeviction")


@dataclass(frozen=True, slots=True)
class Needs:
    """`strict`: an owner relies on Redis to evict nothing. `recovered`: is called when Redis is
    back. `grace`: how long leaving waits for commits that are being published."""

    strict: bool
    recovered: Callable[[], None]
    grace: Grace


@asynccontextmanager
async def open_cache(
    settings: Settings, address: Address | None, keys: KeySpace, standing: PrimaryWal, needs: Needs
) -> AsyncIterator[RunningCache]:
    """`address`: None: this process caches for itself alone. On leaving, commits under way are
    published first."""
    nonces, namespace, observe = Nonces(), Namespace(settings.app), settings.observe
    local = LocalStore(settings.local_entries, settings.local_bytes, time.monotonic)
    flights = InflightLoads()
    views = BucketViews(local, flights, keys, nonces.process, observe)
    receivers: list[Receiver] = [views]
    async with AsyncExitStack() as stack:
        stack.callback(views.down)

        def recovered() -> None:
            undelivered.wake()
            needs.recovered()

        author = authorship(settings.secrets, accept_unsigned=settings.accept_unsigned)
        channel = Channel(
            receivers, recovered, observe, standing.met, authorship=author, strict=needs.strict
        )
        link: Link | None = None
        records: RedisRecords | MemoryRecords
        if address is None:
            records = MemoryRecords(channel.announce, nonces, time.monotonic, 0)
        else:
            link = Link(
                address,
                channel,
                scripts=SCRIPTS,
                channels=(namespace.channel,),
                settings=settings.link,
            )
            records = RedisRecords(
                link,
                namespace,
                nonces,
                author,
                lambda: channel.server,
                max_value=settings.cache.max_value,
            )
        bus = Bus(records, settings.publish_timeout, observe, standing.met)
        undelivered = PublishRetry(bus, standing.covering_position, observe)
        if link is None:
            views.up()
            observe(Degraded("redis", ALONE))
        else:
            await stack.enter_async_context(link)
        tasks = await stack.enter_async_context(Tasks(needs.grace, observe))
        tasks.keep(undelivered.run)
        settler = Settler(records, standing, tasks.spawn, observe)
        shared = ProcessCache(
            records,
            namespace,
            local,
            views,
            flights,
            standing,
            settler,
            tasks.spawn,
            observe,
            settings.cache,
        )
        sampler = (
            NothingShared()
            if link is None
            else RedisSampler(link, namespace, settings.cache.max_value)
        )
        yield RunningCache(shared, sampler, bus, undelivered, tasks, receivers, channel, nonces)
