"""The row that is cached of a hierarchy: its columns in order, and where each class finds its
attributes.

Owns the numbering. Which attributes are loaded is decided in `attributes`, what their values are in
`kinds`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CHAR, NCHAR, Column, ColumnElement, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from repocache.codec.column import ColumnKind
from repocache.codec.row import CODEC_VERSION
from repocache.errors import MappingRefused
from repocache.keys import KEY_TYPES
from repocache.mapping.attributes import loaded_attributes
from repocache.mapping.hierarchy import family, id_columns
from repocache.mapping.kinds import declared_kind, kind_of
from repocache.mapping.options import MappingOptions

_BLIND_COLLATIONS = ("NOCASE", "RTRIM", "_CI")


@dataclass(frozen=True, slots=True)
class ClassLayout:
    """Where a class's attributes stand in a row, by name. `missing`: column attributes that are
    declared not loaded."""

    attributes: Mapping[str, int]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowLayout:
    """`columns`, `kinds`: of a row, in order. `classes`: of the mapper and its descendants. `ids`:
    where the id stands, in the key's order. `discriminator`: where the value stands that says the
    class, None: there is one class only.
    """

    columns: tuple[ColumnElement[Any], ...]
    kinds: tuple[ColumnKind, ...]
    classes: Mapping[Mapper[Any], ClassLayout]
    ids: tuple[int, ...]
    discriminator: int | None

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change when rows of another release could not be read
        rightly."""
        parts: list[object] = [CODEC_VERSION, self.ids, self.discriminator]
        parts += [_shape(*pair) for pair in zip(self.columns, self.kinds, strict=True)]
        parts += [
            (repr(mapper.polymorphic_identity), sorted(layout.attributes.items()), layout.missing)
            for mapper, layout in self.classes.items()
        ]
        return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:8]


def row_layout(mapper: Mapper[Any], options: MappingOptions) -> RowLayout:
    """Number the columns of a mapper and its descendants. Raises MappingRefused."""
    kinds: dict[ColumnElement[Any], ColumnKind] = {}
    classes = {each: _class_layout(each, options, kinds) for each in family(mapper)}
    discriminator = mapper.polymorphic_on
    if discriminator is not None and discriminator not in kinds:
        kinds[discriminator] = kind_of(
            f"{mapper.class_.__name__}.{discriminator.key}", discriminator.type
        )
    order = {column: at for at, column in enumerate(kinds)}
    attributes = classes[mapper].attributes
    ids = tuple(
        attributes[mapper.get_property_by_column(column).key] for column in id_columns(mapper)
    )
    for at, column in zip(ids, id_columns(mapper), strict=True):
        check_key(tuple(kinds.values())[at], column.type)
    return RowLayout(
        tuple(kinds),
        tuple(kinds.values()),
        classes,
        ids,
        None if discriminator is None else order[discriminator],
    )


def _class_layout(
    mapper: Mapper[Any], options: MappingOptions, kinds: dict[ColumnElement[Any], ColumnKind]
) -> ClassLayout:
    """Number one class's attributes, adding the columns that `kinds` has not yet."""
    attributes: dict[str, int] = {}
    for attribute in loaded_attributes(mapper, options):
        column = next((each for each in attribute.columns if each in kinds), attribute.columns[0])
        if column not in kinds:
            name = f"{mapper.class_.__name__}.{attribute.name}"
            codec = options.codecs.get(attribute.name)
            kinds[column] = declared_kind(name, codec) if codec else kind_of(name, column.type)
        attributes[attribute.name] = list(kinds).index(column)
    missing = tuple(name for name in options.not_loaded if name in mapper.column_attrs)
    return ClassLayout(attributes, missing)


def check_key(kind: ColumnKind, type_: TypeEngine[Any]) -> None:
    """Raise MappingRefused for a key column in which two ids may mean one row, or that has no key
    text."""
    if kind.depth != 0 or kind.python_type not in KEY_TYPES:
        raise MappingRefused(
            f"{kind.name}: a key column must give one of "
            f"{', '.join(each.__name__ for each in KEY_TYPES)}; if it does, declare a ColumnCodec "
            "with python_type"
        )
    collation = (getattr(type_, "collation", None) or "").upper()
    if isinstance(type_, CHAR | NCHAR | postgresql.CITEXT) or collation.endswith(_BLIND_COLLATIONS):
        raise MappingRefused(
            f"{kind.name}: the database takes several texts for one key of type {type_!r}, the "
            "cache would keep them as several: use a type whose values are equal only if they are "
            "the same"
        )
    if isinstance(type_, Uuid) and not type_.as_uuid:
        raise MappingRefused(
            f"{kind.name}: a UUID is written in several ways as a text: use Uuid(as_uuid=True)"
        )


def _shape(column: ColumnElement[Any], kind: ColumnKind) -> tuple[object, ...]:
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
    )
