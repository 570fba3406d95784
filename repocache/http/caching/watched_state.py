"""What an application reads of `scope["state"]` (`request.state`) that somebody outside has put
there for this request, as its user; and of `scope["extensions"]`, which has a client's certificate
(ASGI, TLS Extension).

The lifespan's state is there too, and is the same for all: what came with the lifespan, and nothing
that merely came with every request until now, as the same tenant's object does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from repocache.http.caching.noting import Note
from repocache.http.caching.watched_mapping import WatchedMapping


class LifespanState:
    """Of one application. Without a lifespan, or a state of it, all that comes is a request's."""

    def __init__(self) -> None:
        self._shared: Mapping[str, Any] = {}
        self._replaced: set[str] = set()

    def begins(self, state: Mapping[str, Any] | None) -> None:
        """`state`: the server's, which it copies for each request (ASGI, Lifespan State)."""
        self._shared = {} if state is None else state
        self._replaced = set()

    def own_keys(self, state: Mapping[str, Any]) -> frozenset[str]:
        """Keys whose values are this request's.

        A key of the lifespan's whose value was replaced once is a request's from then on; None is a
        place that is filled later.
        """
        own = set()
        for key, value in state.items():
            shared = self._shared.get(key)
            if shared is None:
                own.add(key)
            elif key in self._replaced or shared is not value:
                self._replaced.add(key)
                own.add(key)
        return frozenset(own)


class WatchedPart(WatchedMapping):
    """A copy of a part of a scope, whose reads of these keys are noted as `scope:state.key`, by the
    `name` of the part. What the application puts there itself is its own."""

    def __init__(self, name: str, part: Mapping[str, Any], own: Iterable[str], note: Note) -> None:
        super().__init__(part)
        self._name = name
        self._watched = set(own)
        self._note = note

    def _seek(self, key: object) -> None:
        if key in self._watched:
            self._note(f"scope:{self._name}.{key}")

    def _seek_all(self) -> None:
        for key in self._watched:
            self._seek(key)

    def __iter__(self) -> Iterator[str]:
        self._seek_all()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._seek_all()
        return super().__reversed__()

    def keys(self) -> Any:
        self._seek_all()
        return super().keys()

    def copy(self) -> dict[str, Any]:
        """A plain one: all of it counts as read."""
        return dict(self.items())

    def __or__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return {**self.copy(), **other}

    def __ror__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return {**other, **self.copy()}

    def __setitem__(self, key: str, value: Any) -> None:
        self._watched.discard(key)
        super().__setitem__(key, value)
