"""What makers of responses ask of a running database: what they were made of, whether others may
keep them, and how an edge is told their tags."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import NamedTuple

from repocache.edges.header import TagHeader, folded
from repocache.edges.names import TagNames
from repocache.invalidation.batch import Batch
from repocache.pages.pages import Pages
from repocache.routing.expected import Expectation
from repocache.routing.recording import SLOTS, Recording, Trace, slot_of
from repocache.runtime.edges import DeclaredEdges
from repocache.runtime.recordings import Checked, Recordings
from repocache.tags import NAMED


class EdgeTags:
    """How the edges are told the tags of a page. `headers`: each that one of them reads, once."""

    def __init__(self, headers: Iterable[TagHeader], names: TagNames, most: int) -> None:
        self._headers = tuple(dict.fromkeys(headers))
        self._names = names
        self._most = most
        self._bytes = min(each.most_bytes for each in self._headers)

    @classmethod
    def of(cls, edges: DeclaredEdges, app: str) -> EdgeTags:
        """Of these edges. `app`: as in the settings."""
        headers = [each.header for each in edges.edges]
        return cls(headers, edges.names(app), edges.most_tags)

    def lines(self, tags: Iterable[str]) -> list[tuple[bytes, bytes]] | None:
        """Header lines. None: they are too many, even folded, so that no edge may keep the page."""
        carried = folded(tags, self._most, self._bytes, self._names)
        if carried is None:
            return None
        names = [self._names.name(tag) for tag in carried]
        return [line for header in self._headers for line in header.lines(names)]


class NoEdgeTags:
    """There are no edges."""

    def lines(self, tags: Iterable[str]) -> list[tuple[bytes, bytes]] | None:
        return []


_SLOTS = frozenset(SLOTS)


class Responses:
    """Of one database. `pages`: None: whole responses are not kept. `fresh_for`: seconds after a
    commit in which an edge may still have a page of before it; 0: there are no edges."""

    def __init__(
        self,
        recordings: Recordings,
        pages: Pages | None,
        tags: EdgeTags | NoEdgeTags,
        *,
        fresh_for: float,
    ) -> None:
        self.pages = pages
        self.fresh_for = fresh_for
        self._recordings = recordings
        self._tags = tags

    @asynccontextmanager
    async def record(self, named: Iterable[str] = ()) -> AsyncIterator[Recording]:
        """What is read in the block is recorded. `named`: keys of the application's own tags, which
        what is made depends on too."""
        with self._recordings.record() as recording:
            await self._recordings.expect(recording, named)
            yield recording

    def expecting(self, trace: Trace) -> AbstractContextManager[Expectation]:
        """The first unit of work in the block holds the rows of this as they were; see
        `UnitOfWork.hold`."""
        return self._recordings.expecting(trace)

    async def check(self, trace: Trace) -> Checked:
        """See `Recordings.check`."""
        return await self._recordings.check(trace)

    def hindrance(self, recording: Recording, trace: Trace) -> str:
        """See `Recordings.hindrance`."""
        return self._recordings.hindrance(recording, trace)

    def changed(self, since: int, trace: Trace) -> str:
        """See `Recordings.changed`."""
        return self._recordings.changed(since, trace)

    def tag_lines(self, trace: Trace) -> list[tuple[bytes, bytes]] | None:
        """Header lines for what was made of this. None: no edge may keep it."""
        if EdgeTags not in trace.memo:
            trace.memo[EdgeTags] = self._tags.lines(trace.tags - _SLOTS)
        lines: list[tuple[bytes, bytes]] | None = trace.memo[EdgeTags]
        return lines


class MadeAnew(NamedTuple):
    """`slots`: what is to be invalidated so that pages that are kept are made anew; `batch`: what
    edges have to purge, and what is cached under tags of the application's own."""

    slots: Batch
    batch: Batch


def made_anew(tags: Iterable[str]) -> MadeAnew:
    """Of keys, and of owners as a whole by their prefixes."""
    keys: dict[str, set[str]] = {}
    owners = set()
    for tag in tags:
        owner, colon, _ = tag.partition(":")
        if colon:
            keys.setdefault(owner, set()).add(tag)
        else:
            owners.add(owner)
    texts = {text for each in keys.values() for text in each}
    slots = SLOTS if owners else tuple(map(slot_of, texts))
    own = {text for text in texts if text.startswith(f"{NAMED.prefix}:")}
    named = {owner: frozenset(each) for owner, each in keys.items() if owner not in owners}
    return MadeAnew(Batch({NAMED.prefix: frozenset(slots) | own}), Batch(named, frozenset(owners)))
