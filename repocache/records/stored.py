"""What lies under the keys' names in this process's memory: values and leases, each for its
time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from repocache.records.names import KEEP

Cell = tuple[bytes, float]
"""What lies there, and when it expires on the clock, in seconds."""


class StoredValues:
    """At most `capacity` values; the oldest is forgotten first, which costs a miss and never more.
    `clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float], capacity: int) -> None:
        self._clock = clock
        self._capacity = capacity
        self.leases: OrderedDict[str, Cell] = OrderedDict()
        self.values: OrderedDict[str, Cell] = OrderedDict()

    def get(self, name: str) -> tuple[bytes | None, float]:
        """A value or a lease, None if there is neither, and when it expires."""
        stored, expires = self.leases.get(name) or self.values.get(name) or (None, 0.0)
        return (stored, expires) if expires > self._clock() else (None, 0.0)

    def store(self, name: str, value: bytes, life: float) -> bool:
        """A value, in the place of whatever is there. `KEEP`: the one that is there, or nothing.
        `life`: seconds. Whether a value is there now."""
        if value == KEEP:
            kept, _ = self.get(name)
            if kept is None or name in self.leases:
                return False
            value = kept
        self.leases.pop(name, None)
        self.values[name] = (value, self._clock() + life)
        self.values.move_to_end(name)
        while len(self.values) > self._capacity:
            self.values.popitem(last=False)
        return True

    def lease(self, name: str, lease: bytes, life: float) -> None:
        """A lease, over whatever is there. `life`: seconds."""
        self.leases[name] = (lease, self._clock() + life)
        self.leases.move_to_end(name)
        self._sweep()

    def drop(self, name: str) -> None:
        """Whatever is there."""
        self.leases.pop(name, None)
        self.values.pop(name, None)

    def _sweep(self) -> None:
        """Leases whose holder never came back; all have the same life, so the oldest stand in
        front."""
        now = self._clock()
        while self.leases and next(iter(self.leases.values()))[1] <= now:
            self.leases.popitem(last=False)
