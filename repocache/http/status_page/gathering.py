"""From a database and its live figures to the values that the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repocache.database import Database
from repocache.http.status_page.status import (
    BacklogRow,
    ChannelState,
    EdgeRow,
    HotRow,
    HotRows,
    InvalidationRow,
    NodeRow,
    OutboxState,
    OwnerRow,
    PrimaryPlaces,
    RedisState,
    Status,
    SwitchRow,
    hit_rate,
)
from repocache.observers import HotKey, LiveFigures, Metric
from repocache.observers import catalogue as metrics
from repocache.observers.figures import HeardKeys
from repocache.runtime.switches import SharedSwitch

MOST_INVALIDATIONS = 20
MOST_KEYS = 5
"""Of one invalidation."""
TIERS = ("l1", "l2", "joined", "database", "aside")
TierReads = Mapping[tuple[str, ...], float]
"""By owner and tier, since the process began."""


def gathered(
    db: Database, figures: LiveFigures, before: TierReads, now: float, *, show_keys: bool
) -> Status:
    """Reads nothing but what this process has. `before`: the reads when the page was looked at
    before. `now`: Unix time. Raises NotStarted, OtherLoop."""
    return Status(
        at=now,
        nodes=_nodes(db, figures),
        max_lag=_known(figures, metrics.MAX_LAG),
        places=PrimaryPlaces(
            int(figures.value(metrics.PRIMARY_READS)),
            int(figures.value(metrics.PRIMARY_PLACES)),
            int(figures.value(metrics.PRIMARY_WAITING)),
        ),
        owners=_owners(db, figures, before),
        channel=_channel(figures) if db.has_redis else None,
        redis=_redis(figures),
        outbox=_rows(figures, metrics.OUTBOX_ROWS, metrics.OUTBOX_AGE),
        backlog=tuple(
            BacklogRow(
                owner,
                int(waiting),
                figures.value(metrics.BEHIND_AGE, owner),
                int(figures.value(metrics.FLUSH_FAILURES, owner)),
                int(figures.value(metrics.DEAD_LETTERS, owner)),
            )
            for (owner,), waiting in sorted(figures.values(metrics.BEHIND_CHANGES).items())
        ),
        edges=_edges(figures),
        purges=_rows(figures, metrics.PURGES_ROWS, metrics.PURGES_AGE),
        invalidations=tuple(
            _invalidation(each, show_keys=show_keys)
            for each in list(figures.recent)[:MOST_INVALIDATIONS]
        ),
        hot=HotRows(
            _hot(figures.hot.reads(), show_keys=show_keys),
            _hot(figures.hot.misses(), show_keys=show_keys),
            _hot(figures.hot.bytes(), show_keys=show_keys),
        ),
        verdicts={
            verdict: int(count) for (verdict,), count in figures.values(metrics.VERIFIED).items()
        },
    )


def owner_of(key: str) -> str:
    """Whose it is: what stands before the first colon, which no prefix has."""
    return key.partition(":")[0]


def _known(figures: LiveFigures, metric: Metric) -> float | None:
    """Of a gauge without labels; None: not told yet."""
    return figures.values(metric).get(())


def _nodes(db: Database, figures: LiveFigures) -> tuple[NodeRow, ...]:
    routed: dict[str, float] = {}
    for (node, _), count in figures.values(metrics.ROUTES).items():
        routed[node] = routed.get(node, 0) + count
    primary, *_ = db.nodes
    return tuple(
        NodeRow(
            each.name,
            each.out,
            None if each.sample is None or each is primary else each.sample.lag,
            None if each.sample is None or each is primary else each.sample.lag_bytes,
            each.in_flight,
            int(routed.get(each.name, 0)),
        )
        for each in db.nodes
    )


def _owners(db: Database, figures: LiveFigures, before: TierReads) -> tuple[OwnerRow, ...]:
    """Those that are declared, and those that were told of."""
    patterns = {each[0]: each[1] for each in figures.values(metrics.OWNER_INFO)}
    patterns |= {each.prefix: each.pattern for each in db.owners}
    modes, reads = db.modes, figures.values(metrics.READS)
    switches = db.counting_switches
    return tuple(
        OwnerRow(
            owner,
            pattern,
            modes[owner].value if owner in modes else "",
            _switch(switches.get(owner)),
            _by_tier(reads, {}, owner),
            hit_rate(_by_tier(reads, before, owner)) if before else None,
            int(figures.value(metrics.L1_ENTRIES, owner)),
            int(figures.value(metrics.L1_MEMORY, owner)),
            int(figures.value(metrics.L1_EVICTIONS, owner)),
            int(figures.value(metrics.KEYS_DISTINCT, owner)),
            int(
                figures.value(metrics.REDIS_READ, owner)
                + figures.value(metrics.REDIS_WRITTEN, owner)
            ),
        )
        for owner, pattern in sorted(patterns.items())
    )


def _switch(found: SharedSwitch | None) -> SwitchRow | None:
    return None if found is None else SwitchRow(found.by, found.until)


def _by_tier(reads: TierReads, before: TierReads, owner: str) -> dict[str, int]:
    """Since `before`."""
    found = {}
    for tier in TIERS:
        count = int(reads.get((owner, tier), 0) - before.get((owner, tier), 0))
        if count:
            found[tier] = count
    return found


def _channel(figures: LiveFigures) -> ChannelState:
    up = _known(figures, metrics.CHANNEL_UP)
    published = figures.histogram(metrics.PUBLISH_SECONDS)
    trips = figures.histogram(metrics.CHANNEL_SECONDS)
    return ChannelState(
        up=None if up is None else bool(up),
        resting=bool(figures.value(metrics.LINK_RESTING)),
        losses=int(figures.value(metrics.CHANNEL_LOSSES)),
        gaps=int(figures.value(metrics.GAPS)),
        failures=int(figures.value(metrics.PUBLISH_FAILURES)),
        publication=published.mean if published.count else None,
        round_trip=trips.mean if trips.count else None,
    )


def _redis(figures: LiveFigures) -> RedisState | None:
    memory = _known(figures, metrics.REDIS_MEMORY)
    if memory is None:
        return None
    return RedisState(
        int(memory),
        int(figures.value(metrics.REDIS_LIMIT)),
        int(figures.value(metrics.REDIS_KEYS)),
        int(figures.value(metrics.REDIS_EVICTED)),
    )


def _rows(figures: LiveFigures, rows: Metric, age: Metric) -> OutboxState | None:
    """Of the outbox, or of purges."""
    seconds = _known(figures, age)
    if seconds is None:
        return None
    waiting, aside = (int(figures.value(rows, state)) for state in ("waiting", "aside"))
    return OutboxState(waiting, aside, seconds)


def _edges(figures: LiveFigures) -> tuple[EdgeRow, ...]:
    """Those that were told of."""
    lags = figures.histograms(metrics.EDGE_PURGE)
    return tuple(
        EdgeRow(
            edge,
            int(waiting),
            int(figures.value(metrics.EDGE_TAGS, edge)),
            figures.purged.get(edge),
            lags[edge,].mean if (edge,) in lags else None,
            int(figures.value(metrics.EDGE_FAILURES, edge)),
        )
        for (edge,), waiting in sorted(figures.values(metrics.EDGE_WAITING).items())
    )


def _invalidation(heard: HeardKeys, *, show_keys: bool) -> InvalidationRow:
    owners = tuple(sorted(set(map(owner_of, heard.keys))))
    shown = heard.keys[:MOST_KEYS] if show_keys else ()
    return InvalidationRow(heard.at, owners, len(heard.keys), heard.mine, shown)


def _hot(keys: Sequence[HotKey], *, show_keys: bool) -> tuple[HotRow, ...]:
    """In their order; without keys, what they count together for each owner."""
    found: dict[str, float] = {}
    for each in keys:
        name = each.key if show_keys else owner_of(each.key)
        found[name] = found.get(name, 0) + each.count
    order = sorted(found.items(), key=lambda item: item[1], reverse=True)
    return tuple(HotRow(name, count) for name, count in order)
