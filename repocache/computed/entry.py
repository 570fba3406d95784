"""What is kept of a computed value: the hint, which says its tags, and the value, whose name says
the key, the tags and their tokens."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from repocache.cache.entry import Row
from repocache.computed.key import KeyText
from repocache.errors import CodecError
from repocache.queries.shape import Shape

Tags = tuple[tuple[str, str], ...]
"""Each with the text of its shape."""


class Computed(NamedTuple):
    """What a load has brought for one key. `text`: as it was given by who began the load. `tokens`:
    by tag; None: they were not to be had. `shapes`: the texts of the tags' shapes, empty of the
    application's own. `value`: None: the key has none."""

    text: KeyText
    tokens: Mapping[str, str] | None
    shapes: Mapping[str, str]
    value: Any

    @property
    def tags(self) -> Tags:
        return tuple((tag, self.shapes[tag]) for tag in self.tokens or ())


class KeptValue(NamedTuple):
    """A value that lies there, and what it was computed under."""

    value: Any
    tokens: Mapping[str, str]
    shapes: Mapping[str, str]


class Hint(NamedTuple):
    """The row of a key's first entry. `held`: what was computed by the load that made it: of no
    other process, and not in Redis."""

    text: str
    tags: Tags
    held: Computed | None = None


def hint_life(negative_ttl: float, hint: Hint) -> float:
    """Seconds, at most those of the policy: what has no value is asked for by anybody, and kept as
    briefly as there."""
    absent = hint.held is not None and hint.held.value is None
    return negative_ttl if absent else math.inf


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
    """The id of a value's entry. `text`: of its key. `tokens`, `shapes`: of its tags. `held`: it is
    known already."""

    __slots__ = ("held", "shapes", "text", "tokens")

    text: KeyText
    tokens: Mapping[str, str]
    shapes: Mapping[str, str]
    held: Computed | None


NO_TAGS: Mapping[str, str] = {}


def value_id(
    text: KeyText,
    tokens: Mapping[str, str] | None,
    shapes: Mapping[str, str] = NO_TAGS,
    held: Computed | None = None,
) -> ValueId:
    """Under these tokens. None: they are not to be had, and no value is kept under this name."""
    digest = hashlib.blake2b(text.encode(), digest_size=20)
    under = {} if tokens is None else tokens
    for tag in sorted(under):
        digest.update(f"\0{tag}\0{under[tag]}".encode())
    found = ValueId(digest.hexdigest() if tokens is not None else f"-{digest.hexdigest()}")
    found.text, found.tokens, found.shapes, found.held = text, under, shapes, held
    return found


class NotKept(CodecError):
    """A value was computed that is kept nowhere under the name that was asked for: it is its
    callers'."""

    def __init__(self, computed: Computed) -> None:
        super().__init__("computed, and not kept")
        self.computed = computed


def shapes_of(texts: Mapping[str, str]) -> dict[str, Shape | None]:
    """Of tags, with the texts of their shapes. Raises CodecError for those of another release."""
    return {tag: Shape.read(text) if text else None for tag, text in texts.items()}
