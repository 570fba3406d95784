"""What happened, as frozen values handed to one observer. Metrics, logs and the live view are
observers."""

from repocache.events.behind import BacklogLeft, DeadLettered, FlushFailed, WrittenBehind
from repocache.events.channel import ChannelDown, ChannelUp, GapSeen, Invalidated
from repocache.events.commits import (
    CommitUnknown,
    HookFailed,
    Published,
    PublishFailed,
    Stored,
    UndeclaredWrite,
)
from repocache.events.event import Event
from repocache.events.measures import (
    BehindMeasured,
    LinkMeasured,
    MeasureFailed,
    NodeMeasured,
    NodesMeasured,
    OutboxMeasured,
    OwnerMeasured,
    RedisMeasured,
)
from repocache.events.nodes import ClockJumped, HistoryChanged, NodeBack, NodeOut, Sampled
from repocache.events.observers import LoggingObserver, Observer, Observers, guarded, ignore
from repocache.events.out import Out
from repocache.events.outbox import (
    OutboxPutAside,
    OutboxRefused,
    OutboxUnowned,
    Relayed,
    RelayFailed,
)
from repocache.events.process import Degraded, TaskFailed, Unguarded
from repocache.events.reads import (
    BookmarkRefused,
    CachedEntityChanged,
    CacheFailed,
    Filled,
    HitSampled,
    Routed,
    SerialReads,
    Served,
    Shadowed,
    Switched,
    ValueBig,
    ValueRefused,
    Verified,
)

__all__ = [
    "BacklogLeft",
    "BehindMeasured",
    "BookmarkRefused",
    "CacheFailed",
    "CachedEntityChanged",
    "ChannelDown",
    "ChannelUp",
    "ClockJumped",
    "CommitUnknown",
    "DeadLettered",
    "Degraded",
    "Event",
    "Filled",
    "FlushFailed",
    "GapSeen",
    "HistoryChanged",
    "HitSampled",
    "HookFailed",
    "Invalidated",
    "LinkMeasured",
    "LoggingObserver",
    "MeasureFailed",
    "NodeBack",
    "NodeMeasured",
    "NodeOut",
    "NodesMeasured",
    "Observer",
    "Observers",
    "Out",
    "OutboxMeasured",
    "OutboxPutAside",
    "OutboxRefused",
    "OutboxUnowned",
    "OwnerMeasured",
    "PublishFailed",
    "Published",
    "RedisMeasured",
    "RelayFailed",
    "Relayed",
    "Routed",
    "Sampled",
    "SerialReads",
    "Served",
    "Shadowed",
    "Stored",
    "Switched",
    "TaskFailed",
    "UndeclaredWrite",
    "Unguarded",
    "ValueBig",
    "ValueRefused",
    "Verified",
    "WrittenBehind",
    "guarded",
    "ignore",
]
