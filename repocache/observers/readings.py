"""From events to what metrics read of them. Pure, but for the totals that were told last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from repocache import events
from repocache.observers import catalogue as metrics
from repocache.observers.catalogue import Metric
from repocache.observers.distinct import DistinctKeys


class MetricReading(NamedTuple):
    """`value`: what is added to a counter, what a gauge is set to, what a histogram observes."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


class SeriesOver(NamedTuple):
    """What a gauge told is no more: the node was taken out. Nobody is to be alarmed by its last
    value."""

    metric: Metric
    labels: tuple[str, ...]


Readings = Iterable[MetricReading]
OF_NODES = (metrics.NODE_UP, metrics.NODE_READS, metrics.REPLICA_LAG, metrics.REPLICA_BEHIND)
WINDOW = 3_600.0
"""Seconds for which different keys are counted together."""
SIZED = 8
"""One of so many values that Redis gives is measured."""
PRIMARY = "primary"
"""What the primary is called; replicas are called by their addresses, or as they were named."""
OTHER = "other"
"""In the place of a text that is not one of a few."""


def one(metric: Metric, *labels: str) -> tuple[MetricReading, ...]:
    """It happened once."""
    return (MetricReading(metric, labels, 1),)


def none(metric: Metric, *labelled: tuple[str, ...]) -> tuple[MetricReading, ...]:
    """It has not happened: the series is there before it does, so that its first time is seen."""
    return tuple(MetricReading(metric, labels, 0) for labels in labelled)


class Totals:
    """Makes additions of totals: what an event tells since the process began, what was told of
    before."""

    def __init__(self) -> None:
        self._last: dict[tuple[Metric, tuple[str, ...]], float] = {}

    def added(self, metric: Metric, labels: tuple[str, ...], total: float) -> MetricReading:
        """Since the last time. A total that is less begins anew: its database was left."""
        last = self._last.get((metric, labels), 0.0)
        self._last[metric, labels] = total
        return MetricReading(metric, labels, total - last if total >= last else total)


class OwnerTally:
    """What Redis gave of one owner since it was last told: a hit there costs three additions, and
    not three calls of an exporter."""

    __slots__ = ("bytes", "distinct", "hits")

    def __init__(self) -> None:
        self.hits = self.bytes = 0
        self.distinct = DistinctKeys(WINDOW, time.monotonic())


