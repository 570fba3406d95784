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
from repocache.repository.access import past_caches
from repocache.repository.tokens import Tokens


class Computed(NamedTuple):
    """What a load has brought for one key. `tokens`: by tag, in the order of their texts; None:
    they were not to be had. `value`: None: the key has none."""

    tokens: Mapping[str, str] | None
    value: Any


class Hint(NamedTuple):
    """The row of a key's first entry. `held`: what was computed by the load that made it: of no
    other process, and not in Redis."""

    text: str
    tags: tuple[str, ...]
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
            text, tags = msgspec.json.decode(payload, type=tuple[str, tuple[str, ...]])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise CodecError(f"the tags of a computed value cannot be read: {error}") from error
        return Hint(text, tags)


class ValueId(str):
    """The id of a value's entry. `text`: of its key. `held`: it is known already."""

    __slots__ = ("held", "text")

    text: KeyText
    held: Computed | None


class MovedValue(CodecError):
    """A value was computed of other tags, or under other tokens, than those that it was asked for
    under: it is the callers', and is not kept under that name."""

    def __init__(self, computed: Computed) -> None:
        super().__init__("computed under other tokens")
        self.computed = computed


def value_id(text: KeyText, tokens: Mapping[str, str], held: Computed | None = None) -> ValueId:
    """Under these tokens."""
    digest = hashlib.blake2b(text.encode(), digest_size=20)
    for tag in sorted(tokens):
        digest.update(f"\0{tag}\0{tokens[tag]}".encode())
    found = ValueId(digest.hexdigest())
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
        cached = self._hints.peek_for_caller(text)
        try:
            if cached is None:
                cached = await self._hints.read_past_l1(text, bookmark)
            return await self._under_tokens(text, cached, bookmark)
        except MovedValue as moved:
            self._forget([text])
            return moved.computed.value

    async def _under_tokens(
        self, text: KeyText, cached: CachedRow, bookmark: Bookmark | None
    ) -> Any:
        """Under the tokens of now, of the tags that the hint names. Raises MovedValue."""
        assert cached.row is not None
        hint = Hint(*cached.row)
        tokens = await self._tokens_of(hint.tags, bookmark)
        if hint.held is not None:
            # It has an entry of its own: what L1 keeps of the hint are the tags.
            cached.row = Hint(hint.text, hint.tags)
            if hint.held.tokens == tokens:
                return hint.held.value
        # Of a token that is not to be had nothing is found under this name, and what is computed
        # is not kept under it.
        id = value_id(text, dict.fromkeys(hint.tags, "") if tokens is None else tokens)
        found = self._values.peek_for_caller(id)
        if found is None:
            found = await self._values.read_past_l1(id, bookmark)
        return None if found.row is None else found.row[1]

    async def _tokens_of(
        self, tags: Sequence[str], bookmark: Bookmark | None
    ) -> Mapping[str, str] | None:
        at_hand = self._tokens.at_hand(tags)
        if at_hand is None:
            at_hand = await self._tokens.known(tags, bookmark)
        return None if at_hand is None else dict(zip(tags, at_hand, strict=True))


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
            if computed.tokens is None:
                found[want.id] = MovedValue(computed)
                continue
            if want.fills:
                await self._keep(value_id(want.id, computed.tokens, computed), want)
            found[want.id] = Hint(str(want.id), tuple(computed.tokens), computed)
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
                found[id] = MovedValue(computed)
            elif computed.value is not None:
                found[id] = (str(id), computed.value)
        return found
