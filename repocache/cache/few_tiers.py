"""Policies that do without a tier, without all of them, or without a word to Redis: frozen values,
chosen once on the repository."""

from __future__ import annotations

from dataclasses import dataclass, field

from repocache.cache.policies import Policy, check_freshness, check_times


@dataclass(frozen=True, slots=True)
class WriteAround(Policy):
    """What is written often and read seldom, as an audit log: an insert says nothing to Redis, no
    script and no message. Updates and deletes invalidate.

    So "there is no such row" is never kept, in no tier: nobody would tell that there is one by now.
    `ttl`, `local_ttl` in seconds, `jitter` as a share, as in `CacheAside`.
    `fill`: False: reads go to the database, coalesced, and store nothing.

    Upserts count as updates. Lookups of the repository tell inserts no more than it does; key lists
    and counts that a new row belongs to are told of it. Feeds (`db.invalidations`) hear of none.

    Raises ConfigurationError for times that make no sense.
    """

    negative_ttl: float = field(default=0.0, init=False, repr=False)
    fill: bool = True

    @property
    def pattern(self) -> str:
        return "write-around"

    @property
    def caches(self) -> bool:
        return self.fill

    @property
    def tells_inserts(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class LocalOnly(Policy):
    """What is small, read everywhere and changed seldom, as a list of countries: each process keeps
    its own, the channel tells it of changes, and no value lies in Redis.

    `ttl`: seconds in the process; the other times are those of `CacheAside`. A miss of each process
    is a statement of its own. Not for rows of a scope, such as a user's: every process would keep
    those of all.

    Raises ConfigurationError for times that make no sense.
    """

    local_ttl: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_times(self)
        object.__setattr__(self, "local_ttl", self.ttl)

    @property
    def pattern(self) -> str:
        return "local only"

    @property
    def longest(self) -> float:
        return self.ttl

    @property
    def reads_by_name(self) -> bool:
        return False

    @property
    def stores_values(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class SharedOnly(Policy):
    """What belongs to one user's session, as a basket: in Redis, for whichever process has the next
    request, and never in a process (L1), where it would take the room of what many read.

    The times are those of `CacheAside`. Raises ConfigurationError for times that make no sense.
    """

    local_ttl: float = field(default=0.0, init=False, repr=False)

    @property
    def pattern(self) -> str:
        return "shared only"


@dataclass(frozen=True, slots=True)
class Uncached(Policy):
    """Routing only: reads go to the database, coalesced, to any node that suits the session, and
    commits say nothing to Redis. What is written about as often as it is read."""

    ttl: float = field(default=0.0, init=False, repr=False)
    local_ttl: float = field(default=0.0, init=False, repr=False)
    negative_ttl: float = field(default=0.0, init=False, repr=False)
    jitter: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_freshness(self)

    @property
    def pattern(self) -> str:
        return "uncached"

    @property
    def caches(self) -> bool:
        return False

    @property
    def tells_changes(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class AlwaysConsistent(Uncached):
    """The primary only, in lists and counts too, and nobody shares an answer that was asked for
    before he came: what was committed before a read began is in it, whoever wrote it. Balances,
    stock, rights that are taken away. `on_replica()` is refused."""

    @property
    def pattern(self) -> str:
        return "always consistent"

    @property
    def shares_sent_loads(self) -> bool:
        return False

    @property
    def fills_from_replicas(self) -> bool:
        return False

    @property
    def primary_alone(self) -> bool:
        return True
