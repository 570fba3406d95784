"""Which tables an entity's computed attributes are read from: who writes to one of them changes the
entity.

Owns what an SQL expression reads beside the row that it is loaded with. Pure; what a text in it or
a function of the database reads is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Select, Table
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.expression import FromClause, TableClause
from sqlalchemy.sql.visitors import iterate

from repocache.mapping.attributes import is_derived
from repocache.mapping.options import MappingOptions


def tables_read(
    mappers: Iterable[Mapper[Any]], own: Iterable[Table], options: MappingOptions
) -> frozenset[TableClause]:
    """Of the attributes that are computed by SQL. `own`: the tables that hold the rows, which
    are read besides only where an expression looks at other rows of them.
    """
    rows = frozenset(own)
    return frozenset(
        table
        for mapper in mappers
        for attribute in mapper.column_attrs
        if is_derived(attribute, options)
        for element in iterate(attribute.columns[0])
        if isinstance(element, Select)
        for table in _read_by(element, rows)
    )


def _read_by(select: Select[Any], rows: frozenset[Table]) -> Iterator[TableClause]:
    froms = select.get_final_froms()
    alone = rows.issuperset(froms)
    for each in froms:
        # A table of the row itself, where it is not the enclosing statement's, is read anew.
        if each not in rows or not _is_correlated(select, each, alone=alone):
            yield from _tables(each)


def _is_correlated(select: Select[Any], each: FromClause, *, alone: bool) -> bool:
    """Whether it is the enclosing statement's FROM. `alone`: without it nothing would be left to
    select from."""
    if select._auto_correlate:  # noqa: SLF001 - there is no public way to ask
        return not alone
    excepted = select._correlate_except  # noqa: SLF001 - as above
    # As above.
    return each in select._correlate if excepted is None else each not in excepted  # noqa: SLF001


def _tables(each: ClauseElement) -> Iterator[TableClause]:
    return (table for table in iterate(each) if isinstance(table, TableClause))
