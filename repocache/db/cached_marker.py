"""The mark on an entity that came from a cache: a session that is about to take it in can tell, and refuse.

Owns where the mark lies: in the entity's `InstanceState.info`, SQLAlchemy's place for such things. Attributes,
`vars()`, `repr` and comparison do not see it; copies and pickled entities keep it, being no fresher than the original.
"""

from __future__ import annotations

from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.attributes import instance_state

_MARK = "repocache.cached"


def mark(state: InstanceState[object], prefix: str) -> None:
    """Say that the entity came from the cache of the owner with this key prefix."""
    state.info[_MARK] = prefix


def cached_by(instance: object) -> str | None:
    """The prefix of the owner whose cache the entity came from; None: it came from elsewhere.

    None also after `make_transient()`: an entity without identity can only be inserted, never overwrite a newer row.
    """
    state = instance_state(instance)
    # Reading `info` would make a dictionary for every entity asked about.
    info = state.__dict__.get("info")
    if info is None or state.key is None:
        return None
    prefix: str | None = info.get(_MARK)
    return prefix
