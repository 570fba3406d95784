"""When what was accepted is written, and how much may wait until then: a frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from repocache.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Flush:
    """How a `WriteBehind` flushes. Raises ConfigurationError for numbers that cannot work."""

    #: Seconds that a change waits in Redis, about: until it is written with all that came since.
    every: float = 1.0
    #: Changes that a flush begins for at once, and that one transaction writes, about.
    most: int = 1_000
    #: Changes that may wait in Redis; beyond them `BacklogFull` is raised. Those of one row that a
    #: process makes while a call of it is on its way are one.
    backlog: int = 100_000
    #: Streams that the rows are divided among, each with an equal part of `backlog`, each flushed
    #: by one process at a time.
    streams: int = 1
    #: Seconds after which another process takes over from one that flushed and died.
    lease: float = 5.0
    #: Seconds for which a change that was sent, and not answered, is asked for again.
    patience: float = 5.0

    def __post_init__(self) -> None:
        for name in ("every", "lease", "patience"):
            value: object = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ConfigurationError(f"Flush({name}={value!r}): give seconds, more than 0")
        for name in ("most", "backlog", "streams"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"Flush({name}={value!r}): give a number, 1 or more")
        if self.streams > self.backlog:
            raise ConfigurationError(
                f"Flush(streams={self.streams}, backlog={self.backlog}): each stream has an equal "
                "part of the backlog: give a backlog of at least as many"
            )

    @property
    def room(self) -> int:
        """Changes that may wait in one stream."""
        return self.backlog // self.streams
