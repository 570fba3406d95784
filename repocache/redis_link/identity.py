"""Which Redis answers, and in which of its lives as a master. Pure: read from what INFO says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

DIGITS = 16
"""Of each id's 40 random hexadecimal digits, so many are enough to tell servers apart."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`run_id`: fresh for each start of a server. `replication_id`: fresh for each promotion, empty
    if it tells none.

    What a Redis holds is vouched for by both together (protocol, State in Redis, `server`): a run
    id alone does not tell a master from itself after it was a replica for a while, and holds what
    another knew:

    1. A is told of a write, its replica B is not; 2. B is promoted, A follows it and takes its copy
    over; 3. A is promoted again, in the same process: its records say that A made them, and know
    nothing of the write.

    A replication id alone would not do either: it lives on in snapshots. It also changes when the
    first replica comes, and when the last has been gone for repl-backlog-ttl, which costs no more
    than a cold cache.
    """

    run_id: str
    replication_id: str

    @classmethod
    def of(cls, info: Mapping[str, str]) -> Self:
        """From the fields of INFO server and INFO replication. Raises KeyError without a run id."""
        return cls(info["run_id"], info.get("master_replid", ""))

    def __str__(self) -> str:
        """What a record says of who made it."""
        return f"{self.run_id[:DIGITS]}.{self.replication_id[:DIGITS]}"

    def why_changed(self, replication: bytes) -> str:
        """Why the server is not any more what it was, by its INFO replication; empty if it is."""
        lines = replication.splitlines()
        if b"role:master" not in lines:
            return "the server is no longer the master"
        if self.replication_id and f"master_replid:{self.replication_id}".encode() not in lines:
            return (
                "the server has another replication id: it was promoted anew, or its first "
                "replica came"
            )
        return ""


def unchanged(_: bytes) -> str:
    """Of a server that is not known yet."""
    return ""
