"""How an owner's rows are cached: frozen values, chosen once on the repository."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class CacheAside:
    """Reads fill the cache, writes invalidate it.

    `ttl`: seconds in Redis; the safety net under the invalidation, never the mechanism.
    `local_ttl`: seconds in this process (L1), never longer than `ttl`; 0: the rows are not kept in the process.
    `negative_ttl`: seconds for which "there is no such row" is kept, never longer than `ttl`; 0: not kept. An insert
    clears it.
    `jitter`: share of each of these times taken off at random, 0 to 0.5, so that what was filled together does not
    expire together.

    Raises ConfigurationError for times that make no sense.
    """

    ttl: float = 300.0
    local_ttl: float = 10.0
    negative_ttl: float = 5.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        for name in ("ttl", "local_ttl", "negative_ttl", "jitter"):
            if not isinstance(getattr(self, name), int | float):
                raise ConfigurationError(f"CacheAside({name}={getattr(self, name)!r}): give a number")
        if not 0 < self.ttl <= 30 * 86_400:
            raise ConfigurationError(
                f"CacheAside(ttl={self.ttl}): give seconds, more than 0 and at most 30 days; "
                "to leave an owner uncached read it with `find`"
            )
        for name in ("local_ttl", "negative_ttl"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"CacheAside({name}={getattr(self, name)}): give seconds, 0 or more")
            object.__setattr__(self, name, min(getattr(self, name), self.ttl))
        if not 0 <= self.jitter <= 0.5:
            raise ConfigurationError(f"CacheAside(jitter={self.jitter}): give a share from 0 to 0.5")
