"""Relationships of entities that were read: what a foreign key leads to, and what a key list does,
by ids and through the target's caches, and all else by a statement of SQLAlchemy's on a node.

Owns the order of these reads, level by level, and how the values get into the entities: as
SQLAlchemy puts what it has loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Mapper, RelationshipProperty, load_only
from sqlalchemy.orm.attributes import set_committed_value

from repocache.mapping.key_list import KeyListPlan
from repocache.mapping.plan import EntityPlan
from repocache.repository.relations import Branch, reference

MOST = 1_000
"""Entities of one statement."""


class ById(Protocol):
    """An owner's entities."""

    async def entities(self, ids: Sequence[Any]) -> dict[Any, Any]: ...


class BySelect(Protocol):
    """Entities by a select of the ORM, with its options."""

    async def load(self, statement: Select[Any]) -> list[Any]: ...


class Members(Protocol):
    """The ids that a relationship leads to, as they are cached."""

    @property
    def plan(self) -> KeyListPlan: ...

    @property
    def ids(self) -> ById: ...

    @property
    def wrong(self) -> Callable[[Iterable[Any]], None]: ...


@dataclass(frozen=True, slots=True)
class CachedTargets:
    """What is read by id. `by_class`: entities of these classes. `lists`: what these relationships
    lead to."""

    by_class: Mapping[type, ById]
    lists: Mapping[RelationshipProperty[Any], Members]


NOTHING_CACHED = CachedTargets({}, {})


class Relationships:
    """For entities of one class. What is not `cached` is read by `nodes`."""

    def __init__(self, plan: EntityPlan[Any], nodes: BySelect, cached: CachedTargets) -> None:
        self._plan = plan
        self._nodes = nodes
        self._cached = cached

    async def bring(self, entities: Iterable[Any], wanted: Sequence[Branch]) -> None:
        """Set these relationships of the entities. One read of each tier for a branch by id, one
        statement and SQLAlchemy's own for the others of a level, however many entities there are.
        """
        await self._bring(self._plan.mapper, list(entities), wanted)

    async def _bring(
        self, mapper: Mapper[Any], entities: Sequence[Any], wanted: Sequence[Branch]
    ) -> None:
        others: dict[Mapper[Any], list[Branch]] = {}
        for branch in wanted:
            having = branch.having(mapper)
            some = [each for each in entities if isinstance(each, having.class_)]
            names = reference(branch, having)
            if names is not None and some and not vars(some[0]).keys() >= set(names):
                names = None  # the mapping's options do not load them
            targets = self._cached.by_class.get(branch.target.class_)
            members = self._cached.lists.get(branch.relationship)
            if targets is None or (names is None and members is None):
                others.setdefault(having, []).append(branch)
            elif some and names is not None:
                await self._by_id(some, branch, names, targets)
            elif some and members is not None:
                await self._by_list(having, some, branch, members)
        for having, rest in others.items():
            some = [each for each in entities if isinstance(each, having.class_)]
            for begin in range(0, len(some), MOST):
                await self._by_statement(having, some[begin : begin + MOST], rest)
            for branch in rest:
                await self._below(some, branch)

    async def _by_id(
        self, entities: Sequence[Any], branch: Branch, names: Sequence[str], targets: ById
    ) -> None:
        """Entities that lead to one row share what is set, as they would in a session."""
        ids = [_id(each, names) for each in entities]
        wanted = list(dict.fromkeys(id for id in ids if id is not None))
        found = await targets.entities(wanted) if wanted else {}
        if branch.below and found:
            await self._bring(branch.target, list(found.values()), branch.below)
        for entity, id in zip(entities, ids, strict=True):
            set_committed_value(entity, branch.name, None if id is None else found.get(id))

    async def _by_list(
        self, mapper: Mapper[Any], entities: Sequence[Any], branch: Branch, members: Members
    ) -> None:
        """The ids by the parents', then the children by theirs. A child that is gone, or is another
        parent's by now, says that the list is old, or the child: these are read by a statement."""
        targets = self._cached.by_class[branch.target.class_]
        names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
        ids = [_id(each, names) for each in entities]
        lists = await members.ids.entities(list(dict.fromkeys(ids)))
        wanted = list(dict.fromkeys(chain.from_iterable(lists.values())))
        found = await targets.entities(wanted) if wanted else {}
        fits = members.plan.fits
        doubtful = []
        for entity, id in zip(entities, ids, strict=True):
            children = [found.get(each) for each in lists.get(id, ())]
            if all(child is not None and fits(child, id) for child in children):
                set_committed_value(entity, branch.name, children)
            else:
                doubtful.append(entity)
        if doubtful:
            members.wrong({_id(each, names) for each in doubtful})
            await self._by_statement(mapper, doubtful, [branch])
        await self._below(entities, branch)

    async def _below(self, entities: Sequence[Any], branch: Branch) -> None:
        """What is to be loaded of what the relationship has led to, each once."""
        if not branch.below:
            return
        values = (vars(each)[branch.name] for each in entities)
        found = (each for value in values for each in _members(value, branch))
        distinct = list({id(each): each for each in found}.values())
        if distinct:
            await self._bring(branch.target, distinct, branch.below)

    async def _by_statement(
        self, mapper: Mapper[Any], entities: Sequence[Any], wanted: Sequence[Branch]
    ) -> None:
        """Twins of the entities, with nothing but their ids, are loaded with these relationships,
        which are taken over."""
        names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
        key = [getattr(mapper.class_, name) for name in names]
        ids = [_id(each, names) for each in entities]
        among = key[0].in_(ids) if len(key) == 1 else tuple_(*key).in_(ids)
        options = [load_only(*key), *(branch.option for branch in wanted)]
        twins = await self._nodes.load(select(mapper.class_).where(among).options(*options))
        by_id = {_id(twin, names): vars(twin) for twin in twins}
        for entity, id in zip(entities, ids, strict=True):
            values = by_id.get(id, {})
            for branch in wanted:
                value = values.get(branch.name)
                if branch.relationship.uselist:
                    value = list(_members(value, branch))
                set_committed_value(entity, branch.name, value)


def _id(entity: object, names: Sequence[str]) -> Any:
    """By the values of these attributes; None if one of them is."""
    values = vars(entity)
    parts = tuple([values[name] for name in names])
    if None in parts:
        return None
    return parts[0] if len(parts) == 1 else parts


def _members(value: Any, branch: Branch) -> Iterable[Any]:
    """What a relationship has led to, whatever collects it."""
    if value is None:
        return ()
    if not branch.relationship.uselist:
        return (value,)
    return value.values() if isinstance(value, Mapping) else value
