"""The process's link to Redis: connects, reconnects for ever, and tells a listener what happens in
between.

Owns the connection and the task that keeps it. Leaves to others what commands, channels and
messages mean.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self

from repocache.background.tasks import Kept
from repocache.errors import CacheUnavailable, ConfigurationError, UsageError
from repocache.redis_link.address import Address
from repocache.redis_link.breaker import Breaker, BreakerSettings
from repocache.redis_link.connection import Connection, Limits
from repocache.redis_link.dial import Dialer
from repocache.redis_link.handshake import ServerFacts, shake_hands
from repocache.redis_link.parts import Fetched
from repocache.redis_link.reply import Reply
from repocache.redis_link.script import Script
from repocache.redis_link.sentinels import guide_to
from repocache.redis_link.waiting import Argument


class Listener(Protocol):
    """Who is told. Plain calls from the loop, in Redis's order with the replies; none of them may
    block.

    If `up` or `push` raises, the connection is dropped with that as the reason: what was missed
    cannot be made good otherwise.
    """

    def up(self, facts: ServerFacts) -> None:
        """Connected, scripts loaded, every channel confirmed; `alive` is true next. No push came
        before."""

    def down(self, reason: str) -> None:
        """The connection that was up is lost; `alive` is false. Runs before any waiting caller is
        resumed."""

    def push(self, channel: bytes, payload: bytes) -> None:
        """A message: handled before the caller of any reply that Redis sent after it."""

    def on_error(self, text: str) -> None:
        """For the log: an attempt failed, or a callback of this listener did."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """`name`: for CLIENT LIST. `connect_timeout`: seconds from asking where Redis is to the last
    SUBSCRIBE; of these, half at the most for sentinels."""

    name: str = "repocache"
    connect_timeout: float = 2.0
    limits: Limits = field(default_factory=Limits)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)

    def __post_init__(self) -> None:
        if (
            not self.name.isascii()
            or not self.name.isprintable()
            or " " in self.name
            or not self.name
        ):
            raise ConfigurationError(
                f"name={self.name!r}: Redis takes printable ASCII without spaces"
            )
        if self.connect_timeout <= 0:
            raise ConfigurationError(
                f"connect_timeout={self.connect_timeout}: it has to be more than 0 seconds"
            )


class Away:
    """Stands in for a connection while there is none: every call fails at once."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def send(self, _command: tuple[Argument, ...]) -> asyncio.Future[Reply]:
        """Raise CacheUnavailable."""
        raise CacheUnavailable(f"Redis: {self.reason}")

    def fetch(self, _name: str, _most: int) -> Fetched:
        """Raise CacheUnavailable."""
        raise CacheUnavailable(f"Redis: {self.reason}")

    def run(self, _script: Script, _arguments: tuple[Argument, ...]) -> asyncio.Future[Reply]:
        """Raise CacheUnavailable."""
        raise CacheUnavailable(f"Redis: {self.reason}")


