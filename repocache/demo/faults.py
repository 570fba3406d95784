"""What goes wrong in the demo, and when: the same for every contestant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from repocache.testing import Servers


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done to the servers.

    `at`: share of the run; `what`: in words; `over`: all is well again; `do`: a blocking call.
    """

    at: float
    what: str
    over: bool
    do: Callable[[Servers], None]


@dataclass(frozen=True, slots=True)
class Kill:
    """A service process is killed, and another started in its place. `at`: share of the run."""

    at: float
    service: int


SERVER_FAULTS = (
    Fault(
        0.15,
        "replica1 stops replaying",
        over=False,
        do=lambda servers: servers.replicas[0].pause_replay(),
    ),
    Fault(
        0.42,
        "replica1 replays again",
        over=True,
        do=lambda servers: servers.replicas[0].resume_replay(),
    ),
    Fault(0.52, "Redis is killed", over=False, do=lambda servers: servers.redis.kill()),
    Fault(0.66, "Redis is back, empty", over=True, do=lambda servers: servers.redis.start()),
)
KILL = Kill(0.80, 1)
