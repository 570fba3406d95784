"""Where the master is, and whether it still is: told by an address, or by the sentinels of a group.

Owns the connection to the sentinel that answered last.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from repocache.errors import CacheUnavailable
from repocache.redis_link.address import Address
from repocache.redis_link.connection import Connection, Limits
from repocache.redis_link.dial import Dialer
from repocache.redis_link.reply import Reply, ReplyError

UNASKED = 1e9
"""Seconds between two pulses: a sentinel is not asked who it is."""


@dataclass(frozen=True, slots=True)
class Named:
    """The master as a sentinel named it. `epoch`: of that, counted up by each failover."""

    host: str
    port: int
    epoch: int


class Guide(Protocol):
    """Who tells a link where the master is."""

    async def master(self) -> Address:
        """Raises CacheUnavailable."""
        ...

    async def replaced(self, address: Address) -> str:
        """Wait until another server than this is the master; how it is known."""
        ...

    def distrust(self, reason: str) -> None:
        """What was told last did not lead to a master."""

    async def close(self) -> None: ...


class Known:
    """An address that nobody needs to be asked for."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def master(self) -> Address:
        return self._address

    async def replaced(self, address: Address) -> str:
        """Nobody would tell: it never returns."""
        await asyncio.Event().wait()
        return f"{address.place} is not the master"

    def distrust(self, reason: str) -> None:
        """There is no other."""

    async def close(self) -> None:
        """Nothing is open."""


class Sentinels:
    """Asks one sentinel after the other, each for at most `patience` seconds.

    No majority is needed, since what is named has to say itself that it is the master. But a
    sentinel that was cut off goes on naming a master that was replaced, and that may not know it:
    an answer of an older epoch than was heard before counts only if all sentinels answer, and none
    knows better (the group was set up anew).
    """

    def __init__(self, address: Address, dialer: Dialer, limits: Limits, patience: float) -> None:
        self._address = address
        self._dialer = dialer
        self._limits = replace(limits, pulse=UNASKED)
        self._every = limits.pulse
        self._patience = patience
        self._order = deque(address.sentinels)
        self._epoch = 0
        self._connection: Connection | None = None

    async def master(self) -> Address:
        """Raises CacheUnavailable if no sentinel tells, with what each answered."""
        why: list[str] = []
        older: list[Named] = []
        for _ in range(len(self._order)):
            sentinel = self._order[0]
            try:
                async with asyncio.timeout(self._patience):
                    named = await self._ask(sentinel)
            except TimeoutError:
                why.append(f"{sentinel.place} is silent")
            except (CacheUnavailable, ReplyError, OSError) as error:
                why.append(f"{sentinel.place}: {error}")
            else:
                if named.epoch >= self._epoch:
                    return self._told(named)
                why.append(f"{sentinel.place} names a master of before")
                older.append(named)
            self.distrust("it does not tell")
        if len(older) == len(self._order):
            return self._told(max(older, key=lambda named: named.epoch))
        raise CacheUnavailable(
            f"no sentinel tells where the master of {self._address.service!r} is: {'; '.join(why)}"
        )

    async def replaced(self, address: Address) -> str:
        """Asks at each pulse. Sentinels that are away are no reason to leave a master that is
        there."""
        while True:
            await asyncio.sleep(self._every)
            with suppress(CacheUnavailable):
                named = await self.master()
                if named != address:
                    return f"the sentinels name another master than {address.place}: {named.place}"

    def distrust(self, reason: str) -> None:
        """Ask another sentinel next."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop(reason)
        self._order.rotate(-1)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close("the link is closed")

    def _told(self, named: Named) -> Address:
        self._epoch = named.epoch
        return replace(self._address, host=named.host, port=named.port, sentinels=(), service="")

    async def _ask(self, sentinel: Address) -> Named:
        connection = self._connection
        if connection is None or connection.reason:
            connection = self._connection = Connection(self._limits, _unheard, _unheeded)
            await self._dialer.dial(connection, sentinel)
            if sentinel.username or sentinel.password:
                await connection.send(("AUTH", sentinel.username or "default", sentinel.password))
        return _named(await connection.send(("SENTINEL", "MASTER", self._address.service)))


def guide_to(address: Address, dialer: Dialer, limits: Limits, patience: float) -> Guide:
    """`patience`: seconds for all sentinels together."""
    if not address.sentinels:
        return Known(address)
    return Sentinels(address, dialer, limits, patience / len(address.sentinels))


def _named(reply: Reply) -> Named:
    try:
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        return Named(fields[b"ip"].decode(), int(fields[b"port"]), int(fields[b"config-epoch"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CacheUnavailable(f"its answer is none: {error!r}") from error


def _unheard(_: bytes, __: bytes) -> None:
    """Nothing is subscribed to."""


def _unheeded(_: str) -> None:
    """The next question finds out."""
