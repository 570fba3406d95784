"""The map on the page: the layering as it is declared, with what this process has seen of it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from repocache.database import Database
from repocache.http.status_page.markup import Markup, count, percent, seconds, size
from repocache.http.status_page.status import NodeRow, Status
from repocache.layering.drawn_tier import (
    DeclaredServers,
    SeenServer,
    drawn_edges,
    drawn_tiers,
    replica_tier,
)
from repocache.layering.svg import STYLE, as_svg

MAP_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""Of the picture's own style."""
PRIMARY = "primary"


def drawn(db: Database, status: Status) -> Markup:
    """From the browser to the primary. The picture says its texts to those who hear it."""
    settings = db.settings
    servers = DeclaredServers(
        has_redis=db.has_redis,
        replicas=[each.name for each in db.replicas],
        local_entries=settings.local_entries,
        local_bytes=settings.local_bytes,
        max_lag=settings.topology.max_lag,
        edges=drawn_edges(db.plan),
        routes=db.routes,
        seen=seen_by(status),
    )
    picture = as_svg(drawn_tiers(db.owners, servers), "Who answers, and what each owns")
    return Markup(f'<div class="wide" role="region" tabindex="0" aria-label="Map">{picture}</div>')


def seen_by(status: Status) -> Mapping[str, SeenServer]:
    """By the name of the tier, in words."""
    reads = {tier: sum(each.reads.get(tier, 0) for each in status.owners) for tier in ("l1", "l2")}
    total = sum(each.total for each in status.owners)
    found = {"L1": SeenServer(live=f"{answered(reads['l1'], total)}; {held(status)}")}
    if status.channel is not None:
        up = status.channel.up is not False
        memory = f", {size(status.redis.memory)}" if status.redis is not None else ""
        live = f"{answered(reads['l2'], total)}{memory}" if up else "the channel is down"
        found["Redis"] = SeenServer(live=live, is_well=up)
    for edge in status.edges:
        told = f"{count(edge.purged)} tags purged, {count(edge.waiting)} wait"
        found[edge.edge] = SeenServer(live=told)
    for each in status.nodes:
        name = PRIMARY if each.name == PRIMARY else replica_tier(each.name)
        found[name] = node_seen(each)
    return found


def answered(reads: int, total: int) -> str:
    """Of all reads by id."""
    return f"{count(reads)} reads answered" + (f", {percent(reads / total)}" if total else "")


def held(status: Status) -> str:
    """What lies in L1."""
    entries = sum(each.entries for each in status.owners)
    return f"{count(entries)} entries, {size(sum(each.memory for each in status.owners))}"


def node_seen(row: NodeRow) -> SeenServer:
    """In the rotation, or why it is not."""
    if row.out:
        return SeenServer(live=f"out of the rotation: {row.out}", is_well=False)
    lag = "" if row.lag is None else f", lag {seconds(row.lag)}"
    return SeenServer(live=f"in the rotation{lag}; {count(row.routed)} statements")