class Link:
    """`async with Link(address, listener, scripts=..., channels=...) as link:`; in one event loop.

    Entering waits for the first attempt, at most `connect_timeout` seconds, and does not raise
    because Redis is away: `alive` tells. It raises ConfigurationError for a server that could never
    do: a cluster's node, a sentinel. The link then tries for ever, until the block is left; leaving
    fails the calls still waiting. `alive` is true from `up` to `down`: connected, subscribed, and
    no reply overdue.
    """

    def __init__(
        self,
        address: Address,
        listener: Listener,
        *,
        scripts: Sequence[Script] = (),
        channels: Sequence[str] = (),
        settings: LinkSettings = LinkSettings(),
    ) -> None:
        self.alive = False
        self._address = address
        self._listener = listener
        self._scripts = tuple(scripts)
        self._channels = tuple(channels)
        self._settings = settings
        self._dialer = Dialer(address)
        self._guide = guide_to(address, self._dialer, settings.limits, settings.connect_timeout / 2)
        self._connection: Connection | Away = Away(
            "the link is not started: use it inside `async with`"
        )
        self._breaker = Breaker(settings.breaker)
        self._kept: Kept | None = None
        self._refused: ConfigurationError | None = None

    @property
    def resting(self) -> bool:
        """Whether so many attempts failed in a row that the next one waits. Not once one has
        succeeded, though the breaker forgives only after its connection has lived for a while."""
        return self._breaker.open and not self.alive

    def call(self, *command: Argument) -> asyncio.Future[Reply]:
        """Send one command, such as `call("GET", key)`. A plain function: no coroutine, task or
        timer for it.

        Raises CacheUnavailable at once if there is no connection, or too many calls wait. The
        future raises ReplyError if Redis refuses, CacheUnavailable if the connection is lost or the
        reply is overdue. A future that is cancelled, or never awaited, does no harm.

        For commands with one reply that comes at once: none that blocks (BLPOP) or subscribes, no
        CLIENT REPLY; and no MULTI, which would swallow pushes (protocol, The channel). And for
        replies of at most `PART` bytes: what may be longer is fetched.
        """
        return self._connection.send(command)

    def fetch(self, name: str, most: int) -> Fetched:
        """The value under a name, None if there is none or it is empty; cut after `most` bytes. In
        parts, so that the server never holds more for this connection than it allows. Else as
        `call`; raises CacheUnavailable also if `most` is more than that.
        """
        return self._connection.fetch(name, most)

    def run(
        self, script: Script, keys: Sequence[bytes | str], values: Sequence[Argument] = ()
    ) -> asyncio.Future[Reply]:
        """Run a script by its digest; if the server lost it (SCRIPT FLUSH) it is loaded anew. Else
        as `call`."""
        return self._connection.run(script, (len(keys), *keys, *values))

    async def __aenter__(self) -> Self:
        if self._kept is not None:
            raise UsageError("this link is already started: enter it once, and share it")
        tried = asyncio.Event()
        self._refused = None
        self._kept = Kept(partial(self._keep, tried), partial(self._died, tried))
        self._kept.start()
        try:
            await tried.wait()
        except asyncio.CancelledError:
            await self.__aexit__()
            raise
        await self._require_usable()
        return self

    async def __aexit__(self, *_: object) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.stop()
            self._connection = Away("the link is closed")

    async def _require_usable(self) -> None:
        refused = self._refused
        if refused is not None:
            await self.__aexit__()
            raise refused

    def _died(self, tried: asyncio.Event, _: str, why: str) -> None:
        self._connection = Away(f"the link's task died: {why}")
        self._trouble(self._connection.reason)
        tried.set()

    async def _keep(self, tried: asyncio.Event) -> None:
        try:
            while True:
                await self._live(tried)
                self._breaker.failed(asyncio.get_running_loop().time())
                tried.set()
                await asyncio.sleep(self._breaker.pause(random.random()))  # noqa: S311  # jitter
        finally:
            await self._guide.close()

    async def _live(self, tried: asyncio.Event) -> None:
        """One connection, from the attempt to its loss."""
        connection = Connection(self._settings.limits, self._listener.push, self._lost)
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                address = await self._connect(connection)
            self._breaker.connected(asyncio.get_running_loop().time())
            tried.set()
            await self._stay(connection, address)
        except TimeoutError:
            self._failed(connection, f"not up within {self._settings.connect_timeout} s")
        except ConfigurationError as error:
            self._refused = error
            self._failed(connection, str(error))
        except Exception as error:  # noqa: BLE001  # it tries again, whatever it was
            known = isinstance(error, CacheUnavailable | OSError)
            self._failed(connection, str(error) if known else repr(error))
        finally:
            await connection.close("the link is closed")

    async def _stay(self, connection: Connection, address: Address) -> None:
        """Until the connection is lost, or another server is the master."""
        replaced = asyncio.create_task(
            self._guide.replaced(address), name="repocache link: who is the master"
        )
        try:
            ends: set[asyncio.Future[Any]] = {connection.ended, replaced}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if replaced.done():
                connection.drop(replaced.result())
        finally:
            replaced.cancel()
            await asyncio.wait({replaced})

    async def _connect(self, connection: Connection) -> Address:
        """Where it leads."""
        loop, address = asyncio.get_running_loop(), await self._guide.master()
        await self._dialer.dial(connection, address)
        facts = await shake_hands(connection, address, self._settings.name, self._scripts)
        confirmed: asyncio.Future[None] = loop.create_future()

        def ready() -> None:
            self._listener.up(facts)
            self._connection = connection
            self.alive = True
            confirmed.set_result(None)

        connection.subscribe(self._channels, ready)
        await asyncio.wait({confirmed, connection.ended}, return_when=asyncio.FIRST_COMPLETED)
        if connection.reason:
            raise CacheUnavailable(connection.reason)
        return address

    def _lost(self, reason: str) -> None:
        if not self.alive:
            return
        self.alive = False
        self._connection = Away(reason)
        try:
            self._listener.down(reason)
        except Exception as error:  # noqa: BLE001
            # The waiting callers must hear of the loss in any case.
            self._trouble(f"Listener.down failed: {error!r}")

    def _failed(self, connection: Connection, reason: str) -> None:
        connection.drop(reason)
        self._guide.distrust(reason)
        self._connection = Away(connection.reason)  # its own reason, if it was lost before
        self._trouble(f"{self._address}: {connection.reason}")

    def _trouble(self, text: str) -> None:
        try:
            self._listener.on_error(text)
        except Exception as error:  # noqa: BLE001  # the last one to tell is the loop
            context = {"message": f"Listener.trouble failed on {text!r}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
