"""What Redis answers, as values: each command is sent already, and its reply understood when it is
awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar

from repocache.errors import CacheUnavailable
from repocache.history import LAST
from repocache.records.names import LEASE
from repocache.records.port import (
    Generation,
    IntentReply,
    LookReply,
    OpenReply,
    OpenRequest,
    Receipt,
    Registration,
    State,
    WriteLease,
)
from repocache.redaction.foreign import in_brief
from repocache.redis_link import Reply, ReplyError

T = TypeVar("T")
Fetch: TypeAlias = "Callable[[OpenRequest, OpenReply], Answer[bytes | None]]"

LOOK_AGAIN = 1.0
"""Seconds to wait at most for what was there a moment ago."""


class Answer(Generic[T]):
    """A command already sent, whose reply is understood when it is awaited."""

    __slots__ = ("_read", "_reply")

    def __init__(self, reply: Awaitable[Reply], read: Callable[[Reply], T]) -> None:
        self._reply = reply
        self._read = read

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            reply = yield from self._reply.__await__()
            return self._read(reply)
        except ReplyError as error:
            raise CacheUnavailable(f"Redis: {error}") from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise CacheUnavailable(
                f"Redis: a record that is none of ours: {in_brief(error)}"
            ) from error


class OneOf:
    """What a script of many calls has answered to one of them."""

    __slots__ = ("_at", "_replies")

    def __init__(self, replies: Awaitable[Reply], at: int) -> None:
        self._replies = replies
        self._at = at

    def __await__(self) -> Generator[Any, Any, Reply]:
        replies = yield from self._replies.__await__()
        return replies[self._at]


class Opening(Answer[OpenReply]):
    """The answer of OPEN, whose value is fetched if it is too long to come with it: a newer one may
    have taken its place meanwhile. If it was taken away, or a lease is there, one looks again."""

    __slots__ = ("_ask", "_fetch", "_value")

    def __init__(self, reply: Awaitable[Reply], ask: OpenRequest, fetch: Fetch) -> None:
        super().__init__(reply, read_opened)
        self._ask = ask
        self._fetch = fetch
        self._value: Answer[bytes | None] | None = None

    def arrived(self, reply: Reply) -> None:
        """Its reply has come, among others: a value that did not come along is asked for now. If it
        were only when this one is awaited, those of many would be fetched one after the other."""
        with suppress(CacheUnavailable, ValueError, TypeError, LookupError, AttributeError):
            if reply[0] == b"value" and not reply[4]:
                self._value = self._fetch(self._ask, read_opened(reply))

    def __await__(self) -> Generator[Any, Any, OpenReply]:
        opened = yield from super().__await__()
        if opened.kind != "value" or opened.value:
            return opened
        value = yield from (self._value or self._fetch(self._ask, opened)).__await__()
        if value is None or value[:1] == LEASE:
            return opened._replace(kind="wait", wait=LOOK_AGAIN)
        return opened._replace(value=value)


def _number(text: bytes | str, base: int = 10) -> int:
    """Raises ValueError for one that no record of ours has."""
    number = int(text, base)
    if not 0 <= number <= LAST:
        raise ValueError(f"{text!r} is out of bounds")
    return number


def read_opened(reply: Reply) -> OpenReply:
    """The OPEN script's reply as a value."""
    kind = reply[0]
    if kind == b"history":
        return OpenReply("history", history=reply[1].decode(), owner_history=reply[2].decode())
    incarnation, seq, floor, tip = _read_state(reply[2])
    seen, owner, what = (
        (incarnation, seq, reply[1].decode(), floor),
        _read_state(reply[3]),
        reply[4],
    )
    if kind == b"value":
        left = reply[5] / 1000
        return OpenReply("value", *seen, value=what or b"", owner=owner, tip=tip, left=left)
    if kind == b"beside":
        return OpenReply(
            "lease",
            *seen,
            value=what or b"",
            nonce=reply[6].decode(),
            owner=owner,
            tip=tip,
            left=reply[5] / 1000,
            beside=True,
        )
    if kind == b"lease":
        return OpenReply("lease", *seen, nonce=what.decode(), owner=owner, tip=tip)
    if kind == b"written":
        names = [part.decode() for part in what]
        return OpenReply(
            "written",
            *seen,
            overdue=tuple(map(WriteLease, names[::2], names[1::2])),
            owner=owner,
            tip=tip,
        )
    return OpenReply("wait", *seen, wait=max(0, what) / 1000, owner=owner, tip=tip)


def _read_state(text: bytes) -> State:
    incarnation, seq, tip, floor = text.decode().split(" ")
    return State(incarnation, _number(seq), _number(floor, 16) if floor else None, tip)


def read_look(reply: Reply) -> LookReply | None:
    """The LOOK script's reply as a value."""
    if reply is None:
        return None
    floor = _number(reply[1], 16) if reply[1] else None
    return LookReply(reply[0].decode(), floor, _read_shapes(reply[2]))


def read_registration(reply: Reply) -> Registration:
    """The REGISTER script's reply as a value."""
    if reply[0] == b"history":
        return Registration("", (), history=reply[1].decode())
    shapes = _read_shapes(reply[2])
    return Registration(reply[1].decode(), shapes)


def _read_shapes(text: bytes) -> tuple[str, ...]:
    """What is no text is a shape that nobody knows."""
    return tuple(text.decode(errors="replace").split("\n")[:-1])


def read_receipt(bucket: int, tip: str, reply: Reply) -> Receipt:
    """The INVALIDATE script's reply as a value."""
    if reply[0] == b"history":
        return Receipt(bucket, "", 0, reply[1].decode())
    return Receipt(bucket, reply[1].decode(), _number(reply[2]), landed=reply[3], tip=tip)


def read_noted(owners: tuple[str, ...], reply: Reply) -> IntentReply:
    """The INTEND script's reply as a value."""
    if reply[0] == b"history":
        return IntentReply("", 0, {}, reply[1].decode())
    parts = iter(reply[4])
    generations = {
        owner: Generation(name.decode(), incarnation.decode(), _number(seq), tip.decode())
        for owner, name, incarnation, seq, tip in zip(
            owners, parts, parts, parts, parts, strict=True
        )
    }
    return IntentReply(reply[1].decode(), _number(reply[2]), generations, tip=reply[3].decode())
