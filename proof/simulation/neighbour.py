"""A process of the same service that reaches another primary: two servers were promoted, and each
has its own clients.

Nobody writes to this one. Whatever else than its first rows comes out of the caches is of another
database.
"""

from __future__ import annotations

import asyncio
from random import Random

from proof.simulation.oracle import Oracle
from proof.simulation.postgres import Cluster
from proof.simulation.world import World

APART = 9_000_000
"""Where the other server's numbers begin, which tell its life from the first one's."""

MOST = 10
"""Records that may be made in a bucket: each process replaces the other history's once, a
publication that comes late makes it anew."""


class Neighbour:
    """One reader, who also counts the records that are made."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = Random(world.draw.random())
        self._cluster = Cluster(world.loop, world.profile.pace, list(world.profile.keys))
        self._cluster.set_apart(APART)

    async def run(self) -> None:
        world, draw = self._world, self._draw
        oracle = Oracle(world.loop, self._cluster)
        world.oracle.leaves_to(oracle)
        service = await world.start_on(self._cluster, oracle)
        name = service.owner.name
        while True:
            await asyncio.sleep(world.profile.think * draw.expovariate(1.0))
            owner, id = draw.choice(world.profile.keys)
            world.operations += 1
            found = await world.run_in(service, service.read(owner, [id]))
            if isinstance(found, Exception):
                world.oracle.blame(f"{name}: a read failed: {found!r}")
            elif found[id] != 0:
                world.oracle.blame(
                    f"{name} got version {found[id]} of {owner}:{id}, which its database never had"
                )
            for bucket, made in world.redis.made.items():
                if len(made) > MOST:
                    world.oracle.blame(f"the record of bucket {bucket} was made {len(made)} times")
