"""Columns of other tables that hold an entity's id, as they are stored.

Owns the verdict that they say the same as the id: of the same type, made by the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column

from repocache.errors import ConfigurationError
from repocache.mapping.key_columns import key_parts
from repocache.mapping.plan import EntityPlan
from repocache.mapping.stored import StoredColumn, stored_column


def referring_columns(
    name: str, columns: Sequence[Column[Any]], plan: EntityPlan[Any]
) -> Iterator[StoredColumn]:
    """`name`: of the declaration, in messages. `columns`: that hold the plan's id, in its order.

    Raises ConfigurationError if they are of another type than the id, and MappingRefused for a
    type of which nothing is known.
    """
    wanted = ", ".join(each.__name__ for each in plan.id_types)
    if len(columns) != len(plan.key):
        raise ConfigurationError(
            f"{name}: its columns do not hold the id of {plan.model.__name__}, which is ({wanted})"
        )
    for column, own, part in zip(columns, plan.layout.id_stored, plan.key, strict=True):
        if column.type is own.column.type:
            codec = own.kind.codec if own.declared else None
        else:
            codec = plan.rules.codec(column.type)
        stored = stored_column(f"{name}: {column}", column, plan.rules.dialect, codec)
        [found] = key_parts([stored], [part.type])
        if found.type is not part.type:
            raise ConfigurationError(
                f"{name}: its columns do not hold the id of {plan.model.__name__}, which is "
                f"({wanted}): {column} gives {found.type.__name__}"
            )
        yield stored
