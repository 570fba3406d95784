"""Listeners on an engine that come and go while it is going through them.

1. A COMMIT goes through the engine's listeners, one of which waits for a server; 2. the database is
left, or entered again, and its listeners are taken away or added; 3. the list has changed under the
COMMIT, which ends with Python's RuntimeError. So the list is copied before it is changed: who goes
through the old one goes on with that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine, event


class Listeners:
    """On this engine from now on, until `stop`. `listeners`: by the names of SQLAlchemy's events on
    connections."""

    def __init__(self, engine: Engine, listeners: Mapping[str, Callable[..., Any]]) -> None:
        self._engine = engine
        self._listeners = dict(listeners)
        for name, listener in self._listeners.items():
            self._copy(name)
            event.listen(engine, name, listener)

    def stop(self) -> None:
        """Leave the engine as it was."""
        for name, listener in self._listeners.items():
            self._copy(name)
            event.remove(self._engine, name, listener)

    def _copy(self, name: str) -> None:
        """There is no public way. Some events are the dialect's; where nobody listens yet there is
        no list."""
        for target in (self._engine, self._engine.dialect):
            found: Any = getattr(target.dispatch, name, None)
            if isinstance(getattr(found, "listeners", None), deque):
                found.listeners = deque(found.listeners)
