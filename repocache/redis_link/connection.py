"""One RESP3 connection: a protocol of asyncio over hiredis, from the first byte to the loss.

Owns the order of commands, replies and pushes, the deadline of replies and the pulse. Leaves
connecting, the handshake and reconnecting to its owner. The library's hot path: each call pays for
every line of `send` and `data_received`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import hiredis

from repocache.errors import CacheUnavailable, ConfigurationError
from repocache.redis_link.frames import Frames
from repocache.redis_link.identity import unchanged
from repocache.redis_link.parts import PART, Fetched, Whole
from repocache.redis_link.pulse import Pulse, PulseVerdict
from repocache.redis_link.reply import Reply, ReplyError
from repocache.redis_link.script import Script
from repocache.redis_link.waiting import Argument, ScriptCall, Waiting, WhoAreYou, fail

DEMOTED = frozenset({"READONLY", "MASTERDOWN", "LOADING"})
"""Codes of errors that only a replica gives, or a server that is becoming one; a script's come
inside other texts."""

_MORE = object()
_encode = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)
_WHO = _encode(("INFO", "replication"))


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for `reply_timeout` and `pulse`, calls for `max_pending`, bytes for `max_reply` and
    `max_unread`.

    `pulse`: how often the server is asked who it is; so long a change of that may go unnoticed.
    `max_unread`: of replies that are asked for at once, so that they stay below the server's
    `client-output-buffer-limit pubsub`; a lower limit that the server tells counts instead.
    """

    reply_timeout: float = 1.0
    pulse: float = 1.0
    max_pending: int = 50_000
    max_reply: int = 64 * 1024 * 1024
    max_unread: int = 8 * 1024 * 1024

    @property
    def silence(self) -> float:
        """For how long a connection may be open and silent before it is known to be lost: a pulse,
        the deadline of its reply, and the time between two looks.
        """
        return self.pulse + self.reply_timeout + min(self.pulse, self.reply_timeout) / 2

    def __post_init__(self) -> None:
        if (
            min(self.reply_timeout, self.pulse) <= 0
            or min(self.max_pending, self.max_reply, self.max_unread) < 1
        ):
            raise ConfigurationError(f"{self}: every limit has to be more than 0")


