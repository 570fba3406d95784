"""All metrics: their names, kinds, units and labels. Prometheus and OpenTelemetry have the same
ones, each spelled as it is the custom there.

Labels are bounded: owners, nodes, tiers and reasons are few, and no key, id or text of a caller's
is ever one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a metric moves. COUNTER: up; GAUGE: both ways; HISTOGRAM: values in buckets."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Share(Enum):
    """What the processes of one server say together, where they share a scrape. SUM: each has its
    own part. MOST, LEAST: all tell of the same thing."""

    SUM = "sum"
    MOST = "most"
    LEAST = "least"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """`name`: words with `_` between them, without unit. `unit`: "", "seconds" or "bytes".
    `buckets`: upper bounds, of a histogram. `share`: of a gauge."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    share: Share = Share.SUM

    @property
    def full_name(self) -> str:
        """With its unit."""
        return f"{self.name}_{self.unit}" if self.unit else self.name


SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
AGES = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
SIZES = tuple(float(4**power) for power in range(2, 11))
"""16 bytes to 1 MB."""
LATER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


def _counter(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    return Metric(name, Kind.COUNTER, text, labels, unit)


def _gauge(name: str, text: str, *labels: str, unit: str = "", share: Share = Share.SUM) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels, unit, share=share)


def _histogram(
    name: str, text: str, *labels: str, unit: str = "", buckets: tuple[float, ...]
) -> Metric:
    return Metric(name, Kind.HISTOGRAM, text, labels, unit, buckets)


