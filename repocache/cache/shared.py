"""What the caches of all owners of one process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from repocache.cache.entry import CacheSettings
from repocache.cache.flights import Flights
from repocache.cache.histories import Histories
from repocache.cache.local_store import LocalStore
from repocache.cache.settler import Primary, Settler, Spawn
from repocache.cache.views import Views
from repocache.events import Observer
from repocache.records import Namespace, Records


@dataclass(frozen=True, slots=True)
class Shared:
    """One of each for a process."""

    records: Records
    namespace: Namespace
    local: LocalStore
    views: Views
    flights: Flights
    primary: Primary
    settler: Settler
    spawn: Spawn
    observe: Observer
    settings: CacheSettings
    histories: Histories = field(default_factory=Histories)