class Connection(asyncio.Protocol):
    """Many callers, one socket: replies go to the oldest call, pushes to a callable, both in
    Redis's order.

    `pushed(channel, payload)` runs inside `data_received`; the result of a call only schedules its
    caller. So a push that Redis sent before a reply is always handled before the reply's caller
    runs, and so is one that follows the reply in the same read. If `pushed` raises, the connection
    is dropped: a message was not heard.

    `lost(reason)` runs once, before any waiting caller is resumed with CacheUnavailable. Nothing is
    handed out after it.
    """

    def __init__(
        self, limits: Limits, pushed: Callable[[bytes, bytes], None], lost: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._create_future = self._loop.create_future
        self._pushed = pushed
        self._lost = lost
        self.limits = limits
        self._pulse = Pulse(limits.reply_timeout, limits.pulse)
        self._why_changed: Callable[[bytes], str] = unchanged
        self._timer: asyncio.TimerHandle | None = None
        reader = hiredis.Reader(notEnoughData=_MORE, replyError=ReplyError)
        self._feed = reader.feed
        self._gets = reader.gets
        self._admit = Frames(limits.max_reply).admit
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Waiting] = deque()
        self._unsent: list[bytes] = []
        self._flush_scheduled = False
        self._paused = False
        self._held = False
        self._whole = Whole(self.send)
        self.bound(limits.max_unread)
        self._answered = 0
        self._unconfirmed: set[bytes] = set()
        self._ready: Callable[[], None] = _nothing
        self._closed: asyncio.Future[None] = self._create_future()
        self.reason = ""
        self.ended: asyncio.Future[None] = self._create_future()

    def send(self, command: tuple[Argument, ...]) -> asyncio.Future[Reply]:
        """Queue a command; it is written at the end of this turn of the loop, with all others of
        the turn.

        Raises CacheUnavailable at once after the loss or with `max_pending` calls waiting,
        TypeError for an argument that is not bytes, str or int. The future raises ReplyError, or
        CacheUnavailable when the connection is lost.
        """
        future = self._create_future()
        self._queue(command, future)
        return future

    def run(self, script: Script, arguments: tuple[Argument, ...]) -> asyncio.Future[Reply]:
        """EVALSHA; `arguments`: number of keys, keys, values. If the server lost the script it is
        loaded, once."""
        future = self._create_future()
        self._queue(("EVALSHA", script.sha, *arguments), ScriptCall(future, script, arguments))
        return future

    def fetch(self, name: str, most: int) -> Fetched:
        """A value of which `most` bytes are read, in parts if it is long. Raises as `send`."""
        return Fetched(self.send(("GETRANGE", name, 0, PART - 1)), self._whole, name, most)

    def bound(self, unread: int) -> None:
        """So many bytes may be asked for at once, half of them by calls whose replies are short."""
        self._whole.room = unread // 2
        self._window = max(1, unread // 2 // PART)

    def subscribe(self, channels: Iterable[str], ready: Callable[[], None]) -> None:
        """SUBSCRIBE. `ready` runs inside `data_received`, at the last confirmation, before what
        follows it."""
        self._unconfirmed = {channel.encode() for channel in channels}
        self._ready = ready
        if self._unconfirmed:
            self._write(_encode(("SUBSCRIBE", *self._unconfirmed)))
        else:
            ready()

    def expect_identity(self, why_changed: Callable[[bytes], str]) -> None:
        """From now on the server has to be what it was. `why_changed`: why it is not, by its INFO
        replication, or empty."""
        self._why_changed = why_changed

    def drop(self, reason: str) -> None:
        """End the connection: `lost` first, then every waiting caller fails. Later calls do
        nothing."""
        if self.reason:
            return
        self.reason = reason
        if self._timer:
            self._timer.cancel()
        try:
            self._lost(reason)
        finally:
            for future in self._waiting:
                fail(future, CacheUnavailable(f"Redis: {reason}"))
            self._waiting.clear()
            self._unsent.clear()
            if self._transport:
                self._transport.abort()
            self.ended.set_result(None)

    async def close(self, reason: str) -> None:
        """Drop it, and wait until asyncio has let go of the socket."""
        self.drop(reason)
        if self._transport:
            await asyncio.wait({self._closed}, timeout=1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        if self.reason:
            self._transport.abort()
            return
        self._timer = self._loop.call_later(self._pulse.tick, self._look)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: hand out all that is complete, in order."""
        gets = self._gets
        oldest = self._waiting.popleft
        try:
            self._admit(data)
            self._feed(data)
            while not self.reason and (reply := gets()) is not _MORE:
                kind = type(reply)
                if kind is hiredis.PushNotification:
                    self._push(reply)
                elif kind is ReplyError:
                    self._refuse(reply)
                else:
                    self._answered += 1
                    try:
                        oldest().set_result(reply)
                    except asyncio.InvalidStateError:
                        continue  # its caller was cancelled; the reply is consumed all the same
                    except IndexError:
                        self.drop("a reply came that nobody waits for")
        except Exception as error:  # noqa: BLE001
            # Whatever it was, this stream cannot be followed further.
            self.drop(f"the stream cannot be followed: {type(error).__name__}: {error}")
        if self._held:
            self._flush()

    def pause_writing(self) -> None:
        """Called by asyncio: the socket is full. Commands collect here, at most `max_pending`."""
        self._paused = True

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._paused = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.drop(f"connection lost: {exc}" if exc else "the server closed the connection")
        self._closed.set_result(None)

    def _queue(self, command: tuple[Argument, ...], future: Waiting) -> None:
        if self.reason:
            raise CacheUnavailable(f"Redis: {self.reason}")
        if len(self._waiting) >= self.limits.max_pending:
            raise CacheUnavailable(
                f"Redis: overloaded: {self.limits.max_pending} calls wait (max_pending)"
            )
        self._write(_encode(command))
        self._waiting.append(future)

    def _write(self, encoded: bytes) -> None:
        self._unsent.append(encoded)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        unsent = self._unsent
        if not unsent or self._transport is None or self._paused:
            return
        room = room_for(self._window, len(self._waiting) - len(unsent), held=self._held)
        self._held = len(unsent) > room
        if room:
            self._transport.write(b"".join(unsent[:room]))
            del unsent[:room]

    def _push(self, message: list[Reply]) -> None:
        kind = message[0]
        if kind == b"message":
            self._pushed(message[1], message[2])
        elif kind == b"subscribe":
            self._unconfirmed.remove(message[1])
            if not self._unconfirmed:
                self._ready()
        elif kind.endswith(b"unsubscribe"):
            self.drop(f"the server ended the subscription of {message[1]!r}")

    def _refuse(self, error: ReplyError) -> None:
        if not self._waiting:
            self.drop(f"unasked: {error}")  # SUBSCRIBE has no reply but its refusal
            return
        self._answered += 1
        future = self._waiting.popleft()
        if isinstance(future, ScriptCall) and error.code == "NOSCRIPT" and not future.reloaded:
            future.reloaded = True
            for command, waiting in future.again(self._create_future()):
                self._write(_encode(command))
                self._waiting.append(waiting)
            return
        fail(future, error)
        if error.code in DEMOTED or "-READONLY" in str(error):
            self.drop(f"the server is no longer the master: {error.code}")

    def _look(self) -> None:
        verdict = self._pulse.look(self._answered + len(self._waiting), self._answered)
        if verdict is PulseVerdict.OVERDUE:
            self.drop(f"no reply within {self.limits.reply_timeout} s")
            return
        if verdict is PulseVerdict.DUE:
            self._write(_WHO)
            self._waiting.append(WhoAreYou(self._why_changed, self.drop))
        self._timer = self._loop.call_later(self._pulse.tick, self._look)


def room_for(window: int, on_the_way: int, *, held: bool) -> int:
    """How many calls may be sent now. Once some were held back, none until half of the window is
    free: replies come in small pieces, and each piece would make a small packet."""
    return 0 if held and on_the_way > window // 2 else max(0, window - on_the_way)


def _nothing() -> None:
    """What is to be done while nobody subscribes."""
