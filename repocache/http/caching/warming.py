"""Pages made before anybody asks for them, as at the end of a deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes, urlsplit

from repocache.errors import UsageError
from repocache.http.asgi import App, Message, Scope

AT_ONCE = 8
"""Requests."""


async def warm(
    app: App,
    paths: Iterable[str],
    *,
    host: str = "localhost",
    scheme: str = "https",
    headers: Iterable[tuple[str, str]] = (),
) -> dict[str, int]:
    """Asks the application for these paths, as its clients would: what it keeps is kept. Their
    statuses; 500 where it raises.

    `host`, `scheme`: as clients have them, for they are part of what pages are kept under.
    `headers`: those that pages vary by. Raises UsageError for what is no path.
    """
    wanted = list(dict.fromkeys(paths))
    for path in wanted:
        if not path.startswith("/") or not path.isascii() or not path.isprintable():
            raise UsageError(
                f"warm({path!r:.100}): give paths that begin with /, quoted as in URLs"
            )
    lines = [(b"host", host.encode())]
    lines += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    allowed = asyncio.Semaphore(AT_ONCE)

    async def one(path: str) -> int:
        async with allowed:
            return await _status(app, _scope(path, scheme, host, lines))

    return dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))


def _scope(path: str, scheme: str, host: str, lines: list[tuple[bytes, bytes]]) -> Scope:
    parts = urlsplit(path)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": unquote_to_bytes(parts.path).decode("utf-8", errors="surrogateescape"),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": list(lines),
        "server": (host, None),
        "client": None,
    }


async def _status(app: App, scope: Scope) -> int:
    statuses: list[int] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # nobody hangs up
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    try:
        await app(scope, receive, send)
    except Exception:  # noqa: BLE001  # its server would say 500, and go on
        return 500
    return statuses[0] if statuses else 500
