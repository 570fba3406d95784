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
from repocache.mapping.functions import unseen_in
from repocache.mapping.options import MappingOptions
from repocache.mapping.refusals import Refusals
from repocache.mapping.rules import Eager, MappingRules

_EAGER = frozenset({"joined", "selectin", "subquery", "immediate", False})


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column attribute that is loaded. `columns`: what it is mapped to; joined tables give it one
    value twice."""

    name: str
    columns: tuple[ColumnElement[Any], ...]


def check_mapper(mapper: Mapper[Any], options: MappingOptions, rules: MappingRules) -> None:
    """Raise MappingRefused for a class whose rows or relationships cannot be cached rightly."""
    refusals = Refusals()
    name = mapper.class_.__name__
    if not isinstance(mapper.local_table, Table):
        raise MappingRefused(
            f"{name} is mapped to a {type(mapper.local_table).__name__}, not to a table: no write "
            "can be tied to its keys. Map a class to the table and cache that"
        )
    for relationship in mapper.relationships:
        if rules.eager is Eager.REFUSE and relationship.key not in options.not_loaded:
            with refusals.gathered():
                _check_relationship(name, relationship)
    refusals.check()


def _check_relationship(name: str, relationship: RelationshipProperty[Any]) -> None:
    key, lazy = relationship.key, relationship.lazy
    if lazy in _EAGER or lazy == "dynamic":
        raise MappingRefused(
            f"{name}.{key} (lazy={lazy!r}) is loaded with its owner, but its rows change without "
            f"it, and Settings(eager=Eager.REFUSE) refuses that: declare "
            f"MappingOptions(not_loaded=({key!r},)) or map it with lazy='raise', and read it by "
            "`load=`",
            leave_out=key,
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


def loaded_attributes(
    mapper: Mapper[Any], options: MappingOptions, refusals: Refusals
) -> Iterator[Attribute]:
    """All column attributes that loading an entity fills, so no deferred ones. `refusals`: gathers
    those that are refused."""
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
            why = unseen_in(attribute.columns[0])
            if why:
                refusals.add(_derived_refusal(mapper.class_.__name__, attribute.key, why))
                continue
        yield Attribute(attribute.key, tuple(attribute.columns))


def _is_left_out(attribute: ColumnProperty[Any]) -> bool:
    """Whether loading an entity leaves the attribute out, too."""
    return attribute.deferred or ("query_expression", True) in attribute.strategy_key


def is_derived(attribute: ColumnProperty[Any], options: MappingOptions) -> bool:
    """Whether it is loaded and computed by SQL."""
    return (
        not isinstance(attribute.columns[0], Column)
        and attribute.key not in options.not_loaded
        and not _is_left_out(attribute)
    )


def _derived_refusal(name: str, key: str, why: str) -> MappingRefused:
    return MappingRefused(
        f"{name}.{key} is computed by SQL with {why}, and what that reads is not seen: declare "
        f"MappingOptions(derived=({key!r},)), and name all tables that it reads in "
        f"KeyOwner(follows=(...,)), or leave it out with MappingOptions(not_loaded=({key!r},))",
        leave_out=key,
    )
