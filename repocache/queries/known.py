"""The shapes that this process has heard of, for whoever tells tags of what is written."""

from __future__ import annotations

from collections.abc import Sequence

from repocache.errors import CodecError
from repocache.queries.shape import Shape
from repocache.tags import tag_owner


class ShapeBook:
    """By the owners of tables' tags. What a record lists takes the place of what it listed."""

    def __init__(self) -> None:
        self._listed: dict[str, frozenset[str]] = {}
        self._of: dict[str, tuple[Shape, ...]] = {}

    def of(self, owner: str) -> Sequence[Shape]:
        """Another sequence whenever it is not the same any more."""
        return self._of.get(owner, ())

    def learn(self, owner: str, listed: Sequence[str]) -> None:
        """What the owner's record lists. A text that is no shape of the table, or of another
        release's form, is left out: nobody here can tell its tags."""
        now = frozenset(listed)
        if self._listed.get(owner) == now:
            return
        self._listed[owner] = now
        self._of[owner] = tuple(_read(owner, sorted(now)))


def _read(owner: str, listed: Sequence[str]) -> list[Shape]:
    found = []
    for text in listed:
        try:
            shape = Shape.read(text)
        except CodecError:
            continue
        if tag_owner(*shape.place).prefix == owner:
            found.append(shape)
    return found
