"""A class whose rows belong to a scope: the column that says to which value, and the plan of its
rows under that value with the id.

Owns the verdict on the column. What the database says of its rows is `policies`'s.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Column, Table

from repocache.errors import ConfigurationError, MappingRefused
from repocache.keys import KeyPart
from repocache.mapping.key_columns import key_parts, values_of
from repocache.mapping.plan import EntityPlan
from repocache.scope import Scope

M = TypeVar("M")

_VALUES = frozenset({str, int, uuid.UUID})


@dataclass(frozen=True, slots=True, eq=False)
class ScopedColumn:
    """`at`: where it stands in a row. `part`: what it is of a key."""

    at: int
    column: Column[Any]
    part: KeyPart

    @property
    def kind(self) -> type:
        """The type of its values."""
        return self.part.type

    @property
    def table(self) -> Table:
        """That holds the rows."""
        table = self.column.table
        assert isinstance(table, Table)
        return table


def scoped_column(plan: EntityPlan[Any], scope: Scope, name: str) -> ScopedColumn:
    """`name`: of the repository, in messages.

    Raises ConfigurationError for a class that has no such column, and MappingRefused for one whose
    rows lie in two tables, or whose column takes several values for one.
    """
    wanted = [scope.column] if scope.column else [scope.name, f"{scope.name}_id"]
    own = plan.layout.classes[plan.mapper].attributes
    found = [each for each in wanted if each in own]
    if not found:
        raise ConfigurationError(
            f"{name}: {plan.model.__name__} has no loaded column attribute "
            f"{' or '.join(map(repr, wanted))} that says whose a row is: name it in "
            f"Scope({scope.name!r}, ..., column=...), one of {', '.join(own)}"
        )
    at = own[found[0]]
    stored = plan.layout.stored[at]
    column = stored.column
    if not isinstance(column, Column) or len(plan.tables) != 1 or column.table not in plan.tables:
        raise MappingRefused(
            f"{name}: rows of {plan.model.__name__} lie in several tables, or not in that of "
            f"{found[0]!r}: declare the scope on a class of one table"
        )
    [part] = key_parts([stored])
    if part.type not in _VALUES or part.form is not None:
        raise MappingRefused(
            f"{name}: {found[0]!r} is a {part.type.__name__} of {column.type!r}: a scope's values "
            "are texts, ints or UUIDs (as_uuid=True), as the database has them"
        )
    return ScopedColumn(at, column, part)


def scoped_plan(plan: EntityPlan[M], column: ScopedColumn) -> EntityPlan[M]:
    """The same rows, whose id is the scope's value and then the parts of their own."""
    ids = (column.at, *plan.layout.ids)
    layout = replace(plan.layout, ids=ids)
    columns = (column.column, *plan.id_columns)
    key = (column.part, *plan.key)
    return replace(
        plan,
        layout=layout,
        tables={column.table: columns},
        fingerprint=layout.fingerprint(),
        id_of_row=values_of(layout, ids, key),
        id_columns=columns,
        key=key,
    )


def scoped_id(value: Any, id: Any) -> tuple[Any, ...]:
    """The id under which a row is kept: what the scope's value makes of its own."""
    return (value, *id) if isinstance(id, tuple) else (value, id)
