"""Longer troubles of wider worlds: servers that are silent or away for longer than bookmarks count,
primaries that live on after others took their place, processes that die with what they could not
tell.

Each is one coroutine that makes it and mends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from proof.simulation.world import World
from repocache.cache.switch import CacheMode


class Outages:
    """`kinds`: what may happen, by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = world.wide
        self.kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "divide": self._divide,
            "outage": self._outage,
            "doze": self._doze,
            "unstream": self._unstream,
            "freeze primary": lambda: self._freeze("primary"),
            "freeze replica": lambda: self._freeze(self._draw.choice(("r1", "r2"))),
            "freeze redis": lambda: self._freeze("redis"),
            "miss primary": self._miss_primary,
            "strand": self._strand,
            "turn": self._turn,
        }

    def _life(self) -> float:
        """For how long some bookmark counts, or a little longer."""
        return self._draw.choice(self._world.profile.wide.windows) * (0.7 + self._draw.random())

    async def _divide(self) -> None:
        """A replica is promoted, and the old primary does not know it. Some processes still find it
        by name, and all keep their connections. After a while it is fenced."""
        world, draw = self._world, self._draw
        at = draw.choice((1, 2))
        old = world.cluster.primary
        world.oracle.parts()
        line = world.cluster.divide(at, followed=draw.random() < 0.5)
        for service in world.running():
            if draw.random() < 0.4:
                service.nodes.stale = old
        world.oracle.new_line()
        world.divided = True
        await asyncio.sleep(draw.choice((0.02, 0.2)))
        world.cluster.rejoin()
        await asyncio.sleep(draw.random())
        for service in world.running():
            if draw.random() < 0.5:
                service.nodes.stale = None
        await asyncio.sleep(draw.choice((0.5, 3.0)) * draw.random())
        world.cluster.fence(line)
        world.divided = False
        await asyncio.sleep(draw.choice((0.05, 0.5)))
        world.cluster.rejoin()

    async def _outage(self) -> None:
        """No primary for longer than bookmarks count, and replicas that were behind when it
        went."""
        world, draw = self._world, self._draw
        cluster = world.cluster
        for server in draw.choice((cluster.replicas[:1], cluster.replicas[1:], cluster.replicas)):
            server.paused = True
        await asyncio.sleep(world.profile.max_lag * (0.5 + 2.0 * draw.random()))
        cluster.crash(postmaster=True)
        for _ in range(draw.randrange(3)):
            await asyncio.sleep(0.1 * draw.random())
            if world.profile.wide.judges_lag:
                continue
            server = draw.choice(cluster.replicas)
            cluster.restart_replica(server, draw.random())
            await asyncio.sleep(0.1 * draw.random())
            cluster.start_replica(server)
        await asyncio.sleep(self._life())
        if draw.random() < 0.3:
            cluster.fail_over(draw.choice((1, 2)))
            world.oracle.new_line()
            await asyncio.sleep(0.2)
            cluster.rejoin()
        else:
            cluster.recover(postmaster=True)
            world.oracle.new_line()
        await asyncio.sleep(draw.random())
        for server in cluster.servers:
            server.paused = False
            server.poke()

    async def _doze(self) -> None:
        """A replica replays nothing for about as long as it may be behind, anywhere."""
        world, draw = self._world, self._draw
        server = draw.choice(world.cluster.replicas)
        lag = draw.choice(world.profile.wide.lags or (world.profile.max_lag,))
        server.paused = True
        await asyncio.sleep(lag * (0.5 + 0.8 * draw.random()))
        server.paused = False
        server.poke()

    async def _unstream(self) -> None:
        """A replica has no receiver for a while."""
        cluster, draw = self._world.cluster, self._draw
        server = draw.choice(cluster.replicas)
        if server.receiver is not None:
            server.receiver = None
            await asyncio.sleep(draw.choice((0.05, 0.5)) * draw.random())
            cluster.stream(server)

    async def _freeze(self, host: str) -> None:
        """A server says nothing to anybody."""
        world, draw = self._world, self._draw
        world.frozen.add(host)
        for paths in world.paths.values():
            paths[host].hold()
        await asyncio.sleep(draw.choice((1.0, 4.0, 25.0)) * (0.5 + draw.random()))
        world.frozen.discard(host)
        for path in [paths[host] for paths in world.paths.values() if paths[host].held]:
            if draw.random() < 0.3:
                path.cut()
            else:
                path.release()

    async def _miss_primary(self) -> None:
        """One process does not reach the primary, for longer than bookmarks count."""
        world = self._world
        running = world.running()
        if not running:
            return
        path = world.paths[self._draw.choice(running).owner.name]["primary"]
        if path.held:
            return
        path.hold()
        await asyncio.sleep(self._life())
        path.cut()

    async def _strand(self) -> None:
        """A process cannot tell Redis what it commits, and then dies with it."""
        world, draw = self._world, self._draw
        running = world.running()
        if len(running) < 2:
            return
        service = draw.choice(running)
        path = world.paths[service.owner.name]["redis"]
        if path.held:
            return
        path.hold()
        world.stranded = service.owner
        await asyncio.sleep(0.5 + 1.5 * draw.random())
        world.stranded = None
        if not service.owner.dead:
            world.kill(service)
            await world.start_service()

    async def _turn(self) -> None:
        """An owner's cache is switched in one process, and on again."""
        world, draw = self._world, self._draw
        running = world.running()
        if not running:
            return
        service = draw.choice(running)
        owner = draw.choice(list(service.access))
        for mode in (draw.choice((CacheMode.OFF, CacheMode.OFF, CacheMode.SHARED)), CacheMode.ON):
            if service.running:
                service.turn(owner, mode)
            await asyncio.sleep(0.1 * draw.random())
