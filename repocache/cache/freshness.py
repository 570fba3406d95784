"""How old what a policy keeps may be given: a frozen value, a part of every policy. Pure
decisions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from repocache.errors import ConfigurationError

LONGEST_ASIDE = 86_400.0
"""Seconds: bookmarks live no longer, and who wrote a row is shown nothing from before."""
EARLIEST = 0.1
"""Share of its `ttl` by which an entry is renewed early, on average and at most."""


class Age(Enum):
    """Of a row in Redis: within its `ttl`; past it, and given at once while one process reads it
    anew; or only for when the database is slow or away."""

    FRESH = "fresh"
    STALE = "stale"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Freshness:
    """Times in seconds; 0: without it. Nothing here shows a session less than it wrote, and nothing
    that an invalidation took away is given while the database answers.

    `stale_while_revalidate`: a row past its `ttl` that nobody has invalidated is given once more
    for so long, at once, and one process of all reads it anew in the background.
    `refresh_early`: rows that are read from Redis shortly before their `ttl` ends are read anew
    then, by chance, the sooner the longer that takes: no hot key expires under all its readers.
    `fail_safe`: rows are kept for so long after that, and after an invalidation took them away, and
    given while the database is away: never to a session that wrote in their bucket, whose bookmark
    lives so long for it. Whoever is given one hears of it: the event's tier is "aside", and the
    session's `stale` has the key. At most a day; not of new rows: that there is none is not kept.
    `soft_timeout`: who waits so long for a row that is kept for `fail_safe`, and was not
    invalidated, is given that.
    `hard_timeout`: who waits so long in all is given what `fail_safe` keeps, or
    DatabaseUnavailable. In both the load goes on, and fills.
    `ttl_of`: seconds that a row lives, at most the policy's `ttl`; 0: it is not kept. It is given
    an entity, clean and detached, of which it changes nothing.

    Raises ConfigurationError for times that make no sense.
    """

    stale_while_revalidate: float = 0.0
    refresh_early: bool = False
    fail_safe: float = 0.0
    soft_timeout: float = 0.0
    hard_timeout: float = 0.0
    ttl_of: Callable[[Any], float] | None = None

    def __post_init__(self) -> None:
        for each in ("stale_while_revalidate", "fail_safe", "soft_timeout", "hard_timeout"):
            value: object = getattr(self, each)
            if not isinstance(value, int | float) or not 0 <= value <= LONGEST_ASIDE:
                raise ConfigurationError(
                    f"Freshness({each}={value!r}): give seconds, 0 or more and at most a day"
                )
        if self.soft_timeout and not self.fail_safe:
            raise ConfigurationError(
                f"Freshness(soft_timeout={self.soft_timeout}): there is nothing to give instead: "
                "give fail_safe=... too"
            )
        if 0 < self.hard_timeout <= self.soft_timeout:
            raise ConfigurationError(
                f"Freshness(hard_timeout={self.hard_timeout}): give more than soft_timeout="
                f"{self.soft_timeout}"
            )
        if self.ttl_of is not None and not callable(self.ttl_of):
            raise ConfigurationError(f"Freshness(ttl_of={self.ttl_of!r}): give a function of a row")

    @property
    def beyond(self) -> float:
        """Seconds that a row lies in Redis past its `ttl`."""
        return self.stale_while_revalidate + self.fail_safe

    @property
    def is_aged(self) -> bool:
        """Whether it matters how long a row in Redis has to live."""
        return bool(self.beyond) or self.refresh_early

    @property
    def falls_back(self) -> bool:
        """Whether a caller may be answered by other than the load that he waits for."""
        return bool(self.fail_safe or self.hard_timeout)

    def age(self, left: float) -> Age:
        """Of a row that Redis keeps for `left` seconds more."""
        if left > self.beyond:
            return Age.FRESH
        return Age.STALE if left > self.fail_safe else Age.KEPT

    def is_early(self, left: float, lead: float, draw: float) -> bool:
        """Whether to read a fresh row anew already (XFetch, VLDB 2015). `lead`: seconds that the
        entry should be renewed ahead of its end, on average; `draw`: at random from (0, 1]."""
        return self.refresh_early and left - self.beyond <= -lead * math.log(draw)


ALWAYS_FRESH = Freshness()
"""An entry is given within its `ttl`, and who waits waits for the database."""
