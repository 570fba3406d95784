"""An ASGI response as a value, where it is small and whole, and unchanged where it is not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from repocache.errors import HeaderRefused
from repocache.http.asgi import TOKEN, App, HeaderLine, Message, Receive, Scope
from repocache.http.lines import members

MOST_MESSAGES = 1_024
"""Of one response that is collected; what comes in more pieces is passed on."""
_SPLITS = re.compile(rb"[\r\n\0]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_NAME = re.compile(TOKEN.pattern.encode())
_EMPTY = (204, 304)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. `lines`: its header, names in lower case. Raises HeaderRefused for a name
    or a value that would end its line (RFC 9110, 5.5)."""

    status: int
    lines: tuple[HeaderLine, ...] = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        refuse_splitting(self.lines)

    def messages(self) -> tuple[Message, Message]:
        """What is sent of it."""
        return (
            {"type": "http.response.start", "status": self.status, "headers": list(self.lines)},
            {"type": "http.response.body", "body": self.body, "more_body": False},
        )


@dataclass(frozen=True, slots=True)
class Streamed:
    """A response that was passed on. `status`: None if it never began."""

    status: int | None = None


class Onward(Protocol):
    """Where a response goes. Either `whole` is called, once, or `passed`, for each message."""

    async def whole(self, response: Response) -> None:
        """All of it is here and nothing of it is sent yet. Called while the application still runs,
        as soon as the body has ended: what it does in the background keeps no client waiting."""
        ...

    async def passed(self, message: Message) -> None:
        """One message as the application sent it, in their order."""
        ...


async def collect(
    app: App, scope: Scope, receive: Receive, onward: Onward, most: int
) -> Response | Streamed:
    """Runs the application, in this task, and hands its response to `onward`: whole, or as it
    comes. Returns when the application does.

    `most`: bytes of a body that is collected. Passed on at once are event streams, a body that is
    longer or says so, one that comes in pieces and has not said how long it is, and whatever uses
    trailers, early hints, a file's path, another message or a status below 200. A body that says
    how long it is, and is not too long, is waited for, however slowly it comes.

    If the application raises, or is cancelled, what was held back is never sent: whoever makes the
    error's answer may begin one. If it returns without having ended its body, what there is is
    passed on, for the server to see.

    Raises HeaderRefused, into the application, for a header line that would end early.
    """
    collecting = _Collecting(onward, most, is_head=scope.get("method") == "HEAD")
    await app(scope, receive, collecting.send)
    return await collecting.ended()


@dataclass(slots=True)
class _Collecting:
    """One response; `held`: its messages that nobody was told of."""

    onward: Onward
    most: int
    is_head: bool
    held: list[Message] = field(default_factory=list)
    start: Message | None = None
    size: int = 0
    is_passed_on: bool = False
    made: Response | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, message: Message) -> None:
        """1. What was held is on its way; 2. another task of the application sends more: that waits
        for its turn, so that all stay in their order."""
        if message["type"] == "http.response.start":
            refuse_splitting(message.get("headers") or ())
        async with self.turn:
            await self._take(message)

    async def _take(self, message: Message) -> None:
        kind = message["type"]
        self.held.append(message)
        if self.start is None and kind == "http.response.start":
            self.start = message
        if self.is_passed_on or self.made is not None:
            await self._pass_on()
            return
        if kind == "http.response.body":
            self.size += len(message.get("body", b""))
        if self._must_pass():
            await self._pass_on()
        elif kind == "http.response.body" and not message.get("more_body", False):
            await self._end()

    async def ended(self) -> Response | Streamed:
        """The application has returned."""
        if self.made is not None:
            return self.made
        await self._pass_on()
        return Streamed(None if self.start is None else self.start["status"])

    def _must_pass(self) -> bool:
        first, last = self.held[0], self.held[-1]
        if first["type"] != "http.response.start" or self.size > self.most:
            return True
        if last is first:
            return self._says_it_streams(first)
        in_pieces = last["type"] == "http.response.body" and last.get("more_body", False)
        return (
            last["type"] != "http.response.body"
            or len(self.held) > MOST_MESSAGES
            or (in_pieces and _length(first) is None)
        )

    def _says_it_streams(self, start: Message) -> bool:
        lines = _lower(start.get("headers") or ())
        kinds = [value for name, value in lines if name == b"content-type"]
        length = _length(start)
        return (
            start["status"] < 200
            or bool(start.get("trailers", False))
            or any(kind.strip().lower().startswith(b"text/event-stream") for kind in kinds)
            or (length is not None and length > self.most and self._has_body(start))
        )

    async def _end(self) -> None:
        start = self.held[0]
        body = b"".join(bytes(message.get("body", b"")) for message in self.held[1:])
        length = _length(start)
        if length is not None and length != len(body) and self._has_body(start):
            await self._pass_on()  # the server's to refuse, and nobody's to keep
            return
        self.held.clear()
        self.made = Response(start["status"], _lower(start.get("headers") or ()), body)
        await self.onward.whole(self.made)

    def _has_body(self, start: Message) -> bool:
        """Otherwise a length is that of a body which is not sent (RFC 9110, 8.6)."""
        return not self.is_head and start["status"] not in _EMPTY

    async def _pass_on(self) -> None:
        self.is_passed_on = True
        while self.held:
            await self.onward.passed(self.held.pop(0))


def refuse_splitting(lines: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises HeaderRefused for a name that is no token, and for a value with CR, LF or NUL."""
    for name, value in lines:
        if not _NAME.fullmatch(name):
            raise HeaderRefused(f"{bytes(name)!r} is not the name of a header")
        if _SPLITS.search(value):
            raise HeaderRefused(
                f"the value of {bytes(name).decode()} has a CR, LF or NUL in it: whoever gave it "
                "could have sent a response of his own"
            )


def _lower(lines: Iterable[tuple[bytes, bytes]]) -> tuple[HeaderLine, ...]:
    return tuple((bytes(name).lower(), bytes(value)) for name, value in lines)


def _length(start: Message) -> int | None:
    """What `Content-Length` says; None if it says nothing, or several things."""
    said = set(members(_lower(start.get("headers") or ()), b"content-length"))
    if len(said) != 1:
        return None
    text = said.pop()
    return int(text) if _LENGTH.fullmatch(text) else None
