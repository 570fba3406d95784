"""THE path of a cached select: tokens, entry, database. One of these for each repository.

Tokens first: an entry is named by those that were there before the database was asked, and its
floors are read after them (protocol/queries.md, rules 2 to 5). So an answer is never found under a
token that is younger than what it shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.sql.selectable import SelectBase

from repocache.bookmark import Bookmark
from repocache.cache.entry import Row, RowRequest
from repocache.cache.l1_reader import ReadRecorder
from repocache.cache.tiered import TieredCache
from repocache.repository.access import past_caches
from repocache.repository.answered import Answered
from repocache.repository.query import EntryId, Query, entry_id, shape_texts
from repocache.repository.tag_floors import TagFloors
from repocache.repository.tokens import Tokens
from repocache.routing.around import current_session

Execute = Callable[[SelectBase, RowRequest], Awaitable[Answered]]
"""Answers a select on a node that has what is asked for; its snapshot is taken after the call."""


class QueryLoader:
    """Answers entries' misses."""

    def __init__(self, floors: TagFloors, execute: Execute) -> None:
        self._floors = floors
        self._execute = execute

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row]:
        """Each is a statement of its own. See `cache.entry.Load`."""
        found = {}
        for want in wanted:
            id: EntryId = want.id
            above = await self._floors.above(want, id.query.tags)
            answer = await self._execute(id.query.statement, above)
            found[want.id] = (str(id), *answer)
        return found


@dataclass(frozen=True, slots=True)
class QueryCache:
    """`entries`: of one repository, as they are cached."""

    tokens: Tokens
    entries: TieredCache

    async def answer(self, query: Query, bookmark: Bookmark | None) -> Answered:
        """Past the caches, with whoever asks the same now, where there are no tokens to be had.
        Raises what the database raises."""
        tokens = self.tokens.at_hand(tuple(query.tags))
        if tokens is None:
            tokens = await self.tokens.read(query.tags, bookmark)
        recorder = self._recorder(query, tokens)
        if tokens is None:
            tokens, bookmark = [], past_caches(bookmark)
        id = entry_id(query, tokens)
        cached = self.entries.peek_for_caller(id) if tokens else None
        if cached is None and recorder is not None:
            cached = (await self.entries.get_many((id,), bookmark, recorder))[id]
        elif cached is None:
            cached = await self.entries.read_past_l1(id, bookmark)
        assert cached.row is not None
        _, names, rows = cached.row
        return Answered(names, rows)

    def _recorder(self, query: Query, tokens: Sequence[str] | None) -> ReadRecorder | None:
        """Who records what the caller's session is given, once he has heard of the tags."""
        session = current_session()
        recorder = None if session is None else session.recorder
        if recorder is not None:
            if tokens is None:
                recorder.unknown("the tags of a select could not be registered in Redis")
            else:
                under = dict(zip(query.tags, tokens, strict=True))
                recorder.tokens(self.tokens.shared, under, shape_texts(query.tags))
        return recorder
