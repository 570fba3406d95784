"""Which relationships a read brings along: `load=[Post.author, (Post.comments, Comment.author)]`.

Owns the verdict on what is asked, and whether a part can be had by the target's id. Pure; who reads
them is `relationships`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute, Mapper, RelationshipProperty, selectinload
from sqlalchemy.orm.interfaces import MANYTOONE, ORMOption

from repocache.errors import UsageError
from repocache.keys import shown
from repocache.mapping.joins import equal_columns

Relation = InstrumentedAttribute[Any]
Relations = Sequence[Relation | tuple[Relation, ...]]
"""Of each `Post.author`, or a way: `(Post.comments, Comment.author)`."""

_LAZY = ("dynamic", "write_only")
"""Relationships that are not loaded, whoever asks."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One relationship, and what is to be loaded of what it leads to."""

    relation: Relation
    below: tuple[Branch, ...]

    @property
    def name(self) -> str:
        return self.relation.key

    @property
    def relationship(self) -> RelationshipProperty[Any]:
        found = self.relation.property
        assert isinstance(found, RelationshipProperty)
        return found

    @property
    def target(self) -> Mapper[Any]:
        return self.relationship.mapper

    @property
    def option(self) -> ORMOption:
        """SQLAlchemy's, of this one alone."""
        return selectinload(self.relation)

    @property
    def options(self) -> Any:
        """SQLAlchemy's, of all that is below it too."""
        return selectinload(self.relation).options(*(each.options for each in self.below))

    def having(self, mapper: Mapper[Any]) -> Mapper[Any]:
        """The class whose entities have it, of a hierarchy with this one on top."""
        parent = self.relation.parent
        assert isinstance(parent, Mapper)
        return parent if parent.isa(mapper) else mapper


def branches(mapper: Mapper[Any], load: Relations) -> tuple[Branch, ...]:
    """Ways with a common beginning are one branch. Raises UsageError for what is no relationship
    of the class, or is one that is never loaded."""
    if isinstance(load, tuple) and not load:
        return ()  # the usual case
    given: object = load
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UsageError(
            f"load={_shown(load)}: give a list of relationships, as in load=[{_example(mapper)}]"
        )
    ways = [each if isinstance(each, tuple) else (each,) for each in load]
    grouped: dict[Relation, list[tuple[Relation, ...]]] = {}
    for way in ways:
        if not way:
            raise UsageError("load=[()]: a way has at least one relationship")
        grouped.setdefault(_checked(mapper, way[0]), []).append(way[1:])
    return tuple(
        Branch(relation, branches(relation.property.mapper, [way for way in rest if way]))
        for relation, rest in grouped.items()
    )


def _checked(mapper: Mapper[Any], relation: object) -> Relation:
    found = getattr(relation, "property", None)
    parent = getattr(relation, "parent", None)
    if (
        not isinstance(relation, InstrumentedAttribute)
        or not isinstance(found, RelationshipProperty)
        or not isinstance(parent, Mapper)
        or not (mapper.isa(parent) or parent.isa(mapper))
    ):
        raise UsageError(
            f"load=[{relation}]: it is no relationship of {mapper.class_.__name__}; give those, as "
            f"in load=[{_example(mapper)}]"
        )
    if found.lazy in _LAZY:
        raise UsageError(
            f"load=[{relation}]: it is lazy={found.lazy!r}, which is never loaded: read what it "
            "leads to by a repository, as with `find`"
        )
    return relation


def _shown(given: object) -> str:
    return str(given) if isinstance(given, InstrumentedAttribute) else shown(given)


def _example(mapper: Mapper[Any]) -> str:
    name = next(iter(mapper.relationships.keys()), "author")
    return f"{mapper.class_.__name__}.{name}"


def reference(branch: Branch, parent: Mapper[Any]) -> tuple[str, ...] | None:
    """The parent's attributes that are the target's id, in the key's order; None: the relationship
    does not lead from a foreign key to a primary key, and to that alone."""
    relationship = branch.relationship
    if relationship.direction is not MANYTOONE or relationship.secondary is not None:
        return None
    pairs = {remote: local for local, remote in relationship.local_remote_pairs or ()}
    key = branch.target.primary_key
    equal = equal_columns(relationship.primaryjoin)
    if equal is None or len(equal) != len(key) or set(pairs) != set(key):
        return None
    return tuple(parent.get_property_by_column(pairs[column]).key for column in key)
