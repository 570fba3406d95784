"""Purges edges: soon after a commit, or now. An extra: `pip install sqlalchemy-repocache[edges]`.

async with Purger([Varnish("http://varnish:6081", secret=...)], TagNames("shop")) as purger:
    purger.soon(purged(batch))
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Self

from repocache.background.home import Home
from repocache.background.tasks import Grace, Tasks, all_ended
from repocache.edges.backlog import wholes
from repocache.edges.edge import Edge
from repocache.edges.exchange import AsyncClient, new_client
from repocache.edges.names import EVERYTHING, TagNames
from repocache.edges.worker import EdgeWorker
from repocache.errors import (
    ConfigurationError,
    EdgeFailed,
    EdgeRefused,
    EdgeUnavailable,
    NotStarted,
    UsageError,
)
from repocache.events import Observer, check_observer, guarded, ignore
from repocache.keys import cut

MOST_AT_ONCE = 10_000
"""Tags of one `purge`: beyond it their owners as a whole."""


class Purger:
    """Tells every edge which tags to purge. An async context manager: it owns its connections and
    one task for each edge.

    `edges`: of different names. `names`: as pages have them. `observe`: is told of each purge, and
    of what failed. `most_waiting`: tags that may wait for one edge; beyond it they fold to owners
    as a whole, then to everything, so that nothing is lost. `grace`: seconds that leaving may take
    for a last try.

    Raises ConfigurationError.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        names: TagNames,
        observe: Observer = ignore,
        *,
        most_waiting: int = 10_000,
        grace: float = 5.0,
    ) -> None:
        self._edges = checked_edges(edges)
        if not isinstance(names, TagNames):
            raise ConfigurationError("Purger(names=...): give TagNames(app)")
        check_observer("Purger(observe=...)", observe)
        if most_waiting < 1:
            raise ConfigurationError(f"Purger(most_waiting={most_waiting}): at least 1")
        if not 0 <= grace < float("inf"):
            raise ConfigurationError(f"Purger(grace={grace}): seconds, 0 or more")
        self._observe = guarded(observe)
        self._grace = grace
        self._home = Home()
        self._stack = AsyncExitStack()
        self._client: AsyncClient | None = None
        self._workers = [
            EdgeWorker(edge, names, self._observe, most_waiting=most_waiting)
            for edge in self._edges
        ]

    @property
    def edges(self) -> tuple[Edge, ...]:
        return self._edges

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many tags wait for each edge, by its name."""
        return {worker.edge.name: worker.waiting for worker in self._workers}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._home.enter()
            stack.callback(self._home.leave)
            client = await stack.enter_async_context(new_client())
            for worker in self._workers:
                stack.callback(worker.tell_left)
            stack.push_async_callback(self._last_tries, client)
            # Its tasks have nothing that must end: what is under way waits again.
            tasks = await stack.enter_async_context(Tasks(Grace(0.0), self._observe))
            for worker in self._workers:
                tasks.keep(partial(worker.run, client))
            self._client = client
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def soon(self, tags: Iterable[str]) -> None:
        """Purge them as soon as each edge takes them; many calls become few requests. Never waits.
        Raises NotStarted outside the block, OtherLoop in another event loop, UsageError for a
        text."""
        self._require_running()
        told = tuple(_several(tags))
        for worker in self._workers:
            worker.tell(told)

    async def purge(self, tags: Iterable[str]) -> None:
        """Purge them at all edges, now and without another try; returns when all have. Raises
        EdgeUnavailable if one could not be reached, EdgeRefused if those that failed all refused
        it, NotStarted, OtherLoop and UsageError as `soon`."""
        self._require_running()
        client = self._client
        assert client is not None
        told = tuple(sorted(wholes(_several(tags), MOST_AT_ONCE)))
        if not told:
            return
        outcomes = await asyncio.gather(
            *(worker.deliver(client, told) for worker in self._workers), return_exceptions=True
        )
        failed: dict[str, EdgeFailed] = {}
        for worker, outcome in zip(self._workers, outcomes, strict=True):
            if isinstance(outcome, EdgeFailed):
                failed[worker.edge.name] = outcome
            elif outcome is not None:
                raise outcome
        if failed:
            raise _together(failed)

    async def purge_everything(self) -> None:
        """All pages of the application. As `purge`."""
        await self.purge((EVERYTHING,))

    def _require_running(self) -> None:
        try:
            self._home.require_running()
        except NotStarted:
            raise NotStarted(
                "the purger is not started: use it inside `async with purger:`"
            ) from None

    async def _last_tries(self, client: AsyncClient) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                await all_ended(*(worker.last_try(client) for worker in self._workers))


def _several(tags: Iterable[str]) -> Iterable[str]:
    if isinstance(tags, str):
        raise UsageError(f"tags={cut(tags)!r}: give several, as in ['user:7']")
    return tags


def _together(failed: dict[str, EdgeFailed]) -> EdgeFailed:
    """Of several edges."""
    words = "; ".join(f"{name}: {error}" for name, error in failed.items())
    away = [error for error in failed.values() if isinstance(error, EdgeUnavailable)]
    if not away:
        return EdgeRefused(words)
    asked = [error.retry_after for error in away if error.retry_after is not None]
    return EdgeUnavailable(words, retry_after=max(asked, default=None))


def checked_edges(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """As given. Raises ConfigurationError for what is no list of edges of different names."""
    if not _is_list(edges):
        raise ConfigurationError("Purger(edges=...): give a list of edges, as in [Varnish(url)]")
    for each in edges:
        if not all(hasattr(each, part) for part in ("name", "header", "limits", "purge")):
            raise ConfigurationError(
                f"Purger(edges=...): {type(each).__name__} is no edge: see repocache.edges.edge"
            )
    names = [each.name for each in edges]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"Purger(edges=...): {again[0]!r} is given more than once")
    return tuple(edges)


def _is_list(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)
