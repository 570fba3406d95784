"""The statements that load rows by id, built once for a database dialect.

Owns their form and the binding of ids. Running them is the loader's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Integer,
    Select,
    String,
    Text,
    any_,
    bindparam,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1

Parameters = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class LoadStatement:
    """Loads the rows of many ids. `select`: a Core statement, its columns those of the plan.
    `parameters`: makes what it is executed with; ids that no row can have (an integer beyond 64
    bits, a text with a NUL) are left out, so that they fail nobody else's read in the same
    statement.
    """

    select: Select[Any]
    parameters: Callable[[Sequence[Any]], Parameters]


def load_statement(
    rows: Select[Any], ids: Sequence[Column[Any]], dialect: Dialect
) -> LoadStatement:
    """For PostgreSQL arrays, one statement text for any number of ids; for others an expanding
    IN."""
    if dialect.name == "postgresql":
        return _single_array(rows, ids[0]) if len(ids) == 1 else _parallel_arrays(rows, ids)
    many: BindParameter[Any] = bindparam("ids", expanding=True)
    return LoadStatement(
        rows.where(ids[0].in_(many) if len(ids) == 1 else tuple_(*ids).in_(many)),
        lambda wanted: {"ids": _possible(wanted)},
    )


def _single_array(rows: Select[Any], column: Column[Any]) -> LoadStatement:
    many = bindparam("ids", type_=_array_of(column))
    return LoadStatement(
        rows.where(column == any_(many)), lambda wanted: {"ids": _possible(wanted)}
    )


def _parallel_arrays(rows: Select[Any], columns: Sequence[Column[Any]]) -> LoadStatement:
    names = [f"ids_{at}" for at in range(len(columns))]
    arrays = [
        bindparam(name, type_=_array_of(column))
        for name, column in zip(names, columns, strict=True)
    ]
    wanted_ids = func.unnest(*arrays).table_valued(*names).render_derived()
    condition = tuple_(*columns).in_(select(*wanted_ids.c))

    def parameters(wanted: Sequence[Any]) -> Parameters:
        possible = _possible(wanted)
        return {name: [id[at] for id in possible] for at, name in enumerate(names)}

    return LoadStatement(rows.where(condition), parameters)


def _array_of(column: Column[Any]) -> postgresql.ARRAY[Any]:
    """Wide enough for every id: a cast to the column's own type would fail, or cut a text to
    another id."""
    item: TypeEngine[Any] = column.type
    while isinstance(item, postgresql.DOMAIN):
        item = item.data_type  # whose check would fail everybody's read
    if isinstance(item, Integer):
        item = BigInteger()
    elif isinstance(item, String):
        item = Text()
    return postgresql.ARRAY(item)


def _possible(ids: Sequence[Any]) -> list[Any]:
    return [id for id in ids if all(map(is_possible, id if isinstance(id, tuple) else (id,)))]


def is_possible(part: object) -> bool:
    """Whether a row can have it: an integer of 64 bits, a text without NUL and surrogates."""
    if isinstance(part, int):
        return _LOWEST <= part <= _HIGHEST
    return not isinstance(part, str) or ("\0" not in part and _is_unicode(part))


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
