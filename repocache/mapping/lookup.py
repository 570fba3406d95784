"""What is cached of a lookup: the id of the row that has a value in other unique columns.

Owns the verdict on its columns and the plan of its rows, each a value with the id that it leads to.
Whether the columns are unique is `unique`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.orm import InstrumentedAttribute, Mapper

from repocache.errors import ConfigurationError, MappingRefused
from repocache.keys import KeyOwner, Keys
from repocache.mapping.annotations import annotated_type
from repocache.mapping.entity import Row
from repocache.mapping.hierarchy import kind_columns, lies_in_two_tables, own_rows
from repocache.mapping.key_columns import key_parts, values_of
from repocache.mapping.layout import RowLayout
from repocache.mapping.plan import EntityPlan

Attributes = Sequence[InstrumentedAttribute[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class LookupPlan:
    """A lookup on the rows of a class, checked. Make it with `lookup_plan`.

    `keys`: of its values. `ids`: the plan of what is cached of it: the "id" of such a row is a
    value, its "entity" the id of the row that has it. `value_of`: the value in a whole row of the
    class, a tuple of its parts where there are several columns. `columns`: theirs. `moved_by`: the
    columns of the table that say which row has a value.
    """

    keys: Keys
    ids: EntityPlan[Any]
    value_of: Callable[[Row], Any]
    columns: tuple[Column[Any], ...]
    moved_by: frozenset[Column[Any]]

    def holds(self, row: Row | None, value: Any) -> bool:
        """Whether the whole row, if there is one, has this value: only then what a cache says of
        the value counts (protocol, Read path)."""
        return row is not None and bool(self.value_of(row) == value)

    @property
    def table(self) -> Table:
        """That holds the columns."""
        [table] = self.ids.tables
        return table


def _places(plan: EntityPlan[Any], name: str, attributes: Attributes) -> tuple[int, ...]:
    """Where the columns of a lookup stand in the plan's row. `name`: of the lookup, in messages.

    Raises ConfigurationError for what is no column attribute of the class, and MappingRefused for
    columns in which two values may mean one row, and for a class whose rows lie in two tables: a
    row of one of them says nothing of the other.
    """
    own = plan.layout.classes[plan.mapper].attributes
    places = []
    for attribute in attributes:
        key = str(getattr(attribute, "key", ""))
        mapper = getattr(attribute, "parent", None)
        if key not in own or not (isinstance(mapper, Mapper) and plan.mapper.isa(mapper)):
            raise ConfigurationError(
                f"{name}: {attribute} is no loaded column attribute of {plan.model.__name__}, "
                f"which has {', '.join(own)}"
            )
        places.append(own[key])
    columns = [plan.columns[at] for at in places]
    tables = {column.table for column in columns if isinstance(column, Column)}
    if not all(isinstance(column, Column) for column in columns) or len(tables) != 1:
        raise MappingRefused(f"{name}: its columns are not plain columns of one table")
    if lies_in_two_tables(plan.mapper):
        raise MappingRefused(
            f"{name}: rows of {plan.model.__name__} lie in two tables, and one says nothing of the "
            "other: declare the lookup on the repository of the topmost class"
        )
    if set(columns) <= set(plan.id_columns):
        raise ConfigurationError(f"{name}: its columns are the primary key: use `get`")
    return tuple(places)


def lookup_plan(
    plan: EntityPlan[Any], owner: KeyOwner, name: str, attributes: Attributes
) -> LookupPlan:
    """`owner`: of the lookup's keys. `name`: of the lookup, in messages.

    Raises ConfigurationError for what is no column attribute of the class, and MappingRefused for
    columns in which two values may mean one row, and for a class whose rows lie in two tables: a
    row of one of them says nothing of the other.
    """
    places = _places(plan, name, attributes)
    taken = (*places, *plan.layout.ids)
    stored = plan.layout.stored
    types = [annotated_type(plan.mapper, attribute.key) for attribute in attributes]
    parts = key_parts([stored[at] for at in places], types)
    layout = RowLayout(
        stored=tuple(stored[at] for at in taken),
        classes={},
        ids=tuple(range(len(places))),
        discriminator=None,
    )
    rows = plan.select.with_only_columns(*layout.expressions, maintain_column_froms=True)
    keys = Keys(owner, parts)
    ids = plan.beside(
        keys, layout, rows, values_of(layout, range(len(places), len(taken)), plan.key)
    )
    columns = ids.id_columns
    value_of = values_of(plan.layout, places, parts)
    return LookupPlan(keys, ids, value_of, columns, _moved_by(plan, columns))


def _moved_by(plan: EntityPlan[Any], columns: Sequence[Column[Any]]) -> frozenset[Column[Any]]:
    """Those of the lookup, the id, and what says that a row is of this class, where others share
    the table."""
    others = [] if own_rows(plan.mapper) is None else kind_columns(plan.mapper)
    own = [column for column in plan.id_columns if column.table is columns[0].table]
    return frozenset([*columns, *own, *others])
