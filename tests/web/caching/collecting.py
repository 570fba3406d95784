"""Applications that say what they are told to, and who takes it from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from repocache.http.asgi import App, Message, Receive, Scope, Send
from repocache.http.caching.responding import (
    Response,
    Streamed,
    collect,
)
from tests.web.serving import scope

MOST = 100
START = "http.response.start"
BODY = "http.response.body"


class Client:
    """Notes what comes on, in which order, and sends it to whoever asked."""

    def __init__(self, alter: Callable[[Response], Response] = lambda each: each) -> None:
        self.wholes: list[Response] = []
        self.messages: list[Message] = []
        self.alter = alter

    async def whole(self, response: Response) -> None:
        self.wholes.append(response)
        self.messages += self.alter(response).messages()

    async def passed(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.messages.append(message)


async def disconnected() -> Message:
    return {"type": "http.disconnect"}


def asking() -> Receive:
    """A request without a body, whose client stays."""
    told = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not told:
            await asyncio.Event().wait()
        return told.pop()

    return receive


def says(*messages: Message) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(*lines: tuple[bytes, bytes], status: int = 200, **more: Any) -> Message:
    return {"type": START, "status": status, "headers": list(lines), **more}


def body(text: bytes = b"", *, more: bool = False) -> Message:
    return {"type": BODY, "body": text, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", str(size).encode())


async def taken(app: App, client: Client, method: str = "GET", **more: Any) -> Response | Streamed:
    return await collect(app, scope(method=method, **more), asking(), client, MOST)
