"""How an owner's rows are cached: frozen values, chosen once on the repository."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from repocache.cache.freshness import ALWAYS_FRESH, Freshness
from repocache.errors import ConfigurationError

LONGEST_TTL = 30 * 86_400.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What all policies have, and what is asked of them: a new one is one class that answers.

    `ttl`: seconds in Redis; the safety net under the invalidation, never the mechanism.
    `local_ttl`: seconds in this process (L1), never longer than `ttl`; 0: the rows are not kept in
    the process. `negative_ttl`: seconds for which "there is no such row" is kept, never longer than
    `ttl`; 0: not kept. An insert clears it.
    `jitter`: share of each of these times taken off at random, 0 to 0.5, so that what was filled
    together does not expire together. `freshness`: how old it may be given, and when.

    Raises ConfigurationError for times that make no sense.
    """

    ttl: float = 300.0
    local_ttl: float = 10.0
    negative_ttl: float = 5.0
    jitter: float = 0.1
    freshness: Freshness = field(default=ALWAYS_FRESH, kw_only=True)

    def __post_init__(self) -> None:
        check_times(self)

    @property
    def invalidating(self) -> Policy:
        """The same for what is cached beside rows, as lookups: a commit only invalidates it, for it
        writes rows, and not who has which value; and no function of a row says how long it
        lives."""
        return replace(self, freshness=replace(self.freshness, ttl_of=None))

    @property
    def longest(self) -> float:
        """Seconds for which a value may be met, in Redis and then in a process that took it at the
        last moment."""
        return self.ttl + self.freshness.beyond + self.local_ttl

    @property
    def pattern(self) -> str:
        """What figures and pages call it."""
        return ""

    @property
    def caches(self) -> bool:
        """Whether reads ask the tiers and fill them; else they go to the database, coalesced."""
        return True

    @property
    def stores_values(self) -> bool:
        """Whether values lie in Redis. Else L1 alone has them: no lease is taken for what nobody
        else will find."""
        return True

    @property
    def tells_changes(self) -> bool:
        """Whether a commit says anything of what it wrote."""
        return True

    @property
    def tells_inserts(self) -> bool:
        """Whether it tells new rows too, for a negative entry may say that there are none."""
        return True

    @property
    def primary_alone(self) -> bool:
        """Whether every read is the primary's, lists and counts too."""
        return False

    @property
    def stores_on_commit(self) -> bool:
        """Whether a commit stores what it wrote; else it invalidates."""
        return False

    @property
    def holds_readers_back(self) -> bool:
        """Whether readers find a write lease from COMMIT on, until what it wrote is told."""
        return False

    @property
    def reads_by_name(self) -> bool:
        """Whether a GET by the key's name will do. Else the script, which alone sees write leases,
        and that the name is that of an old generation."""
        return True

    @property
    def shares_sent_loads(self) -> bool:
        """Whether a caller may have the answer of a load that was sent before he came."""
        return True

    @property
    def fills_from_replicas(self) -> bool:
        """Whether a replica that has replayed the floor may answer a miss."""
        return True


@dataclass(frozen=True, slots=True)
class CacheAside(Policy):
    """Reads fill the cache, writes invalidate it. The times are those of every policy: `ttl`,
    `local_ttl`, `negative_ttl` in seconds, `jitter` as a share.

    Raises ConfigurationError for times that make no sense.
    """

    @property
    def pattern(self) -> str:
        return "cache-aside"


@dataclass(frozen=True, slots=True)
class WriteThrough(Policy):
    """Writes store what they wrote, reads fill what is missing: a read right after a commit finds
    it in Redis.

    The times are those of `CacheAside`. A value is stored if its row was locked by the commit that
    stores it, and no later one was published before it; else the commit invalidates, as under
    `CacheAside`. For mappings whose value holds rows of one table.

    `strict`: for what must never be stale (prices, entitlements): from COMMIT on nobody is given
    what was before, and a write fails with StrictWriteRefused, and is rolled back, if Redis cannot
    hold its readers back. Never kept in the process (`local_ttl` becomes 0), filled from the
    primary alone, and only with a Redis that evicts nothing.

    Raises ConfigurationError for times that make no sense.
    """

    strict: bool = False

    def __post_init__(self) -> None:
        check_times(self)
        if self.strict:
            object.__setattr__(self, "local_ttl", 0.0)
            if self.freshness.beyond:
                raise ConfigurationError(
                    "WriteThrough(strict=True, freshness=...): what must never be stale is not "
                    "given past its time: leave out stale_while_revalidate and fail_safe"
                )

    @property
    def pattern(self) -> str:
        return "strict write-through" if self.strict else "write-through"

    @property
    def invalidating(self) -> Policy:
        fresh = replace(self.freshness, ttl_of=None)
        return CacheAside(self.ttl, self.local_ttl, self.negative_ttl, self.jitter, freshness=fresh)

    @property
    def stores_on_commit(self) -> bool:
        return True

    @property
    def holds_readers_back(self) -> bool:
        return self.strict

    @property
    def reads_by_name(self) -> bool:
        return not self.strict

    @property
    def shares_sent_loads(self) -> bool:
        return not self.strict

    @property
    def fills_from_replicas(self) -> bool:
        return not self.strict


def check_times(policy: Policy) -> None:
    """Raises ConfigurationError for those that make no sense; `local_ttl` and `negative_ttl` become
    no longer than `ttl`."""
    name = type(policy).__name__
    check_freshness(policy)
    for each in ("ttl", "local_ttl", "negative_ttl", "jitter"):
        if not isinstance(getattr(policy, each), int | float):
            raise ConfigurationError(f"{name}({each}={getattr(policy, each)!r}): give a number")
    if not 0 < policy.ttl <= LONGEST_TTL:
        raise ConfigurationError(
            f"{name}(ttl={policy.ttl}): give seconds, more than 0 and at most 30 days; "
            "to leave an owner uncached give Uncached()"
        )
    for each in ("local_ttl", "negative_ttl"):
        if not getattr(policy, each) >= 0:
            raise ConfigurationError(
                f"{name}({each}={getattr(policy, each)}): give seconds, 0 or more"
            )
        object.__setattr__(policy, each, min(getattr(policy, each), policy.ttl))
    if not 0 <= policy.jitter <= 0.5:
        raise ConfigurationError(f"{name}(jitter={policy.jitter}): give a share from 0 to 0.5")


def check_freshness(policy: Policy) -> None:
    """Raises ConfigurationError for a part of it that needs what this policy has not."""
    name, given = type(policy).__name__, policy.freshness
    if not isinstance(given, Freshness):
        raise ConfigurationError(f"{name}(freshness={given!r}): give Freshness(...)")
    if not (policy.caches and policy.stores_values) and (given.is_aged or given.ttl_of):
        raise ConfigurationError(
            f"{name}(freshness={given!r}): no row of this policy lies in Redis, to be given past "
            "its time: hard_timeout alone has a meaning"
        )
