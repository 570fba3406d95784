"""When a lost link tries again: backoff and circuit breaker in one. Pure: clock and chance are
passed in."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """`failures` in a row open it. Seconds: `first` pause; while open, `retry` after an attempt
    that reached nobody and `cooldown` after a connection that died young; `steady` life that
    forgives."""

    failures: int = 5
    first: float = 0.05
    retry: float = 0.5
    cooldown: float = 2.0
    steady: float = 5.0

    def __post_init__(self) -> None:
        if self.failures < 1 or min(self.first, self.retry, self.cooldown, self.steady) <= 0:
            raise ConfigurationError(
                f"{self}: failures must be at least 1, first, retry, cooldown and steady more than "
                "0 seconds"
            )


class Breaker:
    """Counts failures in a row and answers with the pause before the next attempt.

    Calls need no gate of their own: without a connection they fail at once. What is left to break
    is the circle of a server that accepts connections and lets them die, each of them costing every
    caller a reply's deadline. So

    - closed: fewer than `failures`. The next attempt comes after `first`, doubled for each failure,
      times chance.
    - open: the link stays away from the server for `cooldown` (half of it at least, so that
      processes spread). An attempt that no server answered has cost no caller anything: the next
      comes after `retry`, so that a Redis that is back is soon used.
    - half-open: the attempt after that. A failure opens again, and so does the loss of a connection
      younger than `steady`: a handshake that was answered proves little. An older connection's loss
      counts as the first failure.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._failures = 0
        self._connected_at: float | None = None
        self._reached = False

    @property
    def open(self) -> bool:
        """Whether so much failed in a row that the next attempt has to wait for the cool-down."""
        return self._failures >= self._settings.failures

    def connected(self, now: float) -> None:
        """The handshake succeeded."""
        self._connected_at = now

    def failed(self, now: float) -> None:
        """An attempt failed, or its connection was lost."""
        if self._connected_at is not None and now - self._connected_at >= self._settings.steady:
            self._failures = 0
        self._reached = self._connected_at is not None
        self._connected_at = None
        self._failures += 1

    def pause(self, chance: float) -> float:
        """Seconds until the next attempt. `chance`: from [0, 1)."""
        longest = self._settings.cooldown if self._reached else self._settings.retry
        if self.open:
            return longest * (1 + chance) / 2
        doubled: float = self._settings.first * 2.0 ** min(self._failures - 1, 30)
        return min(doubled, longest) * chance
