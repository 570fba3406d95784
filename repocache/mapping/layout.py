"""The row that is cached of a hierarchy: its columns in order, and where each class finds its
attributes.

Owns the numbering. Which attributes are loaded is decided in `attributes`, what is stored of them
in `stored`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement
from sqlalchemy.orm import Mapper

from repocache.codec.column import ColumnKind
from repocache.codec.row import CODEC_VERSION
from repocache.errors import MappingRefused
from repocache.mapping.attributes import loaded_attributes
from repocache.mapping.hierarchy import family, id_columns
from repocache.mapping.options import MappingOptions
from repocache.mapping.refusals import Refusals, with_remedy
from repocache.mapping.rules import MappingRules
from repocache.mapping.stored import StoredColumn, stored_column


@dataclass(frozen=True, slots=True)
class ClassLayout:
    """Where a class's attributes stand in a row, by name. `missing`: column attributes that are
    declared not loaded."""

    attributes: Mapping[str, int]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowLayout:
    """`stored`: what a row holds, in order. `classes`: of the mapper and its descendants. `ids`:
    where the id stands, in the key's order. `discriminator`: where the value stands that says the
    class, None: there is one class only.
    """

    stored: tuple[StoredColumn, ...]
    classes: Mapping[Mapper[Any], ClassLayout]
    ids: tuple[int, ...]
    discriminator: int | None

    @property
    def columns(self) -> tuple[ColumnElement[Any], ...]:
        """As they are mapped."""
        return tuple(each.column for each in self.stored)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes, as the first class that has each calls it; of a column that no
        attribute has, the column's."""
        found: dict[int, str] = {}
        for each in self.classes.values():
            for name, at in each.attributes.items():
                found.setdefault(at, name)
        named = enumerate(self.stored)
        return tuple(found.get(at) or str(each.column.key) for at, each in named)

    @property
    def expressions(self) -> tuple[ColumnElement[Any], ...]:
        """As a select names them."""
        return tuple(each.expression for each in self.stored)

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """Of what is stored."""
        return tuple(each.kind for each in self.stored)

    @property
    def id_stored(self) -> tuple[StoredColumn, ...]:
        """The columns of the id, in the key's order."""
        return tuple(self.stored[at] for at in self.ids)

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change when rows of another release could not be read
        rightly."""
        parts: list[object] = [CODEC_VERSION, self.ids, self.discriminator]
        parts += map(_shape, self.stored)
        parts += [
            (repr(mapper.polymorphic_identity), sorted(layout.attributes.items()), layout.missing)
            for mapper, layout in self.classes.items()
        ]
        return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:8]


def row_layout(mapper: Mapper[Any], options: MappingOptions, rules: MappingRules) -> RowLayout:
    """Number the columns of a mapper and its descendants. Raises MappingRefused, for all of
    them."""
    stored: dict[ColumnElement[Any], StoredColumn] = {}
    refusals = Refusals()
    classes = {
        each: _class_layout(each, options, rules, stored, refusals) for each in family(mapper)
    }
    refusals.check()
    discriminator = mapper.polymorphic_on
    if discriminator is not None and discriminator not in stored:
        name = f"{mapper.class_.__name__}.{discriminator.key}"
        stored[discriminator] = stored_column(
            name, discriminator, rules.dialect, rules.codec(discriminator.type)
        )
    order = {column: at for at, column in enumerate(stored)}
    attributes = classes[mapper].attributes
    ids = tuple(
        attributes[mapper.get_property_by_column(column).key] for column in id_columns(mapper)
    )
    return RowLayout(
        tuple(stored.values()),
        classes,
        ids,
        None if discriminator is None else order[discriminator],
    )


def _class_layout(
    mapper: Mapper[Any],
    options: MappingOptions,
    rules: MappingRules,
    stored: dict[ColumnElement[Any], StoredColumn],
    refusals: Refusals,
) -> ClassLayout:
    """Number one class's attributes, adding the columns that `stored` has not yet."""
    attributes: dict[str, int] = {}
    places = {column: at for at, column in enumerate(stored)}
    needed = {*mapper.primary_key, mapper.polymorphic_on}
    for attribute in loaded_attributes(mapper, options, refusals):
        column = next((each for each in attribute.columns if each in stored), attribute.columns[0])
        if column not in stored:
            name = f"{mapper.class_.__name__}.{attribute.name}"
            codec = options.codecs.get(attribute.name) or rules.codec(column.type)
            try:
                stored[column] = stored_column(name, column, rules.dialect, codec)
            except MappingRefused as error:
                of_key = not needed.isdisjoint(attribute.columns)
                refusals.add(with_remedy(error, attribute.name, of_key=of_key))
                continue
            places[column] = len(places)
        attributes[attribute.name] = places[column]
    missing = tuple(name for name in options.not_loaded if name in mapper.column_attrs)
    return ClassLayout(attributes, missing)


def _shape(each: StoredColumn) -> tuple[object, ...]:
    column, kind = each.column, each.kind
    table = column.table.fullname if isinstance(column, Column) else ""
    members = [
        (name, each.value) for name, each in getattr(kind.python_type, "__members__", {}).items()
    ]
    return (
        *(
            table,
            getattr(column, "key", ""),
            type(column.type).__name__,
            kind.python_type.__name__,
            kind.depth,
        ),
        *(kind.sequence.__name__, kind.codec and kind.codec.version, members),
        *((type(each.type).__name__, each.classes) if each.classes else ()),
    )
