"""Which columns may be a key's, and of which Python type and form the parts of an id are.

Owns the verdict that one row has one id: two values that the database takes for one are refused, or
all but the one that it gives are.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import CHAR, NCHAR, DateTime, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from repocache.errors import CodecError, MappingRefused
from repocache.keys import Form, KeyPart, is_key_type, key_type_names
from repocache.mapping.layout import RowLayout
from repocache.mapping.stored import StoredColumn

Row = tuple[Any, ...]

_BLIND_COLLATIONS = ("NOCASE", "RTRIM", "_CI")
_SPELT = frozenset({int, bool, uuid.UUID, datetime.date})
"""Types whose texts are of digits and small letters, in one form each."""


def key_parts(
    stored: Sequence[StoredColumn], declared: Sequence[object] = ()
) -> tuple[KeyPart, ...]:
    """Of an id in these columns. `declared`: the types of its parts, which alone say what a type
    of the application's own makes.

    Raises MappingRefused for a column in which two ids may mean one row, or that has no key text.
    """
    types = declared if len(declared) == len(stored) else [None] * len(stored)
    return tuple(map(_part, stored, types))


def _part(each: StoredColumn, declared: object) -> KeyPart:
    kind = each.kind
    made = each.make is not None
    python_type: object = kind.python_type
    if each.unfit:
        raise MappingRefused(
            f"{kind.name}: {type(each.column.type).__name__} cannot be a key's, for it {each.unfit}"
        )
    if made:
        python_type = declared if isinstance(declared, type) else None
    if kind.depth != 0 or not is_key_type(python_type):
        raise MappingRefused(_no_key_type(each, python_type, made=made))
    assert isinstance(python_type, type)
    _check_single(each, python_type)
    return KeyPart(python_type, _form(each, python_type))


def _no_key_type(each: StoredColumn, python_type: object, *, made: bool) -> str:
    name, kind = each.kind.name, type(each.column.type).__name__
    if made:
        given = getattr(python_type, "__name__", "nothing that is known")
        return (
            f"{name}: the values of a key column are one of {key_type_names()}; what {kind} makes "
            f"is said to be {given}. Name in `Repository[..., ...]` which of these it makes; if it "
            "makes another, the class cannot be cached by this key"
        )
    given = getattr(python_type, "__name__", str(python_type))
    return (
        f"{name}: a key column must give one of {key_type_names()}, and {kind} gives {given}. "
        "Map the key to a type that gives one of these: a TypeDecorator over it will do"
    )


def _check_single(each: StoredColumn, python_type: type) -> None:
    """By the type that the database knows, whatever is around it."""
    collations = [(getattr(type_, "collation", None) or "").upper() for type_ in each.beneath]
    blind = isinstance(each.bottom, postgresql.CITEXT) or any(
        collation.endswith(_BLIND_COLLATIONS) for collation in collations
    )
    padded = isinstance(each.bottom, CHAR | NCHAR)
    if (blind or padded) and not (padded and python_type in _SPELT and each.normal is not None):
        raise MappingRefused(
            f"{each.kind.name}: the database takes several texts for one key of type "
            f"{each.leaf!r}, the cache would keep them as several: use a type whose values are "
            "equal only if they are the same"
        )


def _form(each: StoredColumn, python_type: type) -> Form | None:
    """What the column gives for a value; None: that value, whatever it is."""
    if each.normal is not None:
        return each.normal
    if isinstance(each.bottom, Uuid) and not each.bottom.as_uuid:
        return lambda text: str(uuid.UUID(text))
    if python_type is datetime.datetime:
        return _aware if _is_zoned(each.bottom) else _naive
    return None


def _is_zoned(type_: TypeEngine[Any]) -> bool:
    return isinstance(type_, DateTime) and bool(type_.timezone)


def _aware(moment: datetime.datetime) -> datetime.datetime:
    if moment.utcoffset() is None:
        raise ValueError("it has no time zone, and the column has one")
    return moment


def _naive(moment: datetime.datetime) -> datetime.datetime:
    if moment.tzinfo is not None:
        raise ValueError("it has a time zone, and the column has none")
    return moment


def values_of(
    layout: RowLayout, places: Sequence[int], parts: Sequence[KeyPart]
) -> Callable[[Row], Any]:
    """Takes the values of key columns out of a row, as ids have them: a tuple where there are
    several. `parts`: theirs. Raises CodecError for a value that is not of the declared type."""
    takers = [_taker(layout.stored[at], at, part) for at, part in zip(places, parts, strict=True)]
    if all(layout.stored[at].make is None for at in places):
        return itemgetter(*places)
    if len(takers) == 1:
        return takers[0]
    return lambda row: tuple([take(row) for take in takers])


def _taker(stored: StoredColumn, at: int, part: KeyPart) -> Callable[[Row], Any]:
    value, wanted = stored.value, part.type
    if value is None:
        return itemgetter(at)

    def take(row: Row) -> Any:
        found = value(row[at])
        if found is not None and type(found) is not wanted:
            raise CodecError(
                f"{stored.kind.name}: its type has made {type(found).__name__}, and ids are "
                f"declared to be {wanted.__name__}"
            )
        return found

    return take
