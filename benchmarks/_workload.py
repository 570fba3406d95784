"""What a service is asked for, and how full its machines may be."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

SHARES = ("l1_hits", "l2_hits", "utilisation")


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests a second; reads and writes a request; the share of reads that L1 answers, and of the
    rest that L2 does; how much of a core may be used; cores of a database server; microseconds of
    CPU of the application itself a request.

    Raises ValueError for a share outside 0 to 1, no utilisation, or less than nothing.
    """

    requests: float = 100_000.0
    reads: float = 5.0
    l1_hits: float = 0.9
    l2_hits: float = 0.9
    writes: float = 0.01
    utilisation: float = 0.6
    cores: float = 8.0
    own: float = 0.0

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        for each in fields(self):
            if not 0 <= getattr(self, each.name) < math.inf:
                raise ValueError(f"{each.name} is at least 0, not {getattr(self, each.name)}")
        if not self.utilisation or not self.cores:
            raise ValueError("utilisation and cores are more than 0, not 0")

    @property
    def from_l1(self) -> float:
        """Reads a second; so the next two."""
        return self.requests * self.reads * self.l1_hits

    @property
    def from_l2(self) -> float:
        return self.requests * self.reads * (1 - self.l1_hits) * self.l2_hits

    @property
    def misses(self) -> float:
        return self.requests * self.reads * (1 - self.l1_hits) * (1 - self.l2_hits)

    @property
    def commits(self) -> float:
        """A second."""
        return self.requests * self.writes
