"""How many reads the primary may stand in for at once, so that a lost replica set does not drown it."""

from __future__ import annotations

import asyncio

from repocache.errors import ConfigurationError, PrimaryBudgetExceeded


class PrimaryBudget:
    """At most `reads` fallback reads at once; more wait in line, each at most `wait` seconds."""

    def __init__(self, reads: int, wait: float) -> None:
        if reads < 1:
            raise ConfigurationError(f"primary_reads={reads}: the primary must be allowed at least one read")
        if wait < 0:
            raise ConfigurationError(f"primary_wait={wait}: give seconds, 0 or more")
        self._reads = reads
        self._wait = wait
        self._slots = asyncio.Semaphore(reads)
        self._waiting = 0

    async def acquire(self, why: str) -> None:
        """Take a place, to be given back by `release`. `why`: what drove the read here, for the message.

        Raises PrimaryBudgetExceeded if none came free in time.
        """
        if not self._slots.locked():
            await self._slots.acquire()
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait):
                await self._slots.acquire()
        except TimeoutError:
            raise PrimaryBudgetExceeded(
                f"the primary already stands in for {self._reads} reads and no place came free within "
                f"{self._wait} s ({self._waiting - 1} more wait): {why}. Bring replicas back, or raise primary_reads "
                "if the primary can carry more"
            ) from None
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Give a place back."""
        self._slots.release()
