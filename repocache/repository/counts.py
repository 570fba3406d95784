"""Declares on a repository how many rows refer to its entities:
`comment_count = Count(Comment.post_id)`, then `posts.comment_count.get(7)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, overload

from sqlalchemy.orm import InstrumentedAttribute

from repocache.errors import ConfigurationError
from repocache.keys import Keys
from repocache.repository.count_rows import CountAccess
from repocache.repository.repository import Repository

I = TypeVar("I")  # noqa: E741  # as in Repository


class Count:
    """How many rows have an entity's id in these columns: `Count(Comment.post_id)`; several columns
    for an id of several. Cached in both tiers under keys of its own (`post-comment_count:7`), and
    invalidated by key: by the id that a row had, and the one that it has.

    Refused when the database is built: ConfigurationError for what is no column attribute, or does
    not hold the id; MappingRefused for columns of two tables.
    """

    def __init__(self, *attributes: InstrumentedAttribute[Any]) -> None:
        given: tuple[object, ...] = attributes
        if not given or not all(isinstance(each, InstrumentedAttribute) for each in given):
            raise ConfigurationError(
                f"Count{attributes!r}: give the column attributes that refer to the entity, as in "
                "Count(Comment.post_id)"
            )
        self.attributes = attributes
        self.name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, repository: None, owner: type[object]) -> Count: ...

    @overload
    def __get__(self, repository: Repository[Any, I], owner: type[object]) -> BoundCount[I]: ...

    def __get__(
        self, repository: Repository[Any, I] | None, owner: type[object]
    ) -> Count | BoundCount[I]:
        if repository is None:
            return self
        # As of a view: one file, one thing.
        bound: BoundCount[I] = BoundCount(
            repository._binding.keys,  # noqa: SLF001
            repository._access.counts[self.name],  # noqa: SLF001
        )
        repository.__dict__[self.name] = bound  # found there from now on, without this call
        return bound


class BoundCount(Generic[I]):
    """A count of one repository. Raises as `Repository.get`."""

    def __init__(self, keys: Keys, counts: CountAccess) -> None:
        self._keys = keys
        self._counts = counts

    async def get(self, id: I) -> int:
        """0 also if there is no such entity."""
        self._keys.check(id)
        known = self._counts.peek(id)
        if known is not None:
            return 0 if known.row is None else int(known.row[-1])
        return (await self._counts.entities((id,))).get(id, 0)

    async def get_many(self, ids: Sequence[I]) -> dict[I, int]:
        """Of every id, in the order asked; one round trip a tier."""
        wanted = self._keys.distinct(ids)
        found = await self._counts.entities(wanted)
        return {id: found.get(id, 0) for id in wanted}
