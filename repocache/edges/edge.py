"""The port: what the purger asks of an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from repocache.edges.exchange import AsyncClient
from repocache.edges.header import TagHeader
from repocache.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """`most_tags_a_request`: names in one call of `purge`. `requests_a_second`: such calls; as many
    may be made at once, one at the least. `seconds`: that one may take, after which the edge is
    unavailable. Raises ConfigurationError.
    """

    most_tags_a_request: int
    requests_a_second: float
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.most_tags_a_request < 1:
            raise ConfigurationError(f"{self!r}: most_tags_a_request is 1 or more")
        for name in ("requests_a_second", "seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{self!r}: {name} is more than 0")


class Edge(Protocol):
    """A cache in front of the service, a frozen value. It never shows a token: not in its `repr`,
    not in an error."""

    @property
    def name(self) -> str:
        """In events and metrics; no other edge of the purger has it."""
        ...

    @property
    def header(self) -> TagHeader:
        """Where it reads the tags of a page."""
        ...

    @property
    def limits(self) -> EdgeLimits: ...

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """Purge all pages that have one of these names, at most `limits.most_tags_a_request`; to
        repeat it does no harm. Raises EdgeUnavailable (try again) or EdgeRefused."""
        ...
