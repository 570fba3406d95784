"""Entities from rows by the short way: a fresh, clean, detached, fully loaded object, no session
and no `__init__`.

Owns what such an object is made of. Which columns a row has is the plan's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from sqlalchemy.orm import Mapper

from repocache.codec.column import ColumnKind
from repocache.errors import MappingRefused
from repocache.mapping.layout import RowLayout
from repocache.transactions.cached_marker import StateMaker, mark

Row = tuple[Any, ...]


class NoQuery:
    """In the place of a load listener's query context: there was no query."""

    def __getattr__(self, name: str) -> object:
        raise MappingRefused(
            f"a `load` listener reads {name!r} of the query context, but an entity from a cache "
            "was not loaded by a query: let the listener do with the entity alone"
        )


class EntityMaker:
    """Makes entities of one class of a hierarchy. `state`: makes their states."""

    __slots__ = (
        *(
            "_class",
            "_copies",
            "_dispatch",
            "_identity",
            "_ids",
            "_manager",
            "_missing",
            "_names",
            "_new",
            "_pick",
        ),
        *("_prefix", "_setup", "_state"),
    )

    def __init__(self, mapper: Mapper[Any], row: RowLayout, prefix: str, state: StateMaker) -> None:
        layout = row.classes[mapper]
        self._class = mapper.class_
        self._new: Callable[..., Any] = mapper.class_.__new__
        self._manager = mapper.class_manager
        self._setup = mapper.class_manager.setup_instance
        self._state = state
        self._dispatch = mapper.class_manager.dispatch
        self._identity, _, _ = mapper.identity_key_from_primary_key((None,) * len(row.ids))
        self._names = tuple(layout.attributes)
        self._pick = picker(tuple(layout.attributes.values()), len(row.kinds))
        self._ids = picker(row.ids, len(row.kinds))
        self._copies = tuple(
            (name, copier(row.kinds[at]))
            for name, at in layout.attributes.items()
            if not row.kinds[at].immutable
        )
        self._missing = layout.missing
        self._prefix = prefix

    def make(self, row: Row) -> Any:
        """A new entity; it shares nothing that can change with another one of the same row."""
        entity = self._new(self._class)
        state = self._state(entity, self._manager)
        self._setup(entity, state)
        values = entity.__dict__
        # Both have the length of `attributes`; asking zip to be strict would take a tenth of all
        # the time.
        values.update(zip(self._names, self._pick(row)))  # noqa: B905
        for name, copy in self._copies:
            value = values[name]
            if value is not None:
                values[name] = copy(value)
        state.key = (self._identity, self._ids(row), None)
        if self._missing:
            # A column that is neither there nor expired would read as None.
            state.expired_attributes.update(self._missing)
        mark(state, self._prefix)
        listeners = self._dispatch.load
        if listeners:
            state.loading = True
            listeners(state, NoQuery())
            del state.loading
        return entity


def picker(indices: tuple[int, ...], width: int) -> Callable[[Row], Row]:
    """Takes these values out of rows of that width, always as a tuple."""
    if indices == tuple(range(width)):
        return tuple
    if len(indices) == 1:
        (at,) = indices
        return lambda row: (row[at],)
    return itemgetter(*indices)


def copier(kind: ColumnKind) -> Callable[[Any], Any]:
    """Makes a copy of a column's value that shares nothing that can change."""
    codec = kind.codec
    if codec is None or codec.immutable:
        copy_item = copy_builtin
    else:
        encode, decode = codec.encode, codec.decode

        def copy_item(value: Any) -> Any:
            return None if value is None else decode(copy_builtin(encode(value)))

    if kind.depth == 0:
        return copy_item
    sequence = kind.sequence

    def copy_array(value: Any) -> Any:
        return sequence(map(copy_array, value)) if type(value) is sequence else copy_item(value)

    return copy_array


def copy_builtin(value: Any) -> Any:
    """A deep copy of lists and dicts; all else is shared. Not by recursion: JSON from outside may
    be deeper than Python's stack."""
    if type(value) is not dict and type(value) is not list:
        return value
    copied = value.copy()
    pending = [copied]
    while pending:
        each = pending.pop()
        for at, item in each.items() if type(each) is dict else enumerate(each):
            if type(item) is dict or type(item) is list:
                each[at] = inner = item.copy()
                pending.append(inner)
    return copied
