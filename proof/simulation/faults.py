"""What goes wrong, and how it is put right again: one task that draws a fault, another, and
another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proof.simulation.forger import forge
from proof.simulation.outages import Outages
from proof.simulation.service import Service
from proof.simulation.world import World
from repocache.cache.switch import CacheMode
from repocache.keys import owner_bucket
from repocache.tags import tag_owner

PLACES = {
    **dict.fromkeys(
        ("restart", "failover", "away", "flush", "lose", "forge", "depose", "return"), "redis"
    ),
    **dict.fromkeys(("kill", "die", "stop", "strand"), "service"),
    **dict.fromkeys(("evict", "unregister"), "eviction"),
    "turn": "switch",
    "unstream": "stream",
    "miss primary": "way",
    **{f"freeze {host}": f"frozen {host}" for host in ("primary", "replica", "redis")},
}
"""Where a fault happens, if not in the database: one of a place at a time."""
LEAVING = 15.0
"""Seconds within which a process has left its database, whoever is silent."""


class Faults:
    """`run` until cancelled; `heal` afterwards."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = world.draw
        self._busy: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "evict": self._evict,
            "unregister": self._unregister,
            "flush": self._flush,
            "lose": self._lose,
            "forge": self._forge,
            "restart": self._restart_redis,
            "failover": self._fail_redis_over,
            "away": self._away,
            "depose": self._depose,
            "return": self._return,
            "pause": self._pause,
            "dam": self._dam,
            "crawl": self._crawl,
            "restart replica": self._restart_replica,
            "crash": self._crash,
            "backend crash": self._crash_backend,
            "promote": self._promote,
            "kill": self._kill,
            "die": self._die,
            "stop": self._stop,
            **Outages(world).kinds,
        }

    async def run(self) -> None:
        rates = self._world.profile.faults
        total = sum(rates.values()) / 10
        if not total:
            return
        kinds, weights = list(rates), list(rates.values())
        while True:
            await asyncio.sleep(self._draw.expovariate(total))
            [kind] = self._draw.choices(kinds, weights)
            self._world.operations += 1
            self._world.counts[kind] += 1
            self._world.note(kind)
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks.append(self._world.loop.create_task(self._happen(kind)))

    async def _happen(self, kind: str) -> None:
        """One of a place at a time: a server that is down does not fail again."""
        way, _, host = kind.partition(" ")
        if way in ("cut", "hold"):
            return await self._disturb(way, host)
        place = PLACES.get(kind, "postgres")
        if place in self._busy:
            return None
        self._busy.add(place)
        try:
            await self._kinds[kind]()
        finally:
            self._busy.discard(place)

    async def heal(self) -> None:
        """Everything is repaired."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        world = self._world
        for paths in world.paths.values():
            for path in paths.values():
                if path.held:
                    path.cut()
        for service in world.running():
            for owner in service.caches:
                service.turn(owner, CacheMode.ON)
        for server in world.cluster.replicas:
            server.paused, server.dam, server.pace = False, None, world.profile.pace.replay
            server.poke()

    async def _disturb(self, way: str, host: str) -> None:
        """One process's way to a server is cut, or silent for a while and then cut or whole
        again."""
        running = self._world.running()
        if not running:
            return None
        if host == "replica":
            host = self._draw.choice(("r1", "r2"))
        path = self._world.paths[self._draw.choice(running).owner.name][host]
        if way == "cut":
            return path.cut()
        if path.held:
            return None
        path.hold()
        await asyncio.sleep(self._draw.choice((0.01, 0.1, 0.5, 2.0)) * (0.5 + self._draw.random()))
        if self._draw.random() < 0.5:
            path.cut()
        else:
            path.release()

    async def _evict(self) -> None:
        self._world.redis.evict(self._draw.random)

    async def _unregister(self) -> None:
        """The records in which the shapes of selects are registered are evicted."""
        for owner in sorted({key[0] for key in self._world.profile.keys}):
            record = owner_bucket(tag_owner("public", owner).prefix)
            self._world.redis.records._records.pop(record, None)

    async def _flush(self) -> None:
        self._world.redis.flush()

    async def _forge(self) -> None:
        """Everybody hears a message that no script has sent."""
        forge(self._world.redis, self._draw)

    async def _lose(self) -> None:
        """The next message is lost for one process; one that follows tells."""
        self._world.redis.lose_next(self._draw.random)

    async def _restart_redis(self) -> None:
        """From a snapshot, or empty."""
        world = self._world
        if self._draw.random() < 0.6:
            world.remember()
            await asyncio.sleep(self._draw.random())
        world.redis.stop()
        world.redis_up = False
        await asyncio.sleep(0.3 * self._draw.random())
        world.new_redis(world.behind)
        world.redis_up, world.behind = True, None

    async def _away(self) -> None:
        """Nobody reaches it, and it forgets nothing."""
        world = self._world
        world.redis_up = False
        world.redis.stop()
        await asyncio.sleep(self._draw.choice((0.5, 2.0, 6.0)) * self._draw.random())
        world.redis_up = True

    async def _fail_redis_over(self) -> None:
        """A replica that was some way behind goes on in the master's place."""
        world = self._world
        world.remember()
        await asyncio.sleep(0.5 * self._draw.random())
        old = world.new_redis(world.behind)
        old.replica = True
        world.behind = None
        old.stop()

    async def _depose(self) -> None:
        """The same, but the old master lives on for a while, and its clients with it. Then a
        sentinel ends their connections; or it was demoted by hand, and goes on saying what it said.
        """
        world = self._world
        world.remember()
        await asyncio.sleep(0.5 * self._draw.random())
        old = world.new_redis(world.behind)
        old.deposed = True
        await asyncio.sleep(2 * self._draw.random())
        old.replica = True
        if self._draw.random() < 0.5:
            old.stop()
        world.oracle.disclaims(old)
        world.behind = None

    async def _return(self) -> None:
        """A replica goes on, the old master follows it and is then the master again, in the same
        process."""
        world = self._world
        await self._depose()
        old, between = world.redises[-2], world.redis
        await asyncio.sleep(0.3 * self._draw.random())
        between.deposed = True
        old.stop()
        old.take_over(between.records)
        old.promote(f"{old.run_id}.{len(world.redises)}")
        world.oracle.inherits(old, between)
        world.set_redis(old)
        between.replica = True
        between.stop()
        world.oracle.disclaims(between)

    async def _dam(self) -> None:
        """A replica's stream is held up: it is connected, and receives nothing new."""
        server = self._draw.choice(self._world.cluster.replicas)
        server.dam = self._world.cluster.flush
        await asyncio.sleep(self._draw.choice((0.05, 0.5, 1.0)))
        server.dam = None
        server.poke()

    async def _pause(self) -> None:
        server = self._draw.choice(self._world.cluster.replicas)
        server.paused = True
        await asyncio.sleep(self._draw.choice((0.05, 0.5, 3.0)))
        server.paused = False
        server.poke()

    async def _crawl(self) -> None:
        server = self._draw.choice(self._world.cluster.replicas)
        server.pace = 0.2
        await asyncio.sleep(2.0)
        server.pace = self._world.profile.pace.replay

    async def _restart_replica(self) -> None:
        cluster = self._world.cluster
        server = self._draw.choice(cluster.replicas)
        cluster.restart_replica(server, self._draw.random())
        await asyncio.sleep(self._draw.choice((0.0, 0.02, 0.5)))
        if not server.primary:
            cluster.start_replica(server)

    async def _crash(self) -> None:
        await self._down_and_up(postmaster=True)

    async def _crash_backend(self) -> None:
        await self._down_and_up(postmaster=False)

    async def _down_and_up(self, *, postmaster: bool) -> None:
        world = self._world
        world.cluster.crash(postmaster=postmaster)
        await asyncio.sleep(self._draw.choice((0.01, 0.1, 1.0)))
        world.cluster.recover(postmaster=postmaster)
        world.oracle.new_line()

    async def _promote(self) -> None:
        world = self._world
        at = self._draw.choice((1, 2))
        if not world.cluster.servers[at].up:
            return
        world.cluster.fail_over(at)
        world.oracle.new_line()
        await asyncio.sleep(self._draw.choice((0.05, 0.5)))
        world.cluster.rejoin()

    async def _kill(self) -> None:
        service = self._any()
        if service is not None:
            self._world.kill(service)
            await asyncio.sleep(0.2 * self._draw.random())
            await self._world.start_service()

    async def _die(self) -> None:
        """At its next COMMIT, before it has published it or a little later."""
        service = self._any()
        if service is None:
            return
        moment = self._world.doomed[service.owner] = self._world.loop.create_future()
        await asyncio.wait([moment], timeout=2.0)
        self._world.doomed.pop(service.owner, None)
        if moment.done() and service.running and not service.owner.dead:
            self._world.kill(service)
            await asyncio.sleep(0.2 * self._draw.random())
            await self._world.start_service()

    async def _stop(self) -> None:
        service = self._any()
        if service is not None:
            began = self._world.loop.now
            outcome = await self._world.run_in(service, service.stop())
            if self._world.loop.now - began > LEAVING and not service.owner.dead:
                self._world.oracle.blame(
                    f"{service.owner.name} took more than {LEAVING} s to leave"
                )
            if isinstance(outcome, Exception) and not service.owner.dead:
                self._world.oracle.blame(f"{service.owner.name} did not stop: {outcome!r}")
            self._world.kill(service)
            await self._world.start_service()

    def _any(self) -> Service | None:
        running = self._world.running()
        return self._draw.choice(running) if running else None
