"""Relationships of entities that were read: what a foreign key leads to by its id, through the
target's caches, and all else by a statement of SQLAlchemy's on a node.

Owns the order of these reads, level by level, and how the values get into the entities: as
SQLAlchemy puts what it has loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Mapper, load_only
from sqlalchemy.orm.attributes import set_committed_value

from repocache.repository.relations import Branch, reference

MOST = 1_000
"""Entities of one statement."""


class ById(Protocol):
    """An owner's entities."""

    async def entities(self, ids: Sequence[Any]) -> dict[Any, Any]: ...


class BySelect(Protocol):
    """Entities by a select of the ORM, with its options."""

    async def load(self, statement: Select[Any]) -> list[Any]: ...


class Relationships:
    """For entities of one class. `by_class`: where those of other classes are read by id; what is
    not among them is read by `nodes`."""

    def __init__(self, mapper: Mapper[Any], nodes: BySelect, by_class: Mapping[type, ById]) -> None:
        self._mapper = mapper
        self._nodes = nodes
        self._by_class = by_class

    async def bring(self, entities: Iterable[Any], wanted: Sequence[Branch]) -> None:
        """Set these relationships of the entities. One read of each tier for a branch by id, one
        statement and SQLAlchemy's own for the others of a level, however many entities there are.
        """
        await self._bring(self._mapper, list(entities), wanted)

    async def _bring(
        self, mapper: Mapper[Any], entities: Sequence[Any], wanted: Sequence[Branch]
    ) -> None:
        others: dict[Mapper[Any], list[Branch]] = {}
        for branch in wanted:
            having = branch.having(mapper)
            some = [each for each in entities if isinstance(each, having.class_)]
            names = reference(branch, having)
            targets = self._by_class.get(branch.target.class_)
            if names is None or targets is None:
                others.setdefault(having, []).append(branch)
            elif some:
                await self._by_id(some, branch, names, targets)
        for having, rest in others.items():
            some = [each for each in entities if isinstance(each, having.class_)]
            for begin in range(0, len(some), MOST):
                await self._by_statement(having, some[begin : begin + MOST], rest)
            for branch in rest:
                found = (value for each in some for value in _members(vars(each)[branch.name]))
                below = list({id(each): each for each in found}.values())
                if below and branch.below:
                    await self._bring(branch.target, below, branch.below)

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
                    value = list(_members(value))
                set_committed_value(entity, branch.name, value)


def _id(entity: object, names: Sequence[str]) -> Any:
    """By the values of these attributes; None if one of them is."""
    values = vars(entity)
    parts = tuple([values[name] for name in names])
    if None in parts:
        return None
    return parts[0] if len(parts) == 1 else parts


def _members(value: Any) -> Iterable[Any]:
    """What a relationship leads to, whatever collects it."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, Iterable) else (value,)