class EventReader:
    """What each event says, for one exporter. Events that no metric is made of say nothing. Values
    that Redis gave are told with the next measuring; the sizes of one in `SIZED` of them."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._tallies: dict[str, OwnerTally] = {}
        self._nodes: set[str] = set()
        self._told: set[str] = set()
        self._readers: Mapping[type[events.Event], Callable[[Any], Readings]] = {
            **READERS,
            events.OwnerMeasured: self._owner,
            events.Served: self._served,
            events.Filled: self._filled,
        }

    def __call__(self, event: events.Event) -> Readings:
        read = self._readers.get(type(event))
        return () if read is None else read(event)

    def over(self, event: events.Event) -> Iterable[SeriesOver]:
        """What has ended, once all nodes have been told of."""
        if type(event) is events.NodeMeasured:
            self._told.add(event.node)
        elif type(event) is events.NodesMeasured:
            gone, self._nodes, self._told = self._nodes - self._told, self._told, set()
            return [SeriesOver(metric, (node,)) for node in gone for metric in OF_NODES]
        return ()

    def _tally(self, owner: str) -> OwnerTally:
        found = self._tallies.get(owner)
        if found is None:
            found = self._tallies[owner] = OwnerTally()
        return found

    def _served(self, event: events.Served) -> Readings:
        if event.tier != "l2" or not event.key:
            return _served(event)
        tally = self._tallies.get(event.owner) or self._tally(event.owner)
        tally.hits += 1
        tally.bytes += event.size
        tally.distinct.add(event.key)
        if tally.hits % SIZED or not event.size:
            return ()
        return (MetricReading(metrics.VALUE_SIZE, (event.owner,), event.size),)

    def _filled(self, event: events.Filled) -> Readings:
        self._tally(event.owner).distinct.add(event.key)
        return _filled(event)

    def _owner(self, event: events.OwnerMeasured) -> Readings:
        owner, added = (event.owner,), self._totals.added
        tally = self._tally(event.owner)
        hits, tally.hits = tally.hits, 0
        size, tally.bytes = tally.bytes, 0
        return (
            MetricReading(metrics.KEYS_DISTINCT, owner, tally.distinct.count(time.monotonic())),
            MetricReading(metrics.READS, (event.owner, "l2"), hits),
            MetricReading(metrics.REDIS_READ, owner, size),
            MetricReading(metrics.OWNER_INFO, (event.owner, event.pattern), 1),
            MetricReading(metrics.L1_ENTRIES, owner, event.entries),
            MetricReading(metrics.L1_MEMORY, owner, event.bytes),
            added(metrics.READS, (event.owner, "l1"), event.hits),
            added(metrics.READS, (event.owner, "joined"), event.joined),
            added(metrics.L1_MISSES, owner, event.misses),
            added(metrics.L1_EVICTIONS, owner, event.evicted),
            added(metrics.L1_EXPIRATIONS, owner, event.expired),
            added(metrics.L1_INVALIDATIONS, owner, event.invalidated),
            added(metrics.LEASE_WAITS, owner, event.waited),
            *none(metrics.FILLS, (event.owner, "landed"), (event.owner, "fenced")),
            *none(metrics.SHADOWED, (event.owner, "late"), (event.owner, "wrong")),
            *none(metrics.READS, (event.owner, "database")),
            *none(metrics.REDIS_WRITTEN, owner),
        )


def _served(event: events.Served) -> Readings:
    owner = (event.owner,)
    if event.tier == "l2":  # one past its time
        return (MetricReading(metrics.READS, (event.owner, "l2"), event.count),)
    if event.tier == "l1":
        return ()  # they are counted, and told together
    if event.tier != "database":
        return (MetricReading(metrics.READS, (event.owner, event.tier), event.count),)
    batch = (
        () if event.rows is not None else (MetricReading(metrics.BATCH_KEYS, owner, event.count),)
    )
    return (
        MetricReading(metrics.READS, (event.owner, "database"), event.count),
        MetricReading(metrics.LOAD_SECONDS, (event.owner, event.node), event.seconds),
        *batch,
    )


def _sizes(total: Metric, owner: str, size: int) -> Readings:
    if not size:
        return ()
    return (MetricReading(total, (owner,), size), MetricReading(metrics.VALUE_SIZE, (owner,), size))


def _filled(event: events.Filled) -> Readings:
    outcome = "landed" if event.landed else "fenced" if event.kept else "not kept"
    sizes = _sizes(metrics.REDIS_WRITTEN, event.owner, event.size) if event.landed else ()
    return (MetricReading(metrics.FILLS, (event.owner, outcome), 1), *sizes)


def _stored(event: events.Stored) -> Readings:
    return (
        MetricReading(metrics.STORES, ("landed",), event.landed),
        MetricReading(metrics.STORES, ("fenced",), event.offered - event.landed),
    )


def _published(event: events.Published) -> Readings:
    return (
        MetricReading(metrics.INVALIDATIONS_SENT, (), event.keys),
        MetricReading(metrics.QUERY_INVALIDATIONS, (), event.tags),
        MetricReading(metrics.PUBLISH_SECONDS, (), event.seconds),
    )


def _invalidated(event: events.Invalidated) -> Readings:
    source = "own" if event.mine else "others"
    return (MetricReading(metrics.INVALIDATIONS_APPLIED, (source,), len(event.keys)),)


def _sampled(event: events.Sampled) -> Readings:
    if event.node == PRIMARY:
        return ()
    return (
        MetricReading(metrics.REPLICA_LAG, (event.node,), event.lag),
        MetricReading(metrics.REPLICA_BEHIND, (event.node,), event.lag_bytes),
    )


def _node(event: events.NodeMeasured) -> Readings:
    return (
        MetricReading(metrics.NODE_UP, (event.node,), not event.out),
        MetricReading(metrics.NODE_READS, (event.node,), event.reads),
    )


def _out(event: events.NodeOut) -> Readings:
    return (
        MetricReading(metrics.NODE_UP, (event.node,), 0),
        *one(metrics.NODE_OUTS, event.node, event.why.partition(":")[0]),
    )


def _nodes(event: events.NodesMeasured) -> Readings:
    return (
        MetricReading(metrics.PRIMARY_READS, (), event.reads),
        MetricReading(metrics.PRIMARY_PLACES, (), event.places),
        MetricReading(metrics.PRIMARY_WAITING, (), event.waiting),
        MetricReading(metrics.MAX_LAG, (), event.max_lag),
        *none(metrics.VERIFIED, ("right",), ("late",), ("wrong",)),
        *none(metrics.STORES, ("landed",), ("fenced",)),
        *none(metrics.INVALIDATIONS_APPLIED, ("own",), ("others",)),
    )


def _link(event: events.LinkMeasured) -> Readings:
    return (
        MetricReading(metrics.CHANNEL_UP, (), event.alive),
        MetricReading(metrics.LINK_RESTING, (), event.resting),
    )


def _redis(event: events.RedisMeasured) -> Readings:
    return (
        MetricReading(metrics.REDIS_MEMORY, (), event.memory),
        MetricReading(metrics.REDIS_LIMIT, (), event.maxmemory),
        MetricReading(metrics.REDIS_KEYS, (), event.keys),
        MetricReading(metrics.REDIS_EVICTED, (), event.evicted),
        MetricReading(metrics.REDIS_EXPIRED, (), event.expired),
        MetricReading(metrics.CHANNEL_SECONDS, (), event.seconds),
    )


def _outbox(event: events.OutboxMeasured) -> Readings:
    return (
        MetricReading(metrics.OUTBOX_ROWS, ("waiting",), event.waiting),
        MetricReading(metrics.OUTBOX_ROWS, ("aside",), event.aside),
        MetricReading(metrics.OUTBOX_AGE, (), event.seconds),
    )


def _purges(event: events.PurgesMeasured) -> Readings:
    return (
        MetricReading(metrics.PURGES_ROWS, ("waiting",), event.waiting),
        MetricReading(metrics.PURGES_ROWS, ("aside",), event.aside),
        MetricReading(metrics.PURGES_AGE, (), event.seconds),
    )


def _edge(event: events.EdgeMeasured) -> Readings:
    edge = (event.edge,)
    return (
        MetricReading(metrics.EDGE_WAITING, edge, event.waiting),
        *none(metrics.EDGE_TAGS, edge),
        *none(metrics.EDGE_REQUESTS, edge),
        *none(metrics.EDGE_FAILURES, edge),
        *none(metrics.EDGE_FOLDED, edge),
        *none(metrics.EDGE_LEFT, edge),
    )


def _edge_purged(event: events.EdgePurged) -> Readings:
    edge = (event.edge,)
    return (
        MetricReading(metrics.EDGE_TAGS, edge, event.tags),
        MetricReading(metrics.EDGE_REQUESTS, edge, event.requests),
        MetricReading(metrics.EDGE_PURGE, edge, event.seconds),
    )


def _behind(event: events.BehindMeasured) -> Readings:
    return (
        MetricReading(metrics.BEHIND_CHANGES, (event.owner,), event.waiting),
        MetricReading(metrics.BEHIND_AGE, (event.owner,), event.seconds),
        *none(metrics.FLUSH_FAILURES, (event.owner,)),
        *none(metrics.DEAD_LETTERS, (event.owner,)),
        *none(metrics.FLUSHED_ROWS, (event.owner,)),
        *none(metrics.FLUSHED_CHANGES, (event.owner,)),
    )


def _flushed(event: events.WrittenBehind) -> Readings:
    owner = (event.owner,)
    return (
        MetricReading(metrics.FLUSHED_ROWS, owner, event.rows),
        MetricReading(metrics.FLUSHED_CHANGES, owner, event.changes),
        MetricReading(metrics.FLUSH_LAG, owner, event.seconds),
    )


def _verified(event: events.Verified) -> Readings:
    right = event.judged - event.late - event.wrong
    return (
        MetricReading(metrics.VERIFIED, ("right",), right),
        MetricReading(metrics.VERIFIED, ("late",), event.late),
        MetricReading(metrics.VERIFIED, ("wrong",), event.wrong),
    )


READERS: Mapping[type[events.Event], Callable[[Any], Readings]] = {
    events.HitSampled: lambda event: (MetricReading(metrics.L1_AGE, (event.owner,), event.age),),
    events.Stored: _stored,
    events.Published: _published,
    events.PublishFailed: lambda _: one(metrics.PUBLISH_FAILURES),
    events.Invalidated: _invalidated,
    events.GapSeen: lambda _: one(metrics.GAPS),
    events.ChannelUp: lambda _: (MetricReading(metrics.CHANNEL_UP, (), 1),),
    events.ChannelDown: lambda _: (
        MetricReading(metrics.CHANNEL_UP, (), 0),
        *one(metrics.CHANNEL_LOSSES),
    ),
    events.SerialReads: lambda event: one(metrics.SERIAL_READS, event.owner),
    events.ValueBig: lambda event: one(metrics.VALUES_BIG, event.owner),
    events.ValueRefused: lambda _: one(metrics.VALUES_REFUSED),
    events.CacheFailed: lambda event: one(metrics.CACHE_FAILURES, event.what),
    events.CommitUnknown: lambda _: one(metrics.COMMITS_UNKNOWN),
    events.UndeclaredWrite: lambda _: one(metrics.UNDECLARED_WRITES),
    events.HookFailed: lambda _: one(metrics.HOOK_FAILURES),
    events.TaskFailed: lambda _: one(metrics.TASK_FAILURES),
    events.Routed: lambda event: one(metrics.ROUTES, event.node, event.why),
    events.BookmarkRefused: lambda _: one(metrics.BOOKMARKS_REFUSED),
    events.Sampled: _sampled,
    events.NodeOut: _out,
    events.NodeBack: lambda event: (MetricReading(metrics.NODE_UP, (event.node,), 1),),
    events.NodeMeasured: _node,
    events.NodesMeasured: _nodes,
    events.LinkMeasured: _link,
    events.RedisMeasured: _redis,
    events.OutboxMeasured: _outbox,
    events.PurgesMeasured: _purges,
    events.EdgeMeasured: _edge,
    events.EdgePurged: _edge_purged,
    events.ResponseKept: lambda event: one(
        metrics.RESPONSES, event.how, "private" if event.why else "as declared"
    ),
    events.EdgePurgeFailed: lambda event: one(metrics.EDGE_FAILURES, event.edge),
    events.EdgeBacklogFolded: lambda event: (
        MetricReading(metrics.EDGE_FOLDED, (event.edge,), event.tags),
    ),
    events.EdgeBacklogLeft: lambda event: (
        MetricReading(metrics.EDGE_LEFT, (event.edge,), event.tags),
    ),
    events.BehindMeasured: _behind,
    events.MeasureFailed: lambda _: one(metrics.MEASURE_FAILURES),
    events.Relayed: lambda event: (MetricReading(metrics.RELAYED, (), event.rows),),
    events.RelayFailed: lambda _: one(metrics.RELAY_FAILURES),
    events.WrittenBehind: _flushed,
    events.FlushFailed: lambda event: one(metrics.FLUSH_FAILURES, event.owner),
    events.DeadLettered: lambda event: (
        MetricReading(metrics.DEAD_LETTERS, (event.owner,), event.letters),
    ),
    events.Shadowed: lambda event: one(metrics.SHADOWED, event.owner, event.verdict),
    events.Verified: _verified,
}
