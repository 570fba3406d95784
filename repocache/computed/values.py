"""THE path of a computed value: its tags, their tokens, the value that was computed under these.

Two entries are kept of a key. One says of which tags the value was computed; it counts only as a
hint. The other is the value, whose name says the key, the tags and their tokens: it is found as
long as none of them has moved (protocol, Tags 3).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from repocache.bookmark import Bookmark
from repocache.cache.entry import CachedRow, Row, RowRequest
from repocache.cache.policies import Policy
from repocache.cache.tiered import TieredCache
from repocache.computed.key import ComputedKeys, KeyText
from repocache.errors import CodecError
from repocache.queries.shape import Shape
from repocache.repository.access import past_caches
from repocache.repository.tokens import Tokens


class Computed(NamedTuple):
    """What a load has brought for one key. `text`: as it was given by who began the load. `tokens`:
    by tag; None: they were not to be had. `shapes`: the texts of the tags' shapes, empty of the
    application's own. `value`: None: the key has none."""

    text: KeyText
    tokens: Mapping[str, str] | None
    shapes: Mapping[str, str]
    value: Any


Tags = tuple[tuple[str, str], ...]
"""Each with the text of its shape."""


class Hint(NamedTuple):
    """The row of a key's first entry. `held`: what was computed by the load that made it: of no
    other process, and not in Redis."""

    text: str
    tags: Tags
    held: Computed | None = None


def hint_life(policy: Policy, hint: Hint) -> float:
    """Seconds: what has no value is asked for by anybody, and kept as briefly as there."""
    absent = hint.held is not None and hint.held.value is None
    return policy.negative_ttl if absent else policy.ttl


class HintCodec:
    """Texts alone."""

    def encode(self, row: Row) -> bytes:
        return msgspec.json.encode([row[0], row[1]])

    def decode(self, payload: bytes) -> Row:
        try:
            text, tags = msgspec.json.decode(payload, type=tuple[str, Tags])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise CodecError(f"the tags of a computed value cannot be read: {error}") from error
        return Hint(text, tags)


class ValueId(str):
    """The id of a value's entry. `text`: of its key. `held`: it is known already."""

    __slots__ = ("held", "text")

    text: KeyText
    held: Computed | None


class NotKept(CodecError):
    """A value was computed that is kept nowhere: it is its callers'. `misled`: by a hint that names
    other tags than it was computed of."""

    def __init__(self, computed: Computed, *, misled: bool) -> None:
        super().__init__("computed, and not kept")
        self.computed = computed
        self.misled = misled


def value_id(
    text: KeyText, tokens: Mapping[str, str], held: Computed | None = None, *, known: bool = True
) -> ValueId:
    """Under these tokens. `known`: else of none at all, which no value is kept under."""
    digest = hashlib.blake2b(text.encode(), digest_size=20)
    for tag in sorted(tokens):
        digest.update(f"\0{tag}\0{tokens[tag]}".encode())
    found = ValueId(digest.hexdigest() if known else f"-{digest.hexdigest()}")
    found.text, found.held = text, held
    return found


class ComputedValues:
    """Of one class. `hints`, `values`: the caches of both entries. `asking`: what the caller's
    session asks. `forget`: takes hints away, in every process."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        keys: ComputedKeys,
        *,
        hints: TieredCache,
        values: TieredCache,
        tokens: Tokens,
        asking: Callable[[], Bookmark | None],
        forget: Callable[[Sequence[str]], None],
    ) -> None:
        self._keys = keys
        self._hints = hints
        self._values = values
        self._tokens = tokens
        self._asking = asking
        self._forget = forget

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
            cached = self._hints.peek_for_caller(text)
            if cached is None:
                cached = await self._hints.read_past_l1(text, bookmark)
            return await self._under_tokens(text, cached, bookmark)
        except NotKept as found:
            if found.misled:
                self._forget([text])
            if found.computed.text is text or bookmark is None or not bookmark.takes_cached:
                return found.computed.value
        return await self._alone(text, past_caches(bookmark))

    async def _alone(self, text: KeyText, bookmark: Bookmark) -> Any:
        """For a session that has joined a load whose value has no tokens by which it could tell
        whether that shows what it wrote (protocol, Read path 3)."""
        try:
            await self._hints.read_past_l1(text, bookmark)
        except NotKept as found:
            return found.computed.value
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
                return held.value
        tokens = await self._tokens_of(hint.tags, bookmark)
        if held is not None and held.tokens == tokens:
            return held.value
        # Without tokens nothing is found under this name, and nothing is kept under it.
        id = value_id(text, {} if tokens is None else tokens, known=tokens is not None)
        found = self._values.peek_for_caller(id)
        if found is None:
            found = await self._values.read_past_l1(id, bookmark)
        return None if found.row is None else found.row[1]

    async def _tokens_of(self, tags: Tags, bookmark: Bookmark | None) -> Mapping[str, str] | None:
        names = [tag for tag, _ in tags]
        tokens = self._tokens.at_hand(names)
        if tokens is None:
            try:
                shapes = {tag: Shape.read(text) if text else None for tag, text in tags}
            except CodecError:
                return None  # of another release
            tokens = await self._tokens.read(shapes, bookmark)
        return None if tokens is None else dict(zip(names, tokens, strict=True))


Compute = Callable[[KeyText, RowRequest], Awaitable[Computed]]
"""Calls `load` for a key, perhaps with others. What is wanted of a node is as of a read."""


class HintLoader:
    """Computes what there is no hint of, and keeps the value before the hint. `compute`: one
    key's."""

    def __init__(
        self,
        compute: Compute,
        keep: Callable[[ValueId, RowRequest], Awaitable[object]],
    ) -> None:
        self._compute = compute
        self._keep = keep

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """See `cache.entry.Load`."""
        found: dict[Any, Row | CodecError] = {}
        for want in wanted:
            computed = await self._compute(want.id, want)
            if computed.tokens is None or not want.fills:
                found[want.id] = NotKept(computed, misled=False)
                continue
            await self._keep(value_id(want.id, computed.tokens, computed), want)
            tags = tuple((tag, computed.shapes[tag]) for tag in computed.tokens)
            found[want.id] = Hint(str(want.id), tags, computed)
        return found


class ValueLoader:
    """Computes what there is no value of under these tokens."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """See `cache.entry.Load`."""
        found: dict[Any, Row | CodecError] = {}
        for want in wanted:
            id: ValueId = want.id
            computed = id.held or await self._compute(id.text, want)
            if computed.tokens is None or value_id(id.text, computed.tokens) != id:
                found[id] = NotKept(computed, misled=True)
            elif computed.value is not None:
                found[id] = (str(id), computed.value)
        return found
