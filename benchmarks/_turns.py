"""The meter of the event loop's turns."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Self


class Turns:
    """The longest turn of the loop inside the block, milliseconds of CPU."""

    def __enter__(self) -> Self:
        self.longest = self.collector = self._paused = self._began = 0.0
        gc.callbacks.append(self._collecting)
        self._loop = asyncio.get_running_loop()
        self._last = time.thread_time()
        self._going = True
        self._loop.call_soon(self._tick)
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        gc.callbacks.remove(self._collecting)

    def _collecting(self, phase: str, _: object) -> None:
        now = time.thread_time()
        if phase == "start":
            self._began = now
            return
        self._paused += now - self._began
        self.collector = max(self.collector, 1000 * (now - self._began))

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, 1000 * (now - self._last - self._paused))
        self._last, self._paused = now, 0.0
        if self._going:
            self._loop.call_soon(self._tick)
