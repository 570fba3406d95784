"""What reading a relationship of a cached entity leads to, which nobody has asked for: an error
that says how to ask.

Owns the words, and their place in SQLAlchemy: where a state keeps loaders of its own, which are
looked for before those of the mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.base import LoaderCallableStatus, PassiveFlag
from sqlalchemy.orm.exc import DetachedInstanceError

Loader = Callable[[InstanceState[Any], PassiveFlag], Any]

_OWN = frozenset({"raise", "raise_on_sql", "noload", "write_only", "dynamic", None})
"""Relationships whose mapping itself says what reading them leads to."""


class NotLoaded(dict[str, Any]):
    """In the place of a state's own loaders: empty, and with one for each relationship."""

    def __init__(self, state: InstanceState[Any], name: str) -> None:
        super().__init__()
        self._relationships = state.manager.mapper.relationships
        self._name = name

    def __contains__(self, key: object) -> bool:
        found = self._relationships.get(str(key))
        return found is not None and found.lazy not in _OWN

    def __getitem__(self, key: str) -> Loader:
        def load(state: InstanceState[Any], passive: PassiveFlag) -> Any:
            if not passive & PassiveFlag.SQL_OK or passive & PassiveFlag.NO_RAISE:
                return LoaderCallableStatus.PASSIVE_NO_RESULT
            raise refused(state.class_.__name__, self._name, key)

        return load


def refused(cls: str, name: str, key: str) -> DetachedInstanceError:
    """`name`: of the entity."""
    return DetachedInstanceError(
        f"{name} without {key!r}, which was not asked for: bring it along with the read, as in "
        f"`get(id, load=[{cls}.{key}])`"
    )


def guard_dynamic(mapper: Mapper[Any], name_of: Callable[[InstanceState[Any]], str]) -> None:
    """Let a dynamic relationship of an entity without a session raise, too: SQLAlchemy's own is
    empty then, and only warns. `name_of`: an entity's, in the error; empty: it is a session's."""
    for relationship in mapper.relationships:
        if relationship.lazy != "dynamic":
            continue
        attribute: Any = mapper.class_manager[relationship.key].impl
        query: Any = attribute.query_class
        if getattr(query, "guarded", False):
            continue

        def begin(
            self: Any, attr: Any, state: InstanceState[Any], made: Any = query.__init__
        ) -> None:
            name = name_of(state)
            if name:
                raise DetachedInstanceError(
                    f"{name} without {attr.key!r}, which is lazy='dynamic': neither a read nor "
                    "`load=` brings it along; read what it leads to by a repository, as with "
                    "`find`, or map it with another `lazy`, for `load=`"
                )
            made(self, attr, state)

        guarded = {"__init__": begin, "guarded": True}
        attribute.query_class = type(query.__name__, (query,), guarded)
