"""What one edge is told, one call after another: a dead edge makes no other one wait.

Owns when a call is made, and that what an edge did not take is tried again. What waits is
`backlog`'s, how often it may be asked `allowance`'s, how long to wait `pauses`'.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Sequence

from repocache.edges.allowance import Allowance
from repocache.edges.backlog import EdgeBacklog
from repocache.edges.edge import Edge
from repocache.edges.exchange import AsyncClient
from repocache.edges.names import TagNames
from repocache.edges.pauses import pause
from repocache.errors import EdgeFailed, EdgeRefused, EdgeUnavailable
from repocache.events import (
    EdgeBacklogFolded,
    EdgeBacklogLeft,
    EdgePurged,
    EdgePurgeFailed,
    Observer,
)
from repocache.redaction.foreign import in_brief


class EdgeWorker:
    """Of one edge, in one event loop. `most_waiting`: tags."""

    def __init__(
        self, edge: Edge, names: TagNames, observe: Observer, *, most_waiting: int
    ) -> None:
        self.edge = edge
        self._names = names
        self._observe = observe
        self._backlog = EdgeBacklog(most_waiting)
        self._allowance = Allowance.full(edge.limits.requests_a_second)
        self._some = asyncio.Event()
        self._tries = 0

    @property
    def waiting(self) -> int:
        """Tags."""
        return len(self._backlog)

    def tell(self, tags: Iterable[str]) -> None:
        """They wait from now on."""
        self._keep_bounded(self._backlog.add(tags, time.monotonic()))

    async def run(self, client: AsyncClient) -> None:
        """For ever: until the task is cancelled. What is under way then waits again."""
        while True:
            await self._some.wait()
            failure = await self._turn(client, final=False)
            if failure is not None:
                await asyncio.sleep(pause(failure, self._tries, random.random()))  # noqa: S311

    async def last_try(self, client: AsyncClient) -> None:
        """All that waits, until it fails once."""
        while len(self._backlog):
            if await self._turn(client, final=True) is not None:
                return

    def tell_left(self) -> None:
        """Nobody will try again."""
        if len(self._backlog):
            self._observe(EdgeBacklogLeft(self.edge.name, len(self._backlog)))

    async def deliver(self, client: AsyncClient, tags: Sequence[str]) -> None:
        """These now, beside what waits, without another try. Raises EdgeFailed."""
        began, most = time.monotonic(), self.edge.limits.most_tags_a_request
        parts = [tags[at : at + most] for at in range(0, len(tags), most)]
        for part in parts:
            await self._allowed()
            try:
                await self._send(client, part)
            except EdgeFailed as error:
                self._tell_failed(error, len(tags), 1)
                raise
        seconds = time.monotonic() - began
        self._observe(EdgePurged(self.edge.name, len(tags), seconds, len(parts), final=False))

    async def _turn(self, client: AsyncClient, *, final: bool) -> EdgeFailed | None:
        """One call. What comes while it waits for its turn goes with it. Why it failed, if it
        did."""
        await self._allowed()
        taken = self._backlog.take(self.edge.limits.most_tags_a_request)
        left: dict[str, float] = taken
        try:
            await self._send(client, list(taken))
            left = {}
        except EdgeFailed as error:
            self._tries += 1
            self._tell_failed(error, len(taken), self._tries)
            return error
        finally:
            self._keep_bounded(self._backlog.put_back(left))
        self._tries = 0
        seconds = time.monotonic() - min(taken.values())
        self._observe(EdgePurged(self.edge.name, len(taken), seconds, 1, final))
        return None

    def _tell_failed(self, error: EdgeFailed, tags: int, tries: int) -> None:
        refused = isinstance(error, EdgeRefused)
        self._observe(EdgePurgeFailed(self.edge.name, tags, f"{error}", tries, refused))

    async def _allowed(self) -> None:
        self._allowance, wait = self._allowance.reserved(time.monotonic())
        if wait:
            await asyncio.sleep(wait)

    async def _send(self, client: AsyncClient, tags: Sequence[str]) -> None:
        """Raises EdgeFailed, whatever went wrong."""
        seconds = self.edge.limits.seconds
        try:
            async with asyncio.timeout(seconds):
                await self.edge.purge(client, [self._names.name(tag) for tag in tags])
        except EdgeFailed:
            raise
        except TimeoutError as error:
            raise EdgeUnavailable(f"no answer within {seconds:g} seconds") from error
        except Exception as error:
            # An edge, or a function, of the application's own: nobody else would try again.
            raise EdgeUnavailable(in_brief(error)) from error

    def _keep_bounded(self, folded: int) -> None:
        if folded:
            self._observe(EdgeBacklogFolded(self.edge.name, folded))
        if len(self._backlog):
            self._some.set()
        else:
            self._some.clear()
