"""What a loader reads by: each select goes to a node that may answer, and what it depends on is
noted, with the tokens that were there before the database was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from sqlalchemy import Executable, Row
from sqlalchemy.sql.selectable import SelectBase

from repocache.bookmark import Bookmark
from repocache.cache.entry import RowRequest
from repocache.errors import UsageError
from repocache.queries.shape import Shape
from repocache.repository.answered import Answered
from repocache.repository.columns import check_columns
from repocache.tags import named_tag


class Reading(Protocol):
    """What a reader asks of its database."""

    def tags(self, statement: SelectBase) -> Mapping[str, Shape]:
        """The keys of a statement's tags. Raises QueryRefused."""
        ...

    async def tokens(
        self, tags: Mapping[str, Shape | None], bookmark: Bookmark | None
    ) -> list[str] | None:
        """Of tags; None: they are not to be had."""
        ...

    def is_named(self, tag: str) -> bool:
        """Whether it is one of the application's own."""
        ...

    async def answer(
        self, statement: SelectBase, want: RowRequest, tags: Sequence[str]
    ) -> Answered:
        """On a node that has replayed the tags' floors, and what is wanted besides."""
        ...


class Reader:
    """Reads for one call of `load`. What it reads invalidates the computed values, whoever writes
    it.

    `want`: of a node. `known`: tokens of the application's own tags, read before the call.
    """

    def __init__(self, reading: Reading, want: RowRequest, known: Mapping[str, str]) -> None:
        self._reading = reading
        self._want = want
        self._known = known
        #: The first token of each tag that was read; what was read under an older one is not
        #: found under a younger one.
        self.tokens: dict[str, str] = {}
        #: The texts of the tags' shapes, empty of the application's own.
        self.shapes: dict[str, str] = {}
        #: Tags whose tokens were not to be had: nothing is kept.
        self.missing: list[str] = []

    async def execute(self, statement: SelectBase) -> Sequence[Row[Any]]:
        """The rows of a select of columns. Raises QueryRefused, with the remedy, for one whose
        answer may change without a write that is seen, UsageError for a select of entities, and
        what the database raises."""
        check_columns(cast("Executable", statement))
        tags = self._reading.tags(statement)
        tokens = await self._reading.tokens(tags, self._want.bookmark)
        if tokens is None:
            self.missing += tags
        else:
            for (tag, shape), token in zip(tags.items(), tokens, strict=True):
                self._note(tag, token, shape.text)
        answer = await self._reading.answer(statement, self._want, list(tags))
        return answer.served(statement)

    def depends_on(self, tag: str) -> None:
        """The values depend on a tag of the application's own, of which `work.invalidate(tag)`
        tells: on what is read elsewhere. Raises UsageError for what is no tag."""
        key = named_tag(tag)
        token = self._known.get(key)
        if token is None:
            self.missing.append(key)
        else:
            self._note(key, token, "")

    def _note(self, tag: str, token: str, shape: str) -> None:
        self.tokens.setdefault(tag, token)
        self.shapes[tag] = shape

    def check(
        self, keys: Sequence[object], values: object, *, method: str = "load"
    ) -> Mapping[Any, Any]:
        """What `load` or `refresh` has given. Raises UsageError unless it is a mapping of these
        keys."""
        if not isinstance(values, Mapping):
            raise UsageError(
                f"{method}() is to give a mapping of keys to values, not {values!r:.100}"
            )
        strange = set(values) - set(keys)
        if strange:
            raise UsageError(
                f"{method}() gives values of keys that it was not asked for: {strange!r:.200}"
            )
        return values
