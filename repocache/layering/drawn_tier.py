"""One tier, and all of them from what is declared and what was seen. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from repocache.runtime.description import OwnerDescription, OwnerKind, OwnerTimes, Tier
from repocache.runtime.plan import DatabasePlan
from repocache.runtime.served import RouteDescription

OUTSIDE = ("browser", "CDN", "edge", "gateway")
"""Layers in front of the application, the farthest first."""
CDNS = ("fastly", "cloudflare")
"""First words of the names of edges that are a CDN."""
NOTHING_KEPT = "no-store"
NOT_CONFIGURED = "not configured: nothing here answers in this application's place"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a tier owns: keys of these prefixes, or tables. `life`: for how long, in words."""

    what: str
    life: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTier:
    """`about`: what it is, in a sentence. `live`: what was seen of it; empty: nobody looked.
    `is_well`: whether that is as it should be."""

    name: str
    about: str
    is_configured: bool = True
    holdings: tuple[Holding, ...] = ()
    live: str = ""
    is_well: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenServer:
    """What was seen of a server, in words, and whether it is as it should be."""

    live: str
    is_well: bool = True


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """A cache in front of the service. `header`: where it reads the tags of a page."""

    name: str
    header: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredServers:
    """What a database was made with. `replicas`: their names. `local_entries`, `local_bytes`:
    bounds of L1. `max_lag`: seconds. `edges`: in front of the service. `routes`: what its answers
    may be kept for. `seen`: by the tier's name.
    """

    has_redis: bool
    replicas: Sequence[str]
    local_entries: int
    local_bytes: int
    max_lag: float
    edges: Sequence[DrawnEdge] = ()
    routes: Sequence[RouteDescription] = ()
    seen: Mapping[str, SeenServer] = field(default_factory=lambda: MappingProxyType({}))


def drawn_edges(plan: DatabasePlan) -> tuple[DrawnEdge, ...]:
    """Those in front of the service."""
    declared = () if plan.edges is None else plan.edges.edges
    return tuple(DrawnEdge(each.name, each.header.name) for each in declared)


def drawn_tiers(
    owners: Sequence[OwnerDescription], servers: DeclaredServers
) -> tuple[DrawnTier, ...]:
    """From the browser to the primary; a tier that is not there is among them, and says so."""
    outside = [tier for layer in OUTSIDE for tier in _outside(layer, servers)]
    inside = (
        _l1(owners, servers),
        _redis(owners, servers),
        *_replicas(owners, servers),
        _primary(owners),
    )
    return tuple(_live(each, servers.seen) for each in (*outside, *inside))


def _outside(layer: str, servers: DeclaredServers) -> Iterator[DrawnTier]:
    """The edges of one layer, or the browser; the layer itself, if nothing is declared of it."""
    if layer == "browser" and servers.routes:
        yield DrawnTier(
            name=layer,
            about="each client's own: asks again, or is told 304",
            holdings=tuple(
                Holding(each.template, each.cache_control)
                for each in servers.routes
                if each.cache_control != NOTHING_KEPT
            ),
        )
        return
    here = [each for each in servers.edges if layer == _layer(each)]
    if not here:
        yield DrawnTier(name=layer, about=NOT_CONFIGURED, is_configured=False)
    shared = [
        Holding(each.template, each.targeted or each.cache_control)
        for each in servers.routes
        if each.is_shared
    ]
    for each in here:
        tags = Holding(
            f"pages, by their tags in {each.header}", "until a commit changes what they show"
        )
        yield DrawnTier(
            name=each.name,
            about=f"{layer} in front of the service: each commit purges it, soon and once more",
            holdings=(tags, *shared),
        )


def _layer(edge: DrawnEdge) -> str:
    return "CDN" if edge.name.partition(" ")[0] in CDNS else "edge"


