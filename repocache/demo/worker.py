"""One service process: `python -m repocache.demo.worker`, with its orders on stdin, its history on
stdout.

Owns the callers and the clock. It ends by `Stop`, or when whoever gives the orders is gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable

from repocache.demo.cached import Cached
from repocache.demo.contestant import Contestant, Place
from repocache.demo.records import (
    Begin,
    Commit,
    DemoRead,
    Failed,
    Handover,
    Order,
    Ready,
    Setup,
    Told,
    frame,
    read_orders,
)
from repocache.demo.textbook import Textbook
from repocache.demo.traffic import Traffic, Visit

CONTESTANTS: dict[str, Callable[[Place], Contestant]] = {"textbook": Textbook, "repocache": Cached}
TOLD_EVERY = 0.05


class Voice(asyncio.Protocol):
    """Tells the conductor. What is urgent goes at once, so that a kill does not make it unsaid."""

    def __init__(self) -> None:
        self._waiting: list[Told] = []
        self._ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._pipe = transport

    def connection_lost(self, _: Exception | None) -> None:
        self._ended.set_result(None)

    def tell(self, told: Told) -> None:
        self._waiting.append(told)

    def flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._pipe.write(frame(waiting))

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(TOLD_EVERY)
            self.flush()

    async def end(self) -> None:
        """Returns when all has been read, or nobody reads."""
        self.flush()
        self._pipe.close()
        await self._ended


class Service:
    """Serves its callers, and users that come over from other processes."""

    def __init__(self, setup: Setup, contestant: Contestant, voice: Voice) -> None:
        self._setup = setup
        self._contestant = contestant
        self._voice = voice
        self._sessions = 0
        self._open = True

    async def serve_caller(self, traffic: Traffic, caller: int) -> None:
        """One visit after the other, until the service closes."""
        for visit in traffic.visits(self._setup.service, caller):
            await asyncio.sleep(visit.think)
            if not self._open:
                return
            await self._serve(visit)

    def close(self) -> None:
        """No more visits."""
        self._open = False

    async def _serve(self, visit: Visit) -> None:
        self._sessions += 1
        session = f"{self._setup.service}/{self._sessions}"
        if not visit.write:
            await self._read(session, visit.key)
            return
        async with self._contestant.session("") as bearer:
            if not await self._write(session, visit.key):
                return
            if visit.carried:
                self._voice.tell(Handover(session, visit.key, bearer.encode()))
                self._voice.flush()
            await self._read(session, visit.key)
            await asyncio.sleep(self._setup.mix.pause)
            await self._read(session, visit.key)

    async def serve_guest(self, guest: Handover) -> None:
        """A user who wrote in another process reads here."""
        async with self._contestant.session(guest.bookmark):
            await self._read(guest.session, guest.key)
            await asyncio.sleep(self._setup.mix.pause)
            await self._read(guest.session, guest.key)

    async def _read(self, session: str, key: str) -> None:
        start = time.monotonic_ns()
        try:
            version, tier, node = await self._contestant.read(key)
        except Exception as error:  # noqa: BLE001 - whatever it is, the user was not served
            self._voice.tell(Failed("read", type(error).__name__, time.monotonic_ns()))
        else:
            self._voice.tell(
                DemoRead(session, key, version, tier, node, start, time.monotonic_ns())
            )

    async def _write(self, session: str, key: str) -> bool:
        start = time.monotonic_ns()
        try:
            version, published = await self._contestant.write(key)
        except Exception as error:  # noqa: BLE001 - as above
            self._voice.tell(Failed("write", type(error).__name__, time.monotonic_ns()))
            return False
        self._voice.tell(Commit(session, key, version, published, start, time.monotonic_ns()))
        self._voice.flush()
        return True


async def serve(orders: asyncio.StreamReader, voice: Voice) -> None:
    """From the setup to the end."""
    [setup] = await read_orders(orders)
    assert isinstance(setup, Setup)
    place = Place(setup.primary, setup.replicas, setup.redis, voice.tell)
    traffic = Traffic(setup.keys, setup.mix, setup.seed)
    async with (
        CONTESTANTS[setup.contestant](place) as contestant,
        asyncio.TaskGroup() as background,
    ):
        speaking = background.create_task(voice.run())
        voice.tell(Ready())
        service = Service(setup, contestant, voice)
        async with asyncio.TaskGroup() as users:
            async for order in each(orders):
                match order:
                    case Begin():
                        for caller in range(setup.mix.callers):
                            users.create_task(service.serve_caller(traffic, caller))
                    case Handover():
                        users.create_task(service.serve_guest(order))
                    case _:
                        break
            service.close()
        speaking.cancel()


async def each(orders: asyncio.StreamReader) -> AsyncIterator[Order]:
    """Every order. When whoever gives them is gone, nobody needs this process: it ends here."""
    while told := await read_orders(orders):
        for order in told:
            yield order
    os._exit(1)


async def main() -> None:
    """Connect the pipes and serve."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    _, voice = await loop.connect_write_pipe(Voice, sys.stdout)
    try:
        await serve(orders, voice)
    finally:
        await voice.end()


if __name__ == "__main__":
    asyncio.run(main())
