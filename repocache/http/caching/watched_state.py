"""What an application reads of `scope["state"]` (`request.state`) that somebody outside has put
there for this request, as its user.

The lifespan's state is there too, and the same objects come with each request: a value that is the
one of before is nobody's own. The first time that a key is seen it is not known which it is, and
counts as the request's.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from repocache.http.caching.noting import Note

MOST_KEYS = 1_000
"""Of one application; beyond them each counts as the request's."""


class SharedStates:
    """Of one application: values that have come with every request until now."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}

    def own_keys(self, state: MutableMapping[str, Any]) -> frozenset[str]:
        """Keys whose values are this request's."""
        own = set()
        for key, value in state.items():
            if key in self._first:
                if self._first[key] is not value:
                    own.add(key)
            else:
                own.add(key)
                if len(self._first) < MOST_KEYS:
                    self._first[key] = value
        return frozenset(own)


class WatchedState(dict[str, Any]):
    """A copy, whose reads of these keys are noted as `scope:state.key`. What the application puts
    there itself is its own."""

    def __init__(self, state: MutableMapping[str, Any], own: frozenset[str], note: Note) -> None:
        super().__init__(state)
        self._watched = set(own)
        self._note = note

    def _seek(self, key: object) -> None:
        if key in self._watched:
            self._note(f"scope:state.{key}")

    def _seek_all(self) -> None:
        for key in self._watched:
            self._note(f"scope:state.{key}")

    def __getitem__(self, key: str) -> Any:
        self._seek(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._seek(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._seek(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self._seek(key)
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._seek(key)
        return super().setdefault(key, default)

    def __iter__(self) -> Iterator[str]:
        self._seek_all()
        return super().__iter__()

    def keys(self) -> Any:
        self._seek_all()
        return super().keys()

    def items(self) -> Any:
        self._seek_all()
        return super().items()

    def values(self) -> Any:
        self._seek_all()
        return super().values()

    def copy(self) -> dict[str, Any]:
        """A plain one: all of it counts as read."""
        return dict(self.items())

    def __setitem__(self, key: str, value: Any) -> None:
        self._watched.discard(key)
        super().__setitem__(key, value)
