"""What the servers of an application are like now, in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from repocache.database import Database
from repocache.doctor.edge_facts import EdgeFacts, read_edges
from repocache.doctor.redis_facts import RedisFacts, read_redis
from repocache.errors import RepocacheError
from repocache.layering.drawn_tier import SeenServer, replica_tier
from repocache.nodes.topology import NodeStatus

SETTLED = 3.0
"""Seconds: right after the start it is not known how far behind a replica is."""


async def look_at_servers(db: Database) -> dict[str, SeenServer]:
    """By the name of their tier. Starts the database for it, in this process, if its primary
    answers."""
    found: dict[str, SeenServer] = {}
    address = db.plan.address
    if address is not None:
        found["Redis"] = redis_seen(
            await read_redis(address, db.settings, db.settings.link.connect_timeout)
        )
    if db.plan.edges is not None:
        for edge in await read_edges(db.plan.edges, db.settings.app):
            found[edge.name] = edge_seen(edge)
    try:
        async with db:
            nodes = await settled(db)
    except RepocacheError as error:
        found["primary"] = SeenServer(live=str(error), is_well=False)
        return found
    for each in nodes:
        name = each.name if each.name == "primary" else replica_tier(each.name)
        found[name] = node_seen(each)
    return found


async def settled(db: Database) -> Sequence[NodeStatus]:
    """Once all are in the rotation, or have had their time."""
    until = time.monotonic() + SETTLED
    # Samples come without an event.
    while any(each.out for each in db.nodes) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return db.nodes


def edge_seen(facts: EdgeFacts) -> SeenServer:
    """Whether it takes purges, or why not."""
    if facts.hindrance:
        return SeenServer(live=f"takes no purge: {facts.hindrance}", is_well=False)
    return SeenServer(live="takes purges")


def node_seen(node: NodeStatus) -> SeenServer:
    """In the rotation with its lag, or why it is not."""
    if node.out:
        return SeenServer(live=f"out of the rotation: {node.out}", is_well=False)
    lag = "" if node.sample is None else f", lag {node.sample.lag:.3f} s"
    return SeenServer(live=f"in the rotation{lag}")


def redis_seen(facts: RedisFacts) -> SeenServer:
    """Version and memory, or why it does not answer."""
    if facts.unreachable:
        return SeenServer(live=facts.unreachable, is_well=False)
    most = f" of {facts.maxmemory / 2**20:.1f} MB" if facts.maxmemory else ", without a limit"
    return SeenServer(live=f"{facts.version}, {facts.used_memory / 2**20:.1f} MB{most}")
