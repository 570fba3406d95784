"""How the answers of a repository's selects are cached: a frozen value, chosen on the
repository."""

from __future__ import annotations

from dataclasses import dataclass, field

from repocache.cache.freshness import ALWAYS_FRESH, Freshness
from repocache.cache.policies import CacheAside
from repocache.errors import ConfigurationError

NOT_CACHED = (
    "selects are not cached here: declare `queries = CachedQueries(ttl=60)` on a repository of "
    "this database, and read by `db[...]`, not by `on_primary()`, `on_replica()` or `work[...]`"
)


@dataclass(frozen=True, slots=True)
class CachedQueries:
    """Answers of `find`, `page`, `rows`, `exists` and `count` are cached, until a row is written
    that they depend on.

    `ttl`: seconds in Redis; the safety net under the invalidation. `local_ttl`: seconds in this
    process, never longer than `ttl`; 0: not there. `jitter`: share of both that is taken off at
    random, 0 to 0.5. `by_default`: without it only what is asked for by `cached()` is.
    `freshness`: how old an answer may be given that nobody has invalidated. One that was is found
    by nobody, so that its `fail_safe` keeps only what is past its `ttl`.

    Raises ConfigurationError for times that make no sense, and for a `ttl_of`.
    """

    ttl: float = 60.0
    local_ttl: float = 5.0
    jitter: float = 0.1
    by_default: bool = True
    freshness: Freshness = field(default=ALWAYS_FRESH, kw_only=True)
    policy: CacheAside = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            policy = CacheAside(
                self.ttl, self.local_ttl, 0.0, self.jitter, freshness=self.freshness
            )
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace("CacheAside", "CachedQueries")) from error
        if self.freshness.ttl_of is not None:
            raise ConfigurationError(
                "CachedQueries(freshness=Freshness(ttl_of=...)): an answer is no row that a "
                "function could be given: leave ttl_of out, and give one ttl here, or `cached(ttl="
                "...)` where a shorter one is wanted"
            )
        object.__setattr__(self, "policy", policy)
        object.__setattr__(self, "local_ttl", policy.local_ttl)
        if not isinstance(self.by_default, bool):
            raise ConfigurationError(
                f"CachedQueries(by_default={self.by_default!r}): give True or False"
            )


@dataclass(frozen=True, slots=True)
class CachingWish:
    """What a caller asks for by `cached()`. `ttl`: seconds; None: as is declared. `named`: keys of
    the application's own tags. `tables`: that what is textual in the selects reads."""

    ttl: float | None = None
    named: tuple[str, ...] = ()
    tables: tuple[object, ...] = ()


ONLY_ASKED = CachedQueries(by_default=False)
"""Of a repository that declares nothing."""