def _l1(owners: Sequence[OwnerDescription], servers: DeclaredServers) -> DrawnTier:
    size = f"{servers.local_entries:,} entries, {servers.local_bytes / 2**20:g} MB at most"
    told = "told of changes by the channel" if servers.has_redis else "hears of no other's writes"
    holdings = tuple(_held(owners, Tier.L1, _local_life))
    return DrawnTier(
        name="L1",
        about=f"in each process: {size}; {told}",
        is_configured=bool(holdings),
        holdings=holdings,
    )


def _redis(owners: Sequence[OwnerDescription], servers: DeclaredServers) -> DrawnTier:
    if not servers.has_redis:
        return DrawnTier(
            name="Redis",
            about="not configured: each process caches for itself alone",
            is_configured=False,
        )
    return DrawnTier(
        name="Redis",
        about="shared by all processes: values, records, leases, the channel",
        holdings=tuple(_held(owners, Tier.REDIS, _shared_life)),
    )


def _replicas(owners: Sequence[OwnerDescription], servers: DeclaredServers) -> Iterator[DrawnTier]:
    if not servers.replicas:
        yield DrawnTier(
            name="replicas",
            about="not configured: every miss goes to the primary",
            is_configured=False,
        )
    kinds = (OwnerKind.REPOSITORY, OwnerKind.COMPUTED)
    count = sum(Tier.REPLICA in each.tiers and each.kind in kinds for each in owners)
    for name in servers.replicas:
        yield DrawnTier(
            name=replica_tier(name),
            about=f"misses of {count} owner{'s' * (count != 1)}, once it has replayed enough",
            holdings=(Holding("the rows", f"at most {servers.max_lag:g} s behind"),),
        )


def replica_tier(name: str) -> str:
    """The tier of a replica of that name."""
    return f"replica {name}"


def _primary(owners: Sequence[OwnerDescription]) -> DrawnTier:
    tables = dict.fromkeys(table for each in owners for table in each.tables)
    names = ", ".join(each.removeprefix("public.") for each in tables)
    return DrawnTier(
        name="primary",
        about="the truth: all writes, and what no other tier may answer",
        holdings=(Holding(names, "for good"),) if names else (),
    )


def _live(tier: DrawnTier, seen: Mapping[str, SeenServer]) -> DrawnTier:
    found = seen.get(tier.name)
    return tier if found is None else replace(tier, live=found.live, is_well=found.is_well)


def _held(
    owners: Sequence[OwnerDescription],
    tier: Tier,
    life: Callable[[OwnerTimes | None, OwnerKind], str],
) -> Iterator[Holding]:
    """Owners beside a repository's rows are named with them where they live as long."""
    here = [each for each in owners if tier in each.tiers]
    tags = [each for each in here if each.kind is OwnerKind.TAGS]
    rest = [each for each in here if each.kind is not OwnerKind.TAGS]
    grouped: dict[tuple[str, str], list[OwnerDescription]] = {}
    for each in rest:
        beside = "" if each.kind is OwnerKind.COMPUTED else each.beside
        grouped.setdefault((beside or each.prefix, life(each.times, each.kind)), []).append(each)
    for (root, told), several in grouped.items():
        yield Holding(" ".join(_shortened(root, several)), told)
    if tags:
        yield Holding(f"tags of {len(tags)} owners", "as long as what is cached under them")


def _shortened(root: str, several: Iterable[OwnerDescription]) -> Iterator[str]:
    for number, each in enumerate(several):
        yield f"+{each.prefix.removeprefix(root + '-')}" if number else each.prefix


def _local_life(times: OwnerTimes | None, _: OwnerKind) -> str:
    return "" if times is None else f"{times.local_ttl:g} s"


def _shared_life(times: OwnerTimes | None, kind: OwnerKind) -> str:
    if times is None:
        return ""
    if kind is OwnerKind.WRITE_BEHIND:
        return f"until it is flushed, about {times.ttl:g} s"
    more = [f"stale {times.stale_while_revalidate:g} s"] if times.stale_while_revalidate else []
    more += [f"fail-safe {times.fail_safe:g} s"] if times.fail_safe else []
    return ", ".join([f"{times.ttl:g} s", *more])
