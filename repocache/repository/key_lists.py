"""Declares on a repository that the ids which a relationship leads to are cached:
`comments = KeyList(Post.comments)`; `load=[Post.comments]` then needs no statement, and
`posts.comments.get(7)` gives the ids alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from sqlalchemy import inspect as inspect_entity
from sqlalchemy.orm import InstrumentedAttribute, RelationshipProperty

from repocache.errors import ConfigurationError
from repocache.mapping.key_list import KeyListPlan
from repocache.repository.relationships import ById
from repocache.repository.repository import Repository

I = TypeVar("I")  # noqa: E741  # as in Repository


class KeyList:
    """`relationship`: of the repository's class, to many of a class that has a repository too:
    one-to-many, or many-to-many by an association table. The ids are cached in both tiers under
    keys of their own (`post-comments:7`), for as long as the repository's policy says; whatever is
    added, taken away or put in another order invalidates them by the parent's key.

    Needs PostgreSQL: elsewhere they are read by a statement. Refused when the database is built:
    MappingRefused for a relationship by other conditions than foreign keys to the primary key, or
    ordered by another table's columns; ConfigurationError for what is no relationship.
    """

    def __init__(self, relationship: InstrumentedAttribute[Any]) -> None:
        found = getattr(relationship, "property", None)
        if not isinstance(found, RelationshipProperty):
            raise ConfigurationError(
                f"KeyList({relationship}): give a relationship of the mapped class, as in "
                "KeyList(Post.comments)"
            )
        self.attribute = relationship
        self.relationship = found
        self.name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, repository: None, owner: type[object]) -> KeyList: ...

    @overload
    def __get__(self, repository: Repository[Any, I], owner: type[object]) -> BoundKeyList[I]: ...

    def __get__(
        self, repository: Repository[Any, I] | None, owner: type[object]
    ) -> KeyList | BoundKeyList[I]:
        if repository is None:
            return self
        bound = BoundKeyList(repository, self)
        repository.__dict__[self.name] = bound  # found there from now on, without this call
        return bound


class BoundKeyList(Generic[I]):
    """A key list of one repository: the ids alone, for a page of a long list. Raises as
    `Repository.get`."""

    def __init__(self, repository: Repository[Any, I], of: KeyList) -> None:
        self._repository = repository
        self._attribute = of.attribute
        # As of a view: one file, one thing.
        self._keys = repository._binding.keys  # noqa: SLF001
        self._cached = repository._access.lists.get(of.relationship)  # noqa: SLF001

    async def get(self, id: I) -> list[Any]:
        """The ids of what the relationship leads to, in its order, those of several columns as
        tuples; empty also if there is no such entity."""
        return (await self.get_many((id,)))[id]

    async def get_many(self, ids: Sequence[I]) -> dict[I, list[Any]]:
        """Of every id, in the order asked; one round trip a tier. Where no caches are read, as in a
        unit of work, the relationship is loaded."""
        wanted = self._keys.distinct(ids)
        if self._cached is not None:
            lists = await self._cached.ids.entities(wanted)
            return {id: list(lists.get(id, ())) for id in wanted}
        entities = await self._repository.get_many(wanted, load=[self._attribute])
        return {id: self._ids(entities.get(id)) for id in wanted}

    def _ids(self, entity: object | None) -> list[Any]:
        found: Collection[Any] = () if entity is None else getattr(entity, self._attribute.key)
        children = found.values() if isinstance(found, Mapping) else found
        identities = (inspect_entity(each).identity for each in children)
        return [each[0] if len(each) == 1 else tuple(each) for each in identities]


@dataclass(frozen=True, slots=True)
class CachedKeyList:
    """`ids`: the lists, by the parent's id. `wrong`: is told the parents whose lists led astray."""

    plan: KeyListPlan
    ids: ById
    wrong: Callable[[Iterable[Any]], None]
