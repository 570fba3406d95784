"""An event loop whose time is a number and whose order of callbacks is drawn: no threads, no
sockets, no waiting.

Owns time, order, and what dies with a process. What happens between processes and servers is
`network`'s.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import random
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, TypeVar
from unittest.mock import patch

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""What `time.time()` says when a run begins."""


class Stuck(Exception):
    """Nothing is ready and no timer is set: whoever still waits will wait for ever."""


class Owner:
    """A process as the loop sees it: once it is dead, nothing of it runs any more, not even a
    `finally`.

    `context`: in which everything belongs to it. `skew`: seconds that its wall clock is ahead, at
    the beginning; `drift`: seconds by which it gains in each second.
    """

    __slots__ = ("context", "dead", "drift", "name", "skew")

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.skew = self.drift = 0.0
        self.context = copy_context()
        self.context.run(OWNER.set, self)


OWNER: ContextVar[Owner] = ContextVar("owner")
"""Whose code runs. Tasks and callbacks inherit it from whoever makes them."""
WORLD = Owner("world")


def wall_clock(now: float) -> float:
    """What `time.time()` says to whose code runs."""
    owner = OWNER.get(WORLD)
    return EPOCH + now + owner.skew + owner.drift * now


class Loop(asyncio.AbstractEventLoop):
    """Runs one of the ready callbacks, whichever the seed says; if there is none, goes to the next
    timer.

    `failures`: what callbacks raised that nobody caught, and what was reported to the exception
    handler.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed).random
        self.now = 1.0
        self.steps = 0
        self.failures: list[str] = []
        self.connect: Callable[..., Coroutine[Any, Any, Any]] | None = None
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._graveyard: list[asyncio.Handle] = []
        self._count = 0
        self._stopping = False
        self._closed = False

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]  # the base class names its arguments otherwise
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def run_until_complete(self, future: Any) -> Any:
        """Raises Stuck, and what the future raises."""
        task: asyncio.Future[Any] = asyncio.ensure_future(future, loop=self)
        asyncio.events._set_running_loop(self)
        try:
            while not task.done():
                self._step()
        finally:
            asyncio.events._set_running_loop(None)
        return task.result()

    def _step(self) -> None:
        ready, timers = self._ready, self._timers
        while not ready:
            if not timers:
                raise Stuck
            when, _, timer = heapq.heappop(timers)
            if not timer._cancelled:
                self.now = max(self.now, when)
                ready.append(timer)
                while timers and timers[0][0] <= self.now:
                    ready.append(heapq.heappop(timers)[2])
        size = len(ready)
        if size == 1:
            handle = ready.pop()
        else:
            at = int(self.draw() * size)
            handle = ready[at]
            ready[at] = ready[-1]
            ready.pop()
        context: Context = handle._context  # type: ignore[attr-defined]
        if handle._cancelled:
            return
        if context.get(OWNER, WORLD).dead:
            self._graveyard.append(handle)
            return
        self.steps += 1
        try:
            context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001  # what no code may do in silence
            self.failures.append(f"a callback raised {error!r}")

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        return asyncio.Task(coroutine, loop=self, name=name or "task", context=context)

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], Any], host: str, port: int, **_: Any
    ) -> Any:
        """Raises OSError."""
        assert self.connect is not None
        return await self.connect(factory, host, port)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closed:
            self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def is_running(self) -> bool:
        return asyncio.events._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def close(self) -> None:
        """From here on the loop is silent: what is left of tasks is thrown away, wherever it
        stands."""
        self._closed = True
        self.connect = None
        hook, sys.unraisablehook = sys.unraisablehook, _silent
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for _ in range(3):  # what is thrown away may do something once more, to end
                    self._forget()
                    gc.collect()
                # Greenlets that wait for ever are not thrown away, nor what they hold.
                gc.freeze()
        finally:
            sys.unraisablehook = hook

    def _forget(self) -> None:
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        for left in (self._ready, self._timers, self._graveyard):
            left.clear()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        raise AssertionError("a thread in the simulation")

    def run_in_executor(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise AssertionError("a thread in the simulation")


def new_loop(seed: int) -> Loop:
    """A loop; what nobody needs of one it has not."""
    return Loop(seed)  # type: ignore[abstract]


def _silent(_: object) -> None:
    """What is thrown away complains."""


@contextmanager
def environment(loop: Loop, seed: int) -> Iterator[None]:
    """What a process asks its machine for, drawn from the seed: clocks, chance, names never used
    twice."""
    state, source, collects = random.getstate(), random.Random(seed ^ 0x5EED), gc.isenabled()

    def token_hex(size: int = 32) -> str:
        return f"{source.getrandbits(8 * size):0{2 * size}x}"

    random.seed(seed)
    gc.disable()  # what a dead process leaves behind must not run its `finally` in the middle
    try:
        with (
            patch.object(time, "monotonic", loop.time),
            patch.object(time, "time", lambda: wall_clock(loop.now)),
            patch.object(secrets, "token_hex", token_hex),
        ):
            yield
    finally:
        random.setstate(state)
        if collects:
            gc.enable()
