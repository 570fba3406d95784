"""One run: servers, processes, clients and faults from one seed, and what the oracle says at the
end.

Owns the course of things. What a fault does to a server is the servers' affair, what is right the
oracle's.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar

from proof.simulation.consumers import Consumer
from proof.simulation.engines import Nodes
from proof.simulation.loop import OWNER, Loop, Owner
from proof.simulation.network import WORLDS, Path, Refused, Stream
from proof.simulation.oracle import Oracle
from proof.simulation.postgres import Cluster
from proof.simulation.profile import Profile
from proof.simulation.redis import APP, Redis
from proof.simulation.redis import Client as RedisClient
from proof.simulation.server import Key
from proof.simulation.service import OWNERS, Outside, Release, Service
from repocache.cache.entry import CacheSettings
from repocache.cache.switch import CacheMode
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import DatabaseUnavailable
from repocache.events import Event
from repocache.invalidation.outbox import OutboxMode
from repocache.records import MemoryRecords
from repocache.redis_link import BreakerSettings, Limits, LinkSettings
from repocache.settings import Settings

HOSTS = ("redis", "primary", "r1", "r2")
FORGETS = {"flush", "restart", "failover", "depose", "return"}
"""Faults in which a Redis loses what it was told."""
Tell = Callable[[str], object]
T = TypeVar("T")


def turn(values: Sequence[T], number: int) -> T:
    """Whose turn it is."""
    return values[number % len(values)]


class World:
    """The servers, the processes and their ways to each other."""

    def __init__(self, loop: Loop, seed: int, profile: Profile, tell: Tell) -> None:
        self.loop = loop
        self.seed = seed
        self.draw = Random(seed ^ 0xFA17)
        self.wide = Random(f"{seed} wide")
        self.profile = profile
        self.tell = tell
        self.operations = 0
        self.trace = 0
        self.counts: Counter[str] = Counter()
        self.cluster = Cluster(loop, profile.pace, list(profile.keys))
        skew = profile.wide.skew * self.wide.uniform(-1.0, 1.0)
        for server in self.cluster.servers:
            server.skew = skew + (self.wide.uniform(-0.05, 0.05) if skew else 0.0)
        self.cluster.tell = self._happened
        self.oracle = Oracle(loop, self.cluster)
        self.cluster.gone = self.oracle.left
        self.redis = Redis(loop, self.oracle, "redis1")
        self.redises = [self.redis]
        self.redis_up = True
        self.behind: MemoryRecords | None = None
        self.services: dict[str, Service] = {}
        self.paths: dict[str, dict[str, Path]] = {}
        self.streams: dict[str, Stream] = {}
        self.waiting: dict[str, dict[asyncio.Future[Any], None]] = {}
        self.publishers: dict[int, Owner] = {}
        self.doomed: dict[Owner, asyncio.Future[None]] = {}
        self.consumers: list[Consumer] = []
        self.frozen: set[str] = set()
        self.divided = False
        self.links: dict[str, str] = {}
        self.stranded: Owner | None = None
        self._number = 0
        self._redises = 1
        loop.connect = self._connect

    def note(self, *what: object) -> None:
        """One more thing that happened."""
        said = f"{self.loop.now:.7f} {what}"
        self.trace = zlib.crc32(said.encode(), self.trace)
        self.tell(said)

    def _happened(self, what: str, *more: Any) -> None:
        """In the database."""
        self.note(what, *more)
        rows = more[-1]
        doomed = {
            self.publishers[version]: None
            for version, _ in rows.values()
            if version in self.publishers
        }
        for owner in doomed if what == "record" else ():
            moment = self.doomed.pop(owner, None)
            if moment is not None:
                soon = 2 * self.profile.pace.visible + 6 * self.profile.slow
                delay = self.draw.random() * self.draw.choice((soon, soon, 0.4))
                self.loop.call_later(delay, moment.set_result, None, context=WORLDS)

    def settings(self, observe: Callable[[Event], None], number: int = 0) -> Settings:
        """Of the process with this number. A window is no shorter than its other times allow."""
        profile, wide = self.profile, self.profile.wide
        topology = TopologySettings(
            sample_every=turn(wide.samples or (profile.sample_every,), number),
            max_lag=turn(wide.lags or (profile.max_lag,), number),
            catch_up_wait=profile.catch_up,
            probe_timeout=profile.reply,
        )
        limits = Limits(reply_timeout=profile.reply, pulse=profile.reply)
        return Settings(
            app=APP,
            window=max(
                turn(wide.windows, number), topology.staleness + 0.01, limits.silence + 0.01
            ),
            uncovered=self._uncovered() if len(wide.ttls) > 1 else 0.0,
            monotonic=profile.monotonic,
            observe=observe,
            publish_timeout=profile.publish,
            outbox=OutboxMode.REQUIRED if profile.outbox else OutboxMode.OFF,
            topology=topology,
            cache=CacheSettings(
                lease=profile.lease,
                patience=profile.patience,
                mode=CacheMode.OFF if wide.off else CacheMode.ON,
            ),
            link=LinkSettings(
                limits=limits,
                breaker=BreakerSettings(cooldown=0.5),
            ),
        )

    def _uncovered(self) -> float:
        """What all processes are told where their lives of values differ: the longest of all."""
        profile, wide = self.profile, self.profile.wide
        lag = (
            max(wide.lags or (profile.max_lag,))
            + max(wide.samples or (profile.sample_every,))
            + profile.reply
        )
        return max(wide.ttls) + max(wide.local_ttls) + lag + profile.lease

    def release(self, number: int) -> Release:
        """What the process with this number was made with."""
        wide = self.profile.wide
        owners = turn(wide.owners or (OWNERS,), number)
        columns = turn(wide.columns or ((),), number)
        return Release(
            owners, turn(wide.ttls, number), turn(wide.local_ttls, number), columns, wide.freshness
        )

    async def start_service(self) -> None:
        """Another process; it tries until the primary answers."""
        await self.start_on(self.cluster, self.oracle)

    async def start_on(self, cluster: Cluster, oracle: Oracle) -> Service:
        """The same, of the process of a database that is `oracle`'s."""
        self._number += 1
        owner, wide = Owner(f"p{self._number}"), self.profile.wide
        if wide.skew or wide.drift:
            owner.skew, owner.drift = (
                most * self.wide.uniform(-1.0, 1.0) for most in (wide.skew, wide.drift)
            )
        paths = {host: Path(self.loop, self.profile.slow, owner.context) for host in HOSTS}
        # Where a question is never answered in time there is nothing to be judged.
        slowest = self.profile.reply / 8
        for host in HOSTS[1:]:
            slow = paths[host].slow * turn(wide.ways, self._number - 1)
            paths[host].slow = max(paths[host].slow, min(slow, slowest))
        self.paths[owner.name] = paths
        for host in sorted(self.frozen):
            paths[host].hold()
        outside = Outside(self.loop, oracle, Nodes(cluster, paths), self._hear)
        self.waiting[owner.name] = {}
        number = self._number - 1
        settings = self.settings(self._observe(owner), number)
        while True:
            service = Service(owner, outside, settings, self.release(number))
            self.services[owner.name] = service
            outcome = await self.run_in(service, service.start())
            if not isinstance(outcome, DatabaseUnavailable):
                break
            await self.run_in(service, service.stop())
            await asyncio.sleep(0.1)
        if isinstance(outcome, Exception) and not owner.dead:
            self.oracle.blame(f"{owner.name} did not start: {outcome!r}")
        for each in service.access if wide.feeds else ():
            consumer = Consumer(service, each, self.profile.keys)
            self.consumers.append(consumer)
            self.loop.create_task(self._consume(consumer))
        return service

    async def _consume(self, consumer: Consumer) -> None:
        outcome = await self.run_in(consumer.service, consumer.run())
        if isinstance(outcome, Exception) and not consumer.service.owner.dead:
            self.oracle.blame(f"a consumer of {consumer.service.owner.name} failed: {outcome!r}")

    def _observe(self, owner: Owner) -> Callable[[Event], None]:
        def observe(event: Event) -> None:
            self.counts[type(event).__name__] += 1
            self.tell(f"{self.loop.now:.7f} {owner.name} {event}")
            if type(event).__name__ in ("TaskFailed", "HookFailed"):
                self.oracle.blame(f"{owner.name}: {event}")

        return observe

    async def run_in(self, service: Service, coroutine: Any, patience: float = 0.0) -> Any:
        """The coroutine's result or error, run by the process; Crashed if the process dies
        meanwhile. `patience`: seconds after which it is cancelled, 0: never."""
        reply: asyncio.Future[Any] = self.loop.create_future()

        async def run() -> None:
            try:
                outcome = await coroutine
            except Exception as error:  # noqa: BLE001
                # Whatever it is, it is the client's to judge.
                outcome = error
            except asyncio.CancelledError:
                outcome = Cancelled()
            if not reply.done():
                reply.set_result(outcome)

        waiting = self.waiting[service.owner.name]
        waiting[reply] = None
        task = self.loop.create_task(run(), context=service.context.copy())
        if patience:
            self.loop.call_later(patience, task.cancel, context=service.context)
        try:
            return await reply
        finally:
            waiting.pop(reply, None)

    @property
    def holds(self) -> bool:
        """Whether Redis keeps write leases in this run, and everybody takes them, so that a strict
        owner's readers are never given the past."""
        return not (self.profile.strangers or FORGETS & self.profile.faults.keys())

    def running(self) -> list[Service]:
        """The processes of the first database."""
        ours = (each for each in self.services.values() if each.oracle is self.oracle)
        return [each for each in ours if each.running and not each.owner.dead]

    def kill(self, service: Service) -> None:
        """The process ends between two of its steps."""
        service.owner.dead = True
        service.running = False
        for path in self.paths[service.owner.name].values():
            path.cut()
        for reply in list(self.waiting[service.owner.name]):
            if not reply.done():
                reply.set_result(Crashed())

    def _hear(self, redis: Redis, versions: dict[Key, int]) -> None:
        """Each process in its turn, on its way."""
        for service in self.running():
            stream = self.streams.get(service.owner.name)
            if stream is not None and stream.session in redis.subscribers:
                stream.say(partial(service.heard.note, versions))

    def remember(self) -> None:
        """From here on Redis's replica, or its snapshot, hears nothing new."""
        self.behind = Redis(self.loop, self.oracle, "copy", self.redis.records).records

    def new_redis(self, before: MemoryRecords | None) -> Redis:
        """A server with another run id, and what it has of the data of before."""
        self._redises += 1
        old = self.redis
        self.redis = Redis(self.loop, self.oracle, f"redis{self._redises}", before)
        self.oracle.inherits(self.redis, old)
        self.redises.append(self.redis)
        return old

    def set_redis(self, redis: Redis) -> None:
        """To it the name leads from now on."""
        self.redis = redis
        self.redises.append(redis)

    async def _connect(self, factory: Callable[[], Any], _host: str, _port: int) -> Any:
        service = self.services[OWNER.get().name]
        path = self.paths[service.owner.name]["redis"]
        arrived: asyncio.Future[None] = self.loop.create_future()
        path.carry(lambda: None if arrived.done() else arrived.set_result(None), path.context)
        await arrived
        if not self.redis_up:
            raise Refused("redis")
        protocol = factory()
        stream = Stream(path, protocol)
        stream.session = RedisClient(self.redis, stream)
        self.streams[service.owner.name] = stream
        service.redis = self.redis
        protocol.connection_made(stream)
        return stream, protocol


class Crashed(Exception):
    """The process that was asked is no more."""


class Cancelled(Exception):
    """The caller did not wait."""
