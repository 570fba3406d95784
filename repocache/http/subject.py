"""The carrier for clients that carry nothing, and for one user on several devices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from repocache.bookmark import Bookmark
from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.http.asgi import HeaderLine, Scope
from repocache.routing.causal_session import CausalSession
from repocache.subjects import SubjectState

_States: TypeAlias = "dict[tuple[Subject, str], SubjectState]"


@dataclass(frozen=True, slots=True)
class Subject:
    """The bookmark is kept in Redis, under what `of` says of a request's scope: a user's id, as a
    text; None or empty: nobody's, and nothing is kept. It is asked when a request begins, and again
    when its session has moved, so that who logs in by it is found. See `Database.subjects`.

    Raises ConfigurationError for what is no function of the scope.
    """

    of: Callable[[Scope], str | None]

    def __post_init__(self) -> None:
        if not callable(self.of):
            raise ConfigurationError(
                f"Subject({self.of!r}): give a function of the scope that returns a text or None"
            )

    def check(self, db: Database) -> None:
        """Raises ConfigurationError without a Redis."""
        if not db.has_redis:
            raise ConfigurationError(
                "CausalMiddleware(carrier=Subject(...)): subjects' bookmarks are kept in Redis: "
                "give Database(redis=...), or let clients carry them in a Header or Cookie"
            )

    async def incoming(self, db: Database, scope: Scope) -> Sequence[Bookmark]:
        name = self.of(scope)
        if not name:
            return ()
        state = await db.subjects.load(name)
        _states(scope)[self, name] = state
        return state.bookmarks

    def keep(
        self, db: Database, scope: Scope, session: CausalSession
    ) -> Sequence[Awaitable[object]]:
        states, name = _states(scope), self.of(scope)
        if name:
            # Not known when the request began: what there is of it is merged.
            states.setdefault((self, name), SubjectState(name))
        storing = []
        for key in [key for key in states if key[0] == self]:
            stored = db.subjects.store(states[key], session)
            stored.add_done_callback(partial(_note, states, key))
            storing.append(stored)
        return storing

    def lines(self, text: str) -> Sequence[HeaderLine]:
        return ()


def _states(scope: Scope) -> _States:
    """Of this request's subjects: as a rule one, two if it logs somebody in or out."""
    found: _States = scope.setdefault("repocache.subjects", {})
    return found


def _note(states: _States, key: tuple[Subject, str], stored: asyncio.Future[SubjectState]) -> None:
    if not stored.cancelled():
        states[key] = stored.result()
