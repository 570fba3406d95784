"""THE path of a computed value: its tags, their tokens, the value that was computed under these.

Two entries are kept of a key. One says of which tags the value was computed; it counts only as a
hint. The other is the value, whose name says the key, the tags and their tokens: it is found as
long as none of them has moved (protocol, Tags 3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repocache.bookmark import Bookmark
from repocache.cache.entry import CachedRow
from repocache.cache.l1_reader import ReadRecorder
from repocache.cache.tiered import TieredCache
from repocache.computed.entry import Computed, Hint, NotKept, shapes_of, value_id
from repocache.computed.key import ComputedKeys, KeyText
from repocache.errors import CodecError
from repocache.repository.access import past_caches
from repocache.repository.tokens import Tokens
from repocache.routing.around import current_session


class ComputedValues:
    """Of one class. `hints`, `values`: the caches of both entries. `asking`: what the caller's
    session asks."""

    def __init__(
        self,
        keys: ComputedKeys,
        *,
        hints: TieredCache,
        values: TieredCache,
        tokens: Tokens,
        asking: Callable[[], Bookmark | None],
    ) -> None:
        self._keys = keys
        self._hints = hints
        self._values = values
        self._tokens = tokens
        self._asking = asking

    async def values(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Those that there are, in the order asked."""
        bookmark = self._asking()
        texts = [self._text(key) for key in keys]
        if len(texts) == 1:
            values = [await self._value(texts[0], bookmark)]
        else:
            values = await asyncio.gather(*(self._value(text, bookmark) for text in texts))
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    def _text(self, key: Any) -> KeyText:
        text = KeyText(self._keys.text(key))
        text.key = key
        return text

    async def _value(self, text: KeyText, bookmark: Bookmark | None) -> Any:
        if self._keys.is_long(text.key):
            bookmark = past_caches(bookmark)
        try:
            cached = await _read(self._hints, text, bookmark)
            return await self._under_tokens(text, cached, bookmark)
        except NotKept as found:
            if found.computed.text is text or bookmark is None or not bookmark.takes_cached:
                return self._given(found.computed)
        return await self._alone(text, past_caches(bookmark))

    async def _alone(self, text: KeyText, bookmark: Bookmark) -> Any:
        """For a session that has joined a load whose value has no tokens by which it could tell
        whether that shows what it wrote (protocol, Read path 3)."""
        try:
            await self._hints.read_past_l1(text, bookmark)
        except NotKept as found:
            return self._given(found.computed)
        raise AssertionError("past the caches nothing is kept")

    async def _under_tokens(
        self, text: KeyText, cached: CachedRow, bookmark: Bookmark | None
    ) -> Any:
        """Under the tokens of now, of the tags that the hint names. Raises NotKept."""
        assert cached.row is not None
        hint = Hint(*cached.row)
        held = hint.held
        if held is not None:
            # It has an entry of its own: what L1 keeps of the hint are the tags.
            cached.row = Hint(hint.text, hint.tags)
            if held.text is text:
                self._tell(held.tokens, held.shapes)
                return held.value
        shapes = dict(hint.tags)
        tokens = await self._tokens_of(shapes, bookmark)
        self._tell(tokens, shapes)
        if held is not None and held.tokens == tokens:
            return held.value
        # Without tokens nothing is found under this name, and nothing is kept under it.
        id = value_id(text, tokens, shapes)
        found = await _read(self._values, id, bookmark)
        return None if found.row is None else found.row[1]

    async def _tokens_of(
        self, shapes: Mapping[str, str], bookmark: Bookmark | None
    ) -> Mapping[str, str] | None:
        tokens = self._tokens.at_hand(list(shapes))
        if tokens is None:
            try:
                tokens = await self._tokens.read(shapes_of(shapes), bookmark)
            except CodecError:
                return None  # of another release
        return None if tokens is None else dict(zip(shapes, tokens, strict=True))

    def _given(self, computed: Computed) -> Any:
        """Its value. What is not kept was read without a look at floors."""
        self._tell(computed.tokens, computed.shapes)
        recorder = _recorder()
        if recorder is not None:
            recorder.behind("a computed value was not kept")
        return computed.value

    def _tell(self, tokens: Mapping[str, str] | None, shapes: Mapping[str, str]) -> None:
        """Whoever records what the session is given."""
        recorder = _recorder()
        if recorder is not None:
            if tokens is None:
                recorder.unknown("a computed value depends on tags that could not be kept in Redis")
            else:
                recorder.tokens(self._tokens.shared, tokens, shapes)


async def _read(cache: TieredCache, id: str, bookmark: Bookmark | None) -> CachedRow:
    found = cache.peek_for_caller(id)
    recorder = None if found is not None else _recorder()
    if recorder is not None:
        return (await cache.get_many((id,), bookmark, recorder))[id]
    return found or await cache.read_past_l1(id, bookmark)


def _recorder() -> ReadRecorder | None:
    session = current_session()
    return None if session is None else session.recorder
