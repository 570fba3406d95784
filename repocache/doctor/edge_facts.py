"""What the caches in front of the service say of a purge."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from repocache.errors import EdgeFailed
from repocache.events import EdgePurgeFailed, Event
from repocache.runtime.edges import DeclaredEdges

NOBODYS = "repocache doctor"
"""A tag that no page has: the space is in no owner's prefix."""


@dataclass(frozen=True, slots=True)
class EdgeFacts:
    """`header`: where it reads the tags of a page. `hindrance`: why it did not take a purge, empty
    if it did. `refused`: it answered that it will not."""

    name: str
    header: str
    hindrance: str = ""
    refused: bool = False


async def read_edges(declared: DeclaredEdges, app: str) -> Sequence[EdgeFacts]:
    """Purges a tag that no page has, once. `app`: of the settings. Raises nothing of an edge's."""
    failed: dict[str, EdgePurgeFailed] = {}

    def note(event: Event) -> None:
        if isinstance(event, EdgePurgeFailed):
            failed[event.edge] = event

    async with declared.purger(declared.names(app), note) as purger:
        with suppress(EdgeFailed):  # each edge has told it
            await purger.purge((NOBODYS,))
    return [
        EdgeFacts(each.name, each.header.name, told.why, told.refused)
        if (told := failed.get(each.name)) is not None
        else EdgeFacts(each.name, each.header.name)
        for each in declared.edges
    ]
