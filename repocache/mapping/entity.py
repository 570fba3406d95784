"""Entities from rows by the short way: a fresh, clean, detached, fully loaded object, no session
and no `__init__`.

Owns what such an object is made of. Which columns a row has is the plan's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Mapper

from repocache.codec.column import ColumnKind
from repocache.errors import MappingRefused
from repocache.mapping.layout import RowLayout
from repocache.transactions.cached_marker import CachedState, StateMaker

Row = tuple[Any, ...]


class NoQuery:
    """In the place of a load listener's query context: there was no query."""

    def __getattr__(self, name: str) -> object:
        raise MappingRefused(
            f"a `load` listener reads {name!r} of the query context, but an entity from a cache "
            "was not loaded by a query: let the listener do with the entity alone"
        )


def entity_maker(
    mapper: Mapper[Any], row: RowLayout, prefix: str, state: StateMaker
) -> Callable[[Row], Any]:
    """Makes entities of one class of a hierarchy; they share nothing that can change with one
    another. `state`: makes their states, marked with the owner's key prefix.

    The function is written for the class, as those of dataclasses are: a loop over its columns
    takes twice the time (`benchmarks.entity`).
    """
    layout = row.classes[mapper]
    manager = mapper.class_manager
    identity, _, _ = mapper.identity_key_from_primary_key((None,) * len(row.ids))
    known: dict[str, Any] = {
        "new": mapper.class_.__new__,
        "class_": mapper.class_,
        "manager": manager,
        "setup": manager.setup_instance,
        "state_of": state,
        "identity": identity,
        "prefix": prefix,
        "missing": layout.missing,
        "dispatch": manager.dispatch,
        "told": _told,
    }
    ids = [f"row[{at}]" for at in row.ids]
    lines = [
        "entity = new(class_)",
        "state = state_of(entity, manager)",
        "setup(entity, state)",
        "values = entity.__dict__",
    ]
    for name, at in layout.attributes.items():
        stored = row.stored[at]
        value = f"row[{at}]"
        if not stored.kind.immutable:
            known[f"copy_{at}"] = copier(stored.kind)
            value = f"None if row[{at}] is None else copy_{at}(row[{at}])"
        if stored.make is not None:
            known[f"make_{at}"] = stored.value
            value = f"make_{at}({value})"
            ids = [f"values[{name!r}]" if each == f"row[{at}]" else each for each in ids]
        lines.append(f"values[{name!r}] = {value}")
    key = "".join(f"{each}, " for each in ids)
    lines += [f"state.key = (identity, ({key}), None)", "state.owner = prefix"]
    if layout.missing:
        # A column that is neither there nor expired would read as None.
        lines.append("state.expired_attributes.update(missing)")
    lines += ["if dispatch.load:", "    told(dispatch, state)", "return entity"]
    exec("def make(row):\n    " + "\n    ".join(lines), known)  # noqa: S102 - of names, quoted
    make: Callable[[Row], Any] = known["make"]
    return make


def _told(dispatch: Any, state: CachedState) -> None:
    """Its `load` listeners run."""
    state.loading = True
    dispatch.load(state, NoQuery())
    del state.loading


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
