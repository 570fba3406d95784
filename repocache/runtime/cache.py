"""The cache of one process while it runs: records, views, channel and bus, wired for one database.

Owns their start and stop. What they do is theirs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from repocache.background.tasks import Grace, Tasks
from repocache.behind.scripts import BEHIND_SCRIPTS
from repocache.cache.bucket_views import BucketViews
from repocache.cache.inflight import InflightLoads
from repocache.cache.local_store import LocalStore
from repocache.cache.process_cache import ProcessCache
from repocache.cache.settler import Settler
from repocache.events import Degraded
from repocache.invalidation.batch import Batch
from repocache.invalidation.bus import Bus, PublishRetry
from repocache.invalidation.channel import Channel, Receiver
from repocache.invalidation.feed import Feed
from repocache.invalidation.registered_tags import CommittedTags
from repocache.keys import KeySpace
from repocache.records import (
    SCRIPTS,
    MemoryRecords,
    Namespace,
    Nonces,
    Records,
    RedisRecords,
    Registrations,
)
from repocache.records.authorship import authorship
from repocache.records.sampler import NothingShared, RedisSampler, Sampler
from repocache.redis_link import Address, Link
from repocache.runtime.primary_wal import PrimaryWal
from repocache.settings import Settings
from repocache.subjects import SUBJECT_SCRIPTS

ALONE = (
    "this process hears of no other's writes: rows that others change stay in L1 until local_ttl "
    "ends; give Database(redis=...)"
)


@dataclass(frozen=True, slots=True)
class RunningCache:
    """What a running database works with. `receivers`: who hears the channel; feeds come and go
    there. `link`: to Redis, None where there is none. `sampler`: what lies in
    Redis, looked at from outside of the read path. `tags`: which of them commits move. `retry`:
    what a commit could not publish."""

    shared: ProcessCache
    link: Link | None
    sampler: Sampler
    bus: Bus
    tags: CommittedTags | None
    retry: PublishRetry
    tasks: Tasks
    receivers: list[Receiver]
    channel: Channel
    nonces: Nonces

    def evicts(self) -> bool:
        """Whether Redis said that it drops keys when its memory is full."""
        return self.channel.policy not in (None, "noeviction")


@asynccontextmanager
async def open_cache(  # noqa: PLR0913  # keyword-only
    settings: Settings,
    address: Address | None,
    keys: KeySpace,
    primary: PrimaryWal,
    *,
    strict: bool,
    tags: Callable[[Registrations], CommittedTags | None],
    asides: Mapping[str, float] = MappingProxyType({}),
    recovered: Callable[[], None],
    delivered: Callable[[Batch], None],
    grace: Grace,
) -> AsyncIterator[RunningCache]:
    """`address`: None: this process caches for itself alone. `strict`: an owner relies on Redis to
    evict nothing. `tags`: which of them commits move. `asides`: as of `Bus`. `recovered`: is called
    when Redis is back. `delivered`: hears what was published later than by its commit. `grace`: how
    long leaving waits for commits that are being published: they come first, and feeds end before
    them."""
    nonces, namespace, observe = Nonces(), Namespace(settings.app), settings.observe
    local = LocalStore(settings.local_entries, settings.local_bytes, time.monotonic)
    loads = InflightLoads()
    views = BucketViews(local, loads, keys, nonces.process, observe)
    receivers: list[Receiver] = [views]

    def again() -> None:
        retry.wake()
        recovered()

    author = authorship(settings.secrets, accept_unsigned=settings.accept_unsigned)
    channel = Channel(receivers, again, observe, primary.met, authorship=author, strict=strict)
    most = settings.cache.max_value
    records: Records
    connected: AbstractAsyncContextManager[object]
    sampler: Sampler
    link: Link | None = None
    if address is None:
        records = MemoryRecords(channel.announce, nonces, time.monotonic, 0)
        connected, sampler = nullcontext(), NothingShared()
    else:
        link = Link(
            address,
            channel,
            scripts=(*SCRIPTS, *SUBJECT_SCRIPTS, *BEHIND_SCRIPTS),
            channels=(namespace.channel,),
            settings=settings.link,
        )
        records = RedisRecords(link, namespace, nonces, author, channel, max_value=most)
        connected, sampler = link, RedisSampler(link, namespace, most)
    bus = Bus(records, settings.publish_timeout, observe, primary.met, asides)
    committed = tags(records)
    retry = PublishRetry(bus, primary.covering_position, observe, committed, delivered)
    with ending(views.down):
        async with connected, Tasks(grace, observe) as tasks:
            if address is None:
                views.up()
                observe(Degraded("redis", ALONE))
            tasks.keep(retry.run)
            settler = Settler(records, primary, tasks.spawn, observe)
            shared = ProcessCache(
                records,
                namespace,
                local,
                views,
                loads,
                primary,
                settler,
                tasks.spawn,
                observe,
                settings.cache,
            )
            with ending(partial(end_feeds, receivers)):
                yield RunningCache(
                    shared=shared,
                    link=link,
                    sampler=sampler,
                    bus=bus,
                    tags=committed,
                    retry=retry,
                    tasks=tasks,
                    receivers=receivers,
                    channel=channel,
                    nonces=nonces,
                )


@contextmanager
def ending(end: Callable[[], None]) -> Iterator[None]:
    """Call this on leaving."""
    try:
        yield
    finally:
        end()


def end_feeds(receivers: Sequence[Receiver]) -> None:
    """Their consumers' loops end."""
    for receiver in tuple(receivers):
        if isinstance(receiver, Feed):
            receiver.end()
