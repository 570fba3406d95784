"""Which attributes of a mapped class are loaded into the cache, and which mappings are refused.

Owns the verdict on columns, relationships and declarations. What a column's values are is `kinds`'
affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table
from sqlalchemy.orm import ColumnProperty, Mapper, RelationshipProperty

from repocache.errors import ConfigurationError, MappingRefused
from repocache.mapping.options import MappingOptions

_EAGER = frozenset({"joined", "selectin", "subquery", "immediate", False})


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column attribute that is loaded. `columns`: what it is mapped to; joined tables give it one
    value twice."""

    name: str
    columns: tuple[ColumnElement[Any], ...]


def check_mapper(mapper: Mapper[Any], options: MappingOptions) -> None:
    """Raise MappingRefused for a class whose rows or relationships cannot be cached rightly."""
    name = mapper.class_.__name__
    if mapper.concrete:
        raise MappingRefused(
            f"{name}: concrete inheritance reads several tables as one: cache each class by itself"
        )
    if not isinstance(mapper.local_table, Table):
        raise MappingRefused(
            f"{name} is mapped to a {type(mapper.local_table).__name__}, not to a table: no write "
            "can be tied to its keys. Map a class to the table and cache that"
        )
    for relationship in mapper.relationships:
        if relationship.key not in options.not_loaded:
            _check_relationship(name, relationship)


def _check_relationship(name: str, relationship: RelationshipProperty[Any]) -> None:
    key, declared = relationship.key, f"MappingOptions(not_loaded=({relationship.key!r},))"
    if relationship.lazy in _EAGER:
        raise MappingRefused(
            f"{name}.{key} is loaded with its owner (lazy={relationship.lazy!r}), but its rows "
            f"change without it: declare {declared} or map it with lazy='raise', and read them by "
            "their own repository"
        )
    if relationship.lazy == "dynamic":
        raise MappingRefused(
            f"{name}.{key} (lazy='dynamic') is empty in an entity that has no session: map it as "
            f"WriteOnlyMapped, or declare {declared}"
        )


def check_names(mappers: list[Mapper[Any]], options: MappingOptions) -> None:
    """Raise ConfigurationError for a declaration about what no class of the hierarchy has."""
    known = {
        attribute.key
        for mapper in mappers
        for attribute in (*mapper.column_attrs, *mapper.relationships)
    }
    unknown = sorted(options.names - known)
    if unknown:
        raise ConfigurationError(
            f"MappingOptions: {mappers[0].class_.__name__} maps no column or relationship "
            f"{', '.join(unknown)}"
        )


def loaded_attributes(mapper: Mapper[Any], options: MappingOptions) -> Iterator[Attribute]:
    """All column attributes that loading an entity fills, so no deferred ones. Raises
    MappingRefused."""
    needed = {*mapper.primary_key, mapper.polymorphic_on}
    for attribute in mapper.column_attrs:
        if not attribute.instrument:
            # SQLAlchemy's own, for a computed discriminator.
            continue
        if needed.intersection(attribute.columns):
            if attribute.key in options.not_loaded:
                raise ConfigurationError(
                    f"not_loaded: {attribute.key!r} is needed to make an entity"
                )
        elif attribute.key in options.not_loaded or _is_left_out(attribute):
            continue
        elif not isinstance(attribute.columns[0], Column) and attribute.key not in options.derived:
            raise MappingRefused(_derived_refusal(mapper.class_.__name__, attribute.key))
        yield Attribute(attribute.key, tuple(attribute.columns))


def _is_left_out(attribute: ColumnProperty[Any]) -> bool:
    """Whether loading an entity leaves the attribute out, too."""
    return attribute.deferred or ("query_expression", True) in attribute.strategy_key


def _derived_refusal(name: str, key: str) -> str:
    return (
        f"{name}.{key} is computed by SQL, and any write to a table that it reads invalidates the "
        f"whole owner: declare MappingOptions(derived=({key!r},)) if that will do, or "
        f"not_loaded=({key!r},); tables that only a text or a function in it reads have to be "
        "named in KeyOwner(follows=...)"
    )
