"""What a service needs of whoever caches for it: the port of the demo's comparison, and what is the
same for both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from repocache.demo.records import Told

POOL = 5
"""Connections of each pool to a node, for both."""
TTL = 60.0
"""Seconds that a value stays in Redis, for both."""
OWNER = "airport"
"""Prefix of the keys, for both."""

Tell = Callable[[Told], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses of the servers, and whom to tell what happens inside."""

    primary: str
    replicas: tuple[str, ...]
    redis: str
    tell: Tell


class DemoAnswer(NamedTuple):
    """What a read returned and who answered, as in `Read`."""

    version: int
    tier: str
    node: str


class Written(NamedTuple):
    """What a write returned: the new version, and whether its invalidation had reached Redis."""

    version: int
    published: bool


class Bearer(Protocol):
    """One user's session: what the next request brings along."""

    def encode(self) -> str: ...


class Contestant(Protocol):
    """A way to cache; an async context manager, one for each process."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def read(self, key: str) -> DemoAnswer:
        """Raises LookupError if there is no such row, and whatever the database raises."""
        ...

    async def write(self, key: str) -> Written: ...

    def session(self, incoming: str) -> AbstractAsyncContextManager[Bearer]:
        """Requests of one user; `incoming`: what the request before gave, "" for the first."""
        ...