READS = _counter(
    "reads",
    "Reads answered, by the tier that answered: l1, l2 (Redis), joined (another caller's load), "
    "database, aside (kept by a Freshness for when the database is away).",
    "owner", "tier",
)  # fmt: skip
OWNER_INFO = _gauge(
    "owner_info", "1 for each owner of keys; its pattern.", "owner", "pattern", share=Share.MOST
)
LOAD_SECONDS = _histogram(
    "load", "What a statement of a read took, with the wait for a connection.", "owner", "node",
    unit="seconds", buckets=SECONDS,
)  # fmt: skip
BATCH_KEYS = _histogram("batch_keys", "Ids that one statement loaded.", "owner", buckets=COUNTS)
REDIS_READ = _counter("redis_read", "Bytes of values that Redis gave.", "owner", unit="bytes")
REDIS_WRITTEN = _counter(
    "redis_written", "Bytes of values that reads stored in Redis.", "owner", unit="bytes"
)
VALUE_SIZE = _histogram(
    "value_size",
    "Sizes of values that Redis took, and of one in eight that it gave.",
    "owner",
    unit="bytes",
    buckets=SIZES,
)
L1_AGE = _histogram(
    "l1_age", "Age of what a hit in L1 showed, of a sample of the hits.", "owner",
    unit="seconds", buckets=AGES,
)  # fmt: skip
L1_MISSES = _counter("l1_misses", "Reads that L1 did not answer.", "owner")
L1_ENTRIES = _gauge("l1_entries", "Entries of L1.", "owner")
L1_MEMORY = _gauge("l1_memory", "Memory that entries of L1 take.", "owner", unit="bytes")
L1_EVICTIONS = _counter("l1_evictions", "Entries of L1 that went for room.", "owner")
L1_EXPIRATIONS = _counter("l1_expirations", "Entries of L1 whose time was over.", "owner")
L1_INVALIDATIONS = _counter("l1_invalidations", "Entries of L1 that were invalidated.", "owner")
KEYS_DISTINCT = _gauge(
    "keys_distinct",
    "Different keys that were read past L1 in the last one to two hours, about (HyperLogLog).",
    "owner", share=Share.MOST,
)  # fmt: skip
LEASE_WAITS = _counter("lease_waits", "Loads that waited for another process's lease.", "owner")
FILLS = _counter(
    "fills",
    "Values offered to Redis: landed, or fenced, as something was written meanwhile, or not kept: "
    "there is no row and the policy keeps no word of that, or the value is too large.",
    "owner", "outcome",
)  # fmt: skip
STORES = _counter(
    "stores", "Values that write-through commits offered to Redis: landed or fenced.", "outcome"
)
VALUES_REFUSED = _counter("values_refused", "Values that were corrupt, foreign or too large.")
VALUES_BIG = _counter("values_big", "Values far beyond the usual size of their owner.", "owner")
CACHE_FAILURES = _counter("cache_failures", "Calls of a cache that failed.", "call")
SERIAL_READS = _counter(
    "serial_reads", "Requests that read one after another what one call would bring.", "owner"
)
INVALIDATIONS_SENT = _counter("invalidations_sent", "Keys whose invalidation commits published.")
QUERY_INVALIDATIONS = _counter(
    "query_invalidations", "Tags of cached selects that commits invalidated."
)
INVALIDATIONS_APPLIED = _counter(
    "invalidations_applied", "Keys of messages heard: of this process's own commits or others'.",
    "source",
)  # fmt: skip
PUBLISH_SECONDS = _histogram(
    "publish", "From COMMIT until Redis had passed the invalidation on to all subscribers.",
    unit="seconds", buckets=SECONDS,
)  # fmt: skip
CHANNEL_SECONDS = _histogram(
    "channel", "A round trip on the connection that messages come on, in their order.",
    unit="seconds", buckets=SECONDS,
)  # fmt: skip
PUBLISH_FAILURES = _counter("publish_failures", "Commits whose invalidation Redis did not take.")
CHANNEL_UP = _gauge("channel_up", "1 while invalidations are heard.", share=Share.LEAST)
CHANNEL_LOSSES = _counter("channel_losses", "Times that the channel was lost.")
GAPS = _counter("gaps", "Buckets of L1 dropped because a message of theirs may be lost.")
LINK_RESTING = _gauge(
    "link_resting", "1 while the circuit breaker of the link to Redis is open.", share=Share.MOST
)
COMMITS_UNKNOWN = _counter("commits_unknown", "COMMITs whose outcome is not known.")
UNDECLARED_WRITES = _counter("undeclared_writes", "Textual writes that did not say what of.")
ROUTES = _counter("routes", "Statements of reads, by node and the reason for it.", "node", "reason")
BOOKMARKS_REFUSED = _counter("bookmarks_refused", "Bookmarks that were not taken.")
NODE_UP = _gauge("node_up", "1 while the node is in the rotation.", "node", share=Share.LEAST)
NODE_READS = _gauge("node_reads", "Reads that are under way at the node.", "node")
NODE_OUTS = _counter("node_outs", "Times that a node left the rotation.", "node", "reason")
REPLICA_LAG = _gauge(
    "replica_lag", "How far a replica is behind.", "node", unit="seconds", share=Share.MOST
)
REPLICA_BEHIND = _gauge(
    "replica_behind", "WAL that a replica has not replayed.", "node", unit="bytes", share=Share.MOST
)
MAX_LAG = _gauge(
    "max_lag", "How far a replica in the rotation may be behind.", unit="seconds",
    share=Share.MOST,
)  # fmt: skip
PRIMARY_READS = _gauge("primary_reads", "Reads that the primary stands in for now.")
PRIMARY_PLACES = _gauge("primary_places", "Such reads that it may have at once.")
PRIMARY_WAITING = _gauge("primary_waiting", "Such reads that wait for a place.")
REDIS_MEMORY = _gauge("redis_memory", "Memory that Redis uses.", unit="bytes", share=Share.MOST)
REDIS_LIMIT = _gauge(
    "redis_limit", "Redis's maxmemory, 0: no limit.", unit="bytes", share=Share.MOST
)
REDIS_KEYS = _gauge("redis_keys", "Keys in Redis, of everybody.", share=Share.MOST)
REDIS_EVICTED = _gauge(
    "redis_evicted_keys", "Keys that went for room since Redis began.", share=Share.MOST
)
REDIS_EXPIRED = _gauge(
    "redis_expired_keys", "Keys whose time was over since Redis began.", share=Share.MOST
)
OUTBOX_ROWS = _gauge(
    "outbox_rows", "Rows that wait, and rows put aside.", "state", share=Share.MOST
)
OUTBOX_AGE = _gauge(
    "outbox_age", "Age of the oldest row that waits.", unit="seconds", share=Share.MOST
)
RELAYED = _counter("relayed_rows", "Rows of the outbox, and of purges, that relays delivered.")
RELAY_FAILURES = _counter("relay_failures", "Times that a relay could not do its work.")
RESPONSES = _counter(
    "responses", "Answers of GET and HEAD through HttpCache, and whether others may keep them.",
    "how", "kept",
)  # fmt: skip
EDGE_TAGS = _counter("edge_tags", "Tags that an edge has purged.", "edge")
EDGE_REQUESTS = _counter("edge_requests", "Requests that these purges took.", "edge")
EDGE_PURGE = _histogram(
    "edge_purge", "From when a commit had told its tags until the edge had purged them.", "edge",
    unit="seconds", buckets=LATER,
)  # fmt: skip
EDGE_FAILURES = _counter(
    "edge_purge_failures", "Purges that an edge did not take; they are tried again.", "edge"
)
EDGE_WAITING = _gauge("edge_waiting_tags", "Tags that wait to be purged at the edge.", "edge")
EDGE_FOLDED = _counter(
    "edge_folded_tags", "Tags that became fewer, which purge more pages: too many waited.", "edge"
)
EDGE_LEFT = _counter(
    "edge_left_tags", "Tags that waited when the database was left, and were not purged.", "edge"
)
PURGES_ROWS = _gauge(
    "purges_rows", "Rows of what edges have still to purge: waiting, or put aside.", "state",
    share=Share.MOST,
)  # fmt: skip
PURGES_AGE = _gauge(
    "purges_age", "Age of the oldest of these that waits.", unit="seconds", share=Share.MOST
)
BEHIND_CHANGES = _gauge(
    "behind_changes", "Changes that wait to be written.", "owner", share=Share.MOST
)
BEHIND_AGE = _gauge(
    "behind_age", "How long the oldest change has waited.", "owner", unit="seconds",
    share=Share.MOST,
)  # fmt: skip
FLUSH_LAG = _histogram(
    "flush_lag", "How long the oldest change of a flush had waited.", "owner",
    unit="seconds", buckets=AGES,
)  # fmt: skip
FLUSHED_ROWS = _counter("flushed_rows", "Rows that flushes wrote.", "owner")
FLUSHED_CHANGES = _counter("flushed_changes", "Changes that flushes wrote.", "owner")
FLUSH_FAILURES = _counter("flush_failures", "Flushes that failed and are tried again.", "owner")
DEAD_LETTERS = _counter("dead_letters", "Changes that the database refused.", "owner")
TASK_FAILURES = _counter("task_failures", "Tasks of the library that died.")
HOOK_FAILURES = _counter("hook_failures", "Hooks of the application that raised.")
MEASURE_FAILURES = _counter("measure_failures", "Parts that could not be measured.")
SHADOWED = _counter("shadowed", "Differences that shadow mode met, by verdict.", "owner", "verdict")
VERIFIED = _counter(
    "verified", "Cached values compared with the primary: right, late or wrong.", "verdict"
)

CATALOGUE: tuple[Metric, ...] = tuple(
    each for each in list(vars().values()) if isinstance(each, Metric)
)
"""All of them."""
