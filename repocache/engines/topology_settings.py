"""How a topology behaves: its replicas and its limits, checked when they are written down."""

from __future__ import annotations

from dataclasses import dataclass, field

from repocache.engines.database_url import DatabaseUrl
from repocache.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Replica:
    """A physical replica of the primary.

    `url`: as the primary's. `weight`: its share of the reads beside the others', more than 0.
    `name`: for events and errors; by default the URL's host and port.
    """

    url: DatabaseUrl = field(repr=False)
    weight: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigurationError(f"Replica(weight={self.weight}): a weight is more than 0")


@dataclass(frozen=True, slots=True)
class TopologySettings:
    """Limits of a topology; times in seconds."""

    #: Connections of a node's pool, opened when needed and then kept (a pool that opens and closes
    #: them under load would cost samples).
    pool_size: int = 10
    #: How long a statement waits for one of them, also where the server takes no more
    #: (PoolExhausted).
    pool_wait: float = 5.0
    #: For a new one.
    connect_timeout: float = 2.0
    #: How often every node's position is polled.
    sample_every: float = 0.25
    #: A node that leaves a poll unanswered for so long is lost.
    probe_timeout: float = 1.0
    #: `max_lag`, `max_lag_bytes`: a replica further behind leaves the rotation (bytes None: not
    #: limited).
    max_lag: float = 10.0
    max_lag_bytes: int | None = None
    #: How long a read waits for a replica that is behind what it needs, before it goes to the
    #: primary.
    catch_up_wait: float = 0.01
    #: `primary_reads`, `primary_wait`: how many reads at once the primary may stand in for, and how
    #: long others wait.
    primary_reads: int = 16
    primary_wait: float = 1.0

    @property
    def staleness(self) -> float:
        """How long ago, in seconds, the primary may have had more than what a replica in the
        rotation shows: lag, the time between two polls, and that of a poll.
        """
        return self.max_lag + self.sample_every + self.probe_timeout

    def __post_init__(self) -> None:
        for name in ("pool_size", "primary_reads"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"TopologySettings({name}={getattr(self, name)}): at least 1"
                )
        for name in ("pool_wait", "connect_timeout", "sample_every", "probe_timeout", "max_lag"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"TopologySettings({name}={getattr(self, name)}): seconds, more than 0"
                )
        for name in ("catch_up_wait", "primary_wait"):
            if getattr(self, name) < 0:
                raise ConfigurationError(
                    f"TopologySettings({name}={getattr(self, name)}): seconds, 0 or more"
                )
        if self.max_lag_bytes is not None and self.max_lag_bytes < 0:
            raise ConfigurationError(
                f"TopologySettings(max_lag_bytes={self.max_lag_bytes}): bytes, 0 or more, or None"
            )
        if self.max_lag < 2 * self.sample_every:
            raise ConfigurationError(
                f"TopologySettings(max_lag={self.max_lag}, sample_every={self.sample_every}): lag "
                "is known only as exactly as it is sampled; max_lag must be at least twice "
                "sample_every"
            )
