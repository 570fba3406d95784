"""Hooks for httpx: one service's bookmark goes to another, and what that did comes back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from repocache.bookmark import says_something
from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.http.asgi import checked_name
from repocache.routing.around import current_session


def bookmark_hooks(
    db: Database, *, header: str = "Bookmark", hosts: Collection[str] | None = None
) -> dict[str, list[Callable[..., Any]]]:
    """`httpx.AsyncClient(event_hooks=bookmark_hooks(db))`, for services of the same database.

    A request carries the bookmark of the session that it is made in, and that session is from then
    on not older than the bookmark which comes back. `hosts`: those that are told; None: all that
    the client asks, redirections too. Raises ConfigurationError for what no header may be called.
    """
    checked_name("bookmark_hooks(header)", header)
    if isinstance(hosts, str):
        raise ConfigurationError(f"bookmark_hooks(hosts={hosts!r}): give several, as in ['users']")

    async def send_along(request: Any) -> None:
        session = current_session()
        told = hosts is None or request.url.host in hosts
        if told and session is not None and says_something(session.bookmark):
            request.headers[header] = session.encode()

    async def take_up(response: Any) -> None:
        if hosts is None or response.request.url.host in hosts:
            await db.absorb(response.headers.get(header))

    return {"request": [send_along], "response": [take_up]}
