"""Where the traffic of a process is, and who calls there."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from sqlalchemy.ext.asyncio import AsyncEngine

from proof.faults.items import KEYS, Items
from proof.faults.records import Recorder
from proof.faults.witness import Witness
from repocache import Database

PATIENCE = 25.0
"""Seconds after which a call hangs."""
HANG = "Hang"


@dataclass(slots=True)
class Place:
    """The process's `name`, its database and repository, a way to the primary past the library, if
    there is to be one, and those who take everything down. `peace`: nobody writes a whole owner."""

    name: str
    db: Database
    items: type[Items]
    outside: AsyncEngine | None
    recorder: Recorder
    witness: Witness
    numbers: count[int] = field(default_factory=count)
    peace: bool = False

    def named(self, what: str) -> str:
        """Like nothing else in the storm."""
        return f"{self.name}/{what}{next(self.numbers)}"


@dataclass(slots=True)
class Visit:
    """One flow of requests. `session`: empty for none. `near`: the keys that it is about, if any.
    `seen`: the newest versions that it knows of."""

    caller: str
    session: str = ""
    near: Sequence[int] = ()
    seen: dict[int, int] = field(default_factory=dict)

    def saw(self, versions: Mapping[int, int]) -> None:
        for key, version in versions.items():
            self.seen[key] = max(version, self.seen.get(key, 0))


def some(chance: random.Random) -> list[int]:
    """A few keys."""
    return sorted({hot(chance) for _ in range(chance.choice((1, 1, 1, 2, 4)))})


def hot(chance: random.Random) -> int:
    """A key. Few get most of it."""
    return KEYS[min(int(chance.expovariate(1 / 6)), len(KEYS) - 1)]


def kind_of(error: BaseException) -> str:
    """Ours and the operating system's by name, those of SQLAlchemy with the driver's."""
    cause = getattr(error, "orig", None)
    name = type(error).__name__
    inner = getattr(cause, "__cause__", None) or cause
    return name if inner is None else f"{name}({type(inner).__name__})"
