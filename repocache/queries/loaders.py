"""Whether an answer of entities is completed by statements that nobody sees.

Owns the look at loader options and at what mapped classes load eagerly by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.strategy_options import Load

_SECOND = frozenset({"selectin", "subquery", "immediate"})
"""Strategies of a statement each. Joins are part of the first."""


def second_statement(statement: Any) -> str:
    """A relationship that this statement loads by another one; empty: none."""
    mappers = list(_entities(getattr(statement, "column_descriptions", ())))
    if not mappers:
        return ""
    for option in getattr(statement, "_with_options", ()):
        for element in option.context if isinstance(option, Load) else ():
            strategy = dict(element.strategy or ())
            if strategy.get("lazy") in _SECOND or "selectinload_polymorphic" in strategy:
                return str(element.path)
    return next((name for mapper in mappers for name in _eager(mapper)), "")


def _entities(described: Iterable[Mapping[str, Any]]) -> Iterator[Mapper[Any]]:
    for each in described:
        if each.get("entity") is not None and each["entity"] is each["expr"]:
            yield inspect(each["entity"]).mapper


def _eager(mapper: Mapper[Any]) -> Iterator[str]:
    for each in mapper.self_and_descendants:
        if each.polymorphic_load == "selectin":
            yield str(each)
        yield from (str(rel) for rel in each.relationships if rel.lazy in _SECOND)
