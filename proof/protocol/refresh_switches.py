"""The switches of the rules of loaders that say "not changed"; see `switches` and
`models/refresh.py`, whose rules they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

from sqlalchemy import Row as SqlRow
from sqlalchemy.sql.selectable import SelectBase

from proof.protocol.switches import _switch
from repocache.cache.entry import RowRequest
from repocache.computed import loading
from repocache.computed.entry import Computed, KeptValue, shapes_of
from repocache.computed.key import KeyText
from repocache.computed.loading import Loading
from repocache.computed.reader import Reader

Kept = Mapping[KeyText, KeptValue]
Found = Mapping[str, Computed]


@_switch("kept tokens")
def _kept_tokens() -> Iterator[None]:
    """What is not changed is kept under the tokens that there are when that is said."""
    original = Loading._refresh

    async def refresh(self: Loading, kept: Kept, want: RowRequest) -> Found:
        found: dict[str, Computed] = {}
        with patch.object(loading, "_moved", lambda *_: False):
            answered = await original(self, kept, want)
        for text, computed in answered.items():
            shapes = shapes_of(computed.shapes)
            now = await self._reading.tokens(shapes, want.bookmark)
            tokens = None if now is None else dict(zip(shapes, now, strict=True))
            found[text] = computed._replace(tokens=tokens)
        return found

    with patch.object(Loading, "_refresh", refresh):
        yield


@_switch("both")
def _both() -> Iterator[None]:
    """What is not changed is kept under the tokens of what was read to ask."""
    original = Loading._refresh

    async def refresh(self: Loading, kept: Kept, want: RowRequest) -> Found:
        answered = await original(self, kept, want)
        found: dict[str, Computed] = {}
        for text, computed in answered.items():
            own = kept[computed.text].tokens
            read = {tag: token for tag, token in (computed.tokens or {}).items() if tag not in own}
            found[text] = computed._replace(tokens=read or computed.tokens)
        return found

    with patch.object(Loading, "_refresh", refresh):
        yield


@_switch("what it reads")
def _what_it_reads() -> Iterator[None]:
    """What is not changed is kept under the tokens that it was computed under, alone."""
    original = Loading._refresh

    async def refresh(self: Loading, kept: Kept, want: RowRequest) -> Found:
        answered = await original(self, kept, want)
        return {
            text: computed._replace(tokens=dict(kept[computed.text].tokens))
            for text, computed in answered.items()
        }

    with patch.object(Loading, "_refresh", refresh):
        yield


@_switch("read tokens first")
def _read_tokens_first() -> Iterator[None]:
    """What `refresh` reads is read before its tokens."""
    original = Reader.execute

    async def execute(self: Reader, statement: SelectBase) -> Any:
        answer = await self._reading.answer(statement, self._want, [])
        rows: list[SqlRow[Any]] = list(answer.served(statement))
        await original(self, statement)
        return rows

    with patch.object(Reader, "execute", execute):
        yield
