"""Declares on a repository that the ids which a relationship leads to are cached:
`comments = KeyList(Post.comments)`; `load=[Post.comments]` then needs no statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute, RelationshipProperty

from repocache.errors import ConfigurationError
from repocache.mapping.key_list import KeyListPlan
from repocache.repository.relationships import ById


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
        self.relationship = found
        self.name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name


@dataclass(frozen=True, slots=True)
class CachedKeyList:
    """`ids`: the lists, by the parent's id. `wrong`: is told the parents whose lists led astray."""

    plan: KeyListPlan
    ids: ById
    wrong: Callable[[Iterable[Any]], None]
