"""The maker of plain sessions: SQLAlchemy's, whatever class of session it makes.

Owns that no session comes from it which would let a cached entity become the base of a write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from repocache.errors import UsageError
from repocache.transactions.tracked_session import ENTERING, TrackedSession

S = TypeVar("S", bound=AsyncSession)
T = TypeVar("T", bound=AsyncSession)


class Sessions(async_sessionmaker[S]):
    """`sessions()` is a session, as of any `async_sessionmaker`; `sessions(class_=...)` is the
    maker of another class's: SQLModel's, or your own. Its sync class, the class's own or
    `sync_session_class`, gets the refusals of `TrackedSession` before it. Other arguments are those
    of SQLAlchemy's session.

    Raises UsageError for a class that is none of SQLAlchemy's sessions.
    """

    @overload
    def __call__(
        self, *, class_: type[T], sync_session_class: type[Session] | None = None, **options: Any
    ) -> Sessions[T]: ...

    @overload
    def __call__(self, *, sync_session_class: type[Session], **options: Any) -> Sessions[S]: ...

    @overload
    def __call__(self, **options: Any) -> S: ...

    def __call__(
        self,
        *,
        class_: type[AsyncSession] | None = None,
        sync_session_class: type[Session] | None = None,
        **options: Any,
    ) -> Any:
        """A session, or the maker of others."""
        if class_ is None and sync_session_class is None:
            return super().__call__(**options)
        return _sessions(class_ or self.class_, sync_session_class, {**self.kw, **options})


def sessions_on(
    engine: AsyncEngine, entering: Callable[[Connection], None] | None = None
) -> Sessions[AsyncSession]:
    """The maker of sessions on the primary's engine. Their entities can be read after a commit.
    `entering`: what each transaction does when it has begun."""
    options: dict[str, Any] = {"bind": engine, "expire_on_commit": False}
    if entering is not None:
        options["info"] = {ENTERING: entering}
    return _sessions(AsyncSession, TrackedSession, options)


def _sessions(
    class_: type[S], sync_class: type[Session] | None, options: dict[str, Any]
) -> Sessions[S]:
    _require("class_", class_, AsyncSession)
    sync_class = class_.sync_session_class if sync_class is None else sync_class
    _require("sync_session_class", sync_class, Session)
    return Sessions(class_=class_, **{**options, "sync_session_class": _tracked(sync_class)})


def _tracked(given: type[Session]) -> type[Session]:
    for whole in (given, TrackedSession):
        if issubclass(whole, TrackedSession) and issubclass(whole, given):
            return whole
    return cast("type[Session]", type(given.__name__, (TrackedSession, given), {}))


def _require(argument: str, given: object, kind: type[Any]) -> None:
    if not (isinstance(given, type) and issubclass(given, kind)):
        raise UsageError(
            f"sessionmaker({argument}={given!r}): give a class that derives from SQLAlchemy's "
            f"{kind.__name__}"
        )
