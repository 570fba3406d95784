"""What the two entries of a key are loaded by: computes what is missing, and keeps each value under
the tokens of what it was computed of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from repocache.cache.entry import Row, RowRequest
from repocache.computed.entry import Computed, Hint, KeptValue, NotKept, Tags, ValueId, value_id
from repocache.computed.key import KeyText
from repocache.errors import CodecError

MOST_NOTED = 1_000
"""Keys whose other tags are remembered until their next hint."""

Compute = Callable[[KeyText, RowRequest, KeptValue | None], Awaitable[Computed]]
"""Calls `load` for a key, perhaps with others, or asks `refresh` whether what is kept is right.
What is wanted of a node is as of a read."""
Keep = Callable[[ValueId, RowRequest], Awaitable[object]]
"""Stores what is held under its name."""


class OtherTags:
    """Of keys whose hints were misleading, until the next ones are made."""

    def __init__(self) -> None:
        self._noted: OrderedDict[str, Tags] = OrderedDict()

    def note(self, text: str, tags: Tags) -> None:
        self._noted[text] = tags
        if len(self._noted) > MOST_NOTED:
            self._noted.popitem(last=False)

    def take(self, text: str) -> Tags | None:
        return self._noted.pop(text, None)


class HintLoader:
    """Computes what there is no hint of, and keeps the value before the hint. A hint that is
    renewed stays what it is: whether it is right turns out when the value is computed."""

    def __init__(self, compute: Compute, keep: Keep, others: OtherTags) -> None:
        self._compute = compute
        self._keep = keep
        self._others = others

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """See `cache.entry.Load`."""
        return {want.id: await self._one(want) for want in wanted}

    async def _one(self, want: RowRequest) -> Row | CodecError:
        if want.kept is not None:
            return want.kept
        tags = self._others.take(want.id) if want.fills else None
        if tags is not None:
            return Hint(str(want.id), tags)
        computed = await self._compute(want.id, want, None)
        if computed.tokens is None or not want.fills:
            return NotKept(computed)
        await self._keep(value_id(want.id, computed.tokens, computed.shapes, computed), want)
        return Hint(str(want.id), computed.tags, computed)


class ValueLoader:
    """Computes what there is no value of under these tokens, or what is to be renewed. `forget`:
    takes a hint away, in every process, behind; `replace`: does, with the value that it led to, and
    makes the next one; `touch`: has it live as long as the value."""

    def __init__(  # keyword-only
        self,
        compute: Compute,
        *,
        keep: Keep,
        forget: Callable[[KeyText], None],
        replace: Callable[[ValueId, Tags], None],
        touch: Callable[[KeyText], None],
    ) -> None:
        self._compute = compute
        self._keep = keep
        self._forget = forget
        self._replace = replace
        self._touch = touch

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """See `cache.entry.Load`."""
        found: dict[Any, Row | CodecError] = {}
        for want in wanted:
            row = await self._one(want.id, want)
            if row is not None:
                found[want.id] = row
        return found

    async def _one(self, id: ValueId, want: RowRequest) -> Row | CodecError | None:
        kept = None if want.kept is None else KeptValue(want.kept[1], id.tokens, id.shapes)
        computed = id.held or await self._compute(id.text, want, kept)
        if computed.tokens is None or value_id(id.text, computed.tokens) != id:
            await self._elsewhere(id, computed, want)
            return NotKept(computed)
        if computed.value is None:
            return None
        if id.held is None:
            self._touch(id.text)
        same = kept is not None and computed.value is kept.value
        return want.kept if same else (str(id), computed.value)

    async def _elsewhere(self, id: ValueId, computed: Computed, want: RowRequest) -> None:
        """It belongs under another name: its tags have moved since they were asked for, or are
        others than the hint has. Then what lies under the old name is not to be found again, if
        a later load has the old tags:

        1. A value of tag A is found to be unchanged by what is read under tag B; 2. B moves; 3. it
        is loaded, under A alone, and the old value lies there.
        """
        if computed.tokens is None:
            if want.kept is None:
                self._forget(id.text)
            return
        if want.fills:
            await self._keep(value_id(id.text, computed.tokens, computed.shapes, computed), want)
        if computed.tokens.keys() != id.tokens.keys():
            self._replace(id, computed.tags)
