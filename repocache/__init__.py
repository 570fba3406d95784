"""Data access for async SQLAlchemy and PostgreSQL: a primary, replicas, and a cache that shows
nobody their past.

The public names. `repocache.errors`, `repocache.events`, `repocache.fastapi`, `repocache.http`,
`repocache.records`, `repocache.redis_link` and `repocache.testing` are public by their own names.
"""

from repocache.behind.flush import Flush
from repocache.behind.write_behind import WriteBehind
from repocache.bookmark import Bookmark
from repocache.cache.entry import CacheSettings
from repocache.cache.few_tiers import (
    AlwaysConsistent,
    LocalOnly,
    SharedOnly,
    Uncached,
    WriteAround,
)
from repocache.cache.freshness import Freshness
from repocache.cache.policies import CacheAside, WriteThrough
from repocache.cache.switch import CacheMode
from repocache.codec.column import ColumnCodec
from repocache.computed.read_through import ReadThrough, read_through
from repocache.computed.reader import Reader
from repocache.database import Database
from repocache.engines.engine_settings import EngineSettings
from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.errors import (
    BacklogFull,
    CachedEntityRefused,
    ChangesLost,
    CommitOutcomeUnknown,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidId,
    NotFound,
    PrimaryBudgetExceeded,
    RepocacheError,
    UsageError,
)
from repocache.events import LoggingObserver, Observers
from repocache.invalidation.feed import Changed, ChangedAll
from repocache.invalidation.outbox import OutboxMode
from repocache.keys import Follow, KeyOwner
from repocache.mapping.options import MappingOptions
from repocache.mapping.rules import Eager
from repocache.redis_link import LinkSettings
from repocache.repository.cached_queries import CachedQueries
from repocache.repository.counts import Count
from repocache.repository.key_lists import KeyList
from repocache.repository.lookup import Lookup
from repocache.repository.page import Page
from repocache.repository.repository import Repository
from repocache.repository.view import View
from repocache.repository.work import UnitOfWork
from repocache.routing.causal_session import CausalSession
from repocache.scope import Scope
from repocache.settings import Settings
from repocache.transactions.cached_marker import Misuse
from repocache.verification.shadow import ShadowCount
from repocache.verification.verdict import Verification

__all__ = [
    "AlwaysConsistent",
    "BacklogFull",
    "Bookmark",
    "CacheAside",
    "CacheMode",
    "CacheSettings",
    "CachedEntityRefused",
    "CachedQueries",
    "CausalSession",
    "Changed",
    "ChangedAll",
    "ChangesLost",
    "ColumnCodec",
    "CommitOutcomeUnknown",
    "ConfigurationError",
    "Count",
    "Database",
    "DatabaseUnavailable",
    "Eager",
    "EngineSettings",
    "Flush",
    "Follow",
    "Freshness",
    "InvalidId",
    "KeyList",
    "KeyOwner",
    "LinkSettings",
    "LocalOnly",
    "LoggingObserver",
    "Lookup",
    "MappingOptions",
    "Misuse",
    "NotFound",
    "Observers",
    "OutboxMode",
    "Page",
    "PrimaryBudgetExceeded",
    "ReadThrough",
    "Reader",
    "Replica",
    "RepocacheError",
    "Repository",
    "Scope",
    "Settings",
    "ShadowCount",
    "SharedOnly",
    "TopologySettings",
    "Uncached",
    "UnitOfWork",
    "UsageError",
    "Verification",
    "View",
    "WriteAround",
    "WriteBehind",
    "WriteThrough",
    "read_through",
]
