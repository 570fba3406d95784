"""What is around a caller, and around tasks that it begins: the session in scope, and whose rows it
reads and writes.

Owns the one context variable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple

from repocache.routing.causal_session import CausalSession
from repocache.routing.expected import Expectation, ExpectingSession
from repocache.scope import Scopes


class Around(NamedTuple):
    """`scopes`: whose rows, by scope. `pages`: keys of those that are being rendered here."""

    session: CausalSession | None = None
    scopes: Scopes = MappingProxyType({})
    pages: frozenset[str] = frozenset()


_NOTHING = Around()
around: ContextVar[Around] = ContextVar("repocache", default=_NOTHING)


def current_session() -> CausalSession | None:
    """The session that the caller runs in."""
    return around.get().session


def tell_unknown(why: str) -> None:
    """Whoever records what the caller's session is given: of this nobody tells when it changes."""
    session = around.get().session
    if session is not None and session.recorder is not None:
        session.recorder.unknown(why)


def expectation() -> Expectation | None:
    """What the caller's next unit of work holds, if that has not been taken."""
    session = around.get().session
    if not isinstance(session, ExpectingSession) or session.expects.taken:
        return None
    session.expects.taken = True
    return session.expects


def current_scopes() -> Scopes:
    """The values that count for the caller."""
    return around.get().scopes


def is_within_a_page() -> bool:
    """Whether the caller runs within the rendering of a page, which others may wait for."""
    return bool(around.get().pages)


def page_begins(page: str) -> None:
    """From now on the caller's context is that of its rendering."""
    outer = around.get()
    around.set(outer._replace(pages=outer.pages | {page}))


@contextmanager
def within(session: CausalSession) -> Iterator[None]:
    """The session is in scope in the block, and in tasks begun there."""
    token = around.set(around.get()._replace(session=session))
    try:
        yield
    finally:
        around.reset(token)


@asynccontextmanager
async def scoped(scopes: Scopes) -> AsyncIterator[None]:
    """These values count in the block, and in tasks begun there, with those of blocks around it."""
    outer = around.get()
    token = around.set(outer._replace(scopes={**outer.scopes, **scopes}))
    try:
        yield
    finally:
        around.reset(token)
