"""How often an edge may be asked: a bucket that fills at the rate it allows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from repocache.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many requests a second, and as many at once, one at the least.

    `left`: requests that may be sent at once; below 0: so many wait for their turn. `at`: seconds
    of a monotonic clock at which that was so. Raises ConfigurationError for a rate that is not more
    than 0.
    """

    rate: float
    left: float
    at: float = 0.0

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ConfigurationError(f"requests_a_second={self.rate}: give more than 0")

    @classmethod
    def full(cls, rate: float) -> Allowance:
        return cls(rate, max(1.0, rate))

    def reserved(self, now: float) -> tuple[Allowance, float]:
        """The allowance less one request, and in how many seconds that may be sent. Whoever
        reserves first is sent first."""
        most = max(1.0, self.rate)
        left = min(most, self.left + max(0.0, now - self.at) * self.rate) - 1.0
        return replace(self, left=left, at=now), max(0.0, -left / self.rate)
