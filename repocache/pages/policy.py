"""How pages are kept: a frozen value, given to the database."""

from __future__ import annotations

from dataclasses import dataclass, field

from repocache.cache.policies import CacheAside
from repocache.errors import ConfigurationError
from repocache.keys import KeyOwner

MOST_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCache:
    """`Database(pages=PageCache(ttl=600))`: pages of routes whose policy says `pages=True` are kept
    in Redis and in this process, and given again as long as whatever they were made of is as it
    was.

    `ttl`: seconds in Redis; the safety net. `local_ttl`: seconds in this process. `jitter`: share
    of both that is taken off at random. `stale_while_revalidate`: seconds for which, after it was
    last right as far as this process knows, a page may be given that is not right any more, while
    one process of the fleet renders it anew; never to a session that has written. `most_bytes`: of
    a body. `owner`: of their keys.

    Raises ConfigurationError for times that make no sense.
    """

    ttl: float = 600.0
    local_ttl: float = 5.0
    jitter: float = 0.1
    stale_while_revalidate: float = 0.0
    most_bytes: int = MOST_BYTES
    owner: KeyOwner = field(default_factory=lambda: KeyOwner("page"))
    policy: CacheAside = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            policy = CacheAside(self.ttl, self.local_ttl, 0.0, self.jitter)
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace("CacheAside", "PageCache")) from error
        object.__setattr__(self, "policy", policy)
        given: object = self.stale_while_revalidate
        if not isinstance(given, int | float) or not 0 <= given < float("inf"):
            raise ConfigurationError(
                f"PageCache(stale_while_revalidate={given!r}): give seconds, 0 or more"
            )
        if self.most_bytes < 1:
            raise ConfigurationError(f"PageCache(most_bytes={self.most_bytes}): give 1 or more")
        if not isinstance(self.owner, KeyOwner):
            raise ConfigurationError(
                f"PageCache(owner={self.owner!r}): give a KeyOwner, as in KeyOwner('page')"
            )
