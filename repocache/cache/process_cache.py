"""What the caches of all owners of one process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from repocache.cache.bucket_views import BucketViews
from repocache.cache.entry import CacheSettings
from repocache.cache.histories import Histories
from repocache.cache.inflight import InflightLoads
from repocache.cache.local_store import LocalStore
from repocache.cache.settler import CachePrimary, Settler, Spawn
from repocache.events import Observer
from repocache.records import Namespace, Records


@dataclass(frozen=True, slots=True)
class ProcessCache:
    """One of each for a process."""

    records: Records
    namespace: Namespace
    local: LocalStore
    views: BucketViews
    inflight: InflightLoads
    primary: CachePrimary
    settler: Settler
    spawn: Spawn
    observe: Observer
    settings: CacheSettings
    histories: Histories = field(default_factory=Histories)
