"""The nodes of one database cluster, started and stopped together: who they are and where the
primary stands.

Owns the sampling tasks and what follows from a new history. How a read finds its node is
`reading`'s, what a session needs `routing`'s.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repocache.background.home import Home
from repocache.background.tasks import Grace, Tasks, all_ended
from repocache.engines.database_url import DatabaseUrl, database_url, primary_url
from repocache.engines.engine import Purpose, make_engine
from repocache.engines.outdated_plans import OutdatedPlans
from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.errors import ConfigurationError, NotStarted
from repocache.events import Degraded, HookFailed, Observer, guarded, ignore
from repocache.nodes.budget import PlaceCount
from repocache.nodes.lineage import Lineage
from repocache.nodes.primary import NAME, Primary
from repocache.nodes.reading import NodeRead, NodeReader
from repocache.nodes.replica import ReplicaNode
from repocache.nodes.replica_set import ReplicaSet
from repocache.nodes.selection import ANYTHING, ReadRequirement
from repocache.nodes.stamps import Stamp
from repocache.nodes.wal import PrimaryPosition, Sample
from repocache.redaction.foreign import in_brief

T = TypeVar("T")
Engines = Callable[[URL, Purpose, TopologySettings], AsyncEngine]
GRACE = 5.0
"""Seconds that closing waits for what is under way."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node as a status page shows it. `out`: why it is not in the rotation, empty if it is."""

    name: str
    out: str
    in_flight: int
    sample: Sample | None


def unheard(stamp: Stamp) -> None:
    """Nobody wants to know."""


class Topology:
    """A primary and its replicas; an async context manager, for one event loop at a time.

    `primary`: a SQLAlchemy URL with an async driver. `replicas`: URLs or `Replica` values, may be
    empty. `engines`: makes the engine of a node and purpose. `grace`: what is left of the time that
    leaving may take.

    Raises ConfigurationError for what can be seen to be wrong at once; DatabaseUnavailable on
    entering if the primary does not answer (it has to say whether there are positions).
    """

    def __init__(
        self,
        primary: DatabaseUrl,
        replicas: Sequence[DatabaseUrl | Replica] = (),
        settings: TopologySettings | None = None,
        observe: Observer = ignore,
        engines: Engines = make_engine,
    ) -> None:
        self.settings = settings = settings or TopologySettings()
        self._engines = engines
        self._observe = guarded(observe)
        self._heard: list[Callable[[str], None]] = []
        self._home = Home()
        self._started = False
        self._life = math.inf
        self.grace = Grace(GRACE)
        self._url = primary_url(primary)
        self._named = named(replicas)
        self._build()

    def _build(self) -> None:
        """The nodes and their pools, with no connection yet. What was built before is dropped, not
        closed: its loop is gone."""
        url, settings = self._url, self.settings
        self._planned = engines = OutdatedPlans(self._engines)
        reads = replace(settings, pool_size=max(settings.pool_size, settings.primary_reads))
        made = (
            engines(url, Purpose.WRITE, settings),
            engines(url, Purpose.READ, reads),
            engines(url, Purpose.PROBE, settings),
        )
        self._open = AsyncExitStack()
        self._primary = Primary(made, settings, self._changed, self._observe)
        self._primary.life = self._life
        nodes = [self._node(replica) for replica in self._named]
        self._set = ReplicaSet(nodes, GRACE, self._observe)
        self._replicas = self._set.nodes

    @property
    def urls(self) -> dict[str, URL]:
        """The nodes', by name."""
        return {NAME: self._url} | {each.name: _url_of(each) for each in self._named}

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """As they were given last, each with its name."""
        return tuple(self._named)

    def change_replicas(self, replicas: Sequence[DatabaseUrl | Replica]) -> None:
        """These from now on, as `ReplicaSet.change` does it; who has kept name and URL goes on as
        he is. Raises ConfigurationError, and OtherLoop while it runs: then nothing has changed."""
        given = named(replicas)
        if self._set.running and not self._home.abandoned:
            self._home.require_running()
        now = zip(self._named, self._replicas, strict=True)
        kept = {(each.name, _url_of(each)): node for each, node in now}
        nodes = [kept.get((each.name, _url_of(each))) or self._node(each) for each in given]
        for each, node in zip(given, nodes, strict=True):
            node.weight = each.weight
        self._named = given
        if self._home.abandoned:
            self._replicas[:] = nodes  # nothing of it runs, and all is built anew on entering
            return
        self._set.change(nodes)
        if self._started:
            self._tell_without()

    @property
    def write_engine(self) -> AsyncEngine:
        """The primary's engine for transactions."""
        return self._primary.write_engine

    def outbox_engine(self) -> AsyncEngine:
        """Another pool on the primary, for the outbox's own transactions. Whoever asks for it
        disposes of it."""
        engine = self._planned(self._url, Purpose.OUTBOX, self.settings)
        self._primary.follow(engine)
        return engine

    def engine_beside(self, name: str) -> AsyncEngine:
        """An engine of its own to a node, for who looks at it from outside: read-only, without a
        pool, and there before this is started. Whoever asks for it disposes of it."""
        return self._engines(self.urls[name], Purpose.PROBE, self.settings)

    @property
    def history(self) -> str:
        """The primary's history as last seen; empty where positions are not to be had. Raises
        NotStarted."""
        if not self._started:
            raise NotStarted
        return self._primary.history

    @property
    def lineage(self) -> Lineage:
        """Who the primary is: shared, and always as last seen."""
        return self._primary.lineage

    @property
    def newest(self) -> int:
        """The end of the primary's WAL when it was last polled, bytes; 0 where positions are not to
        be had."""
        view = self._primary.view
        return view.insert if view else 0

    def now(self) -> float:
        """Unix time in seconds by the primary's clock, the one that bookmarks live by."""
        return self._primary.clock.now()

    def bookmarks_live(self, seconds: float) -> None:
        """The longest life of a bookmark; see `clock.Outages`."""
        self._life = self._primary.life = seconds

    def counts_until(self, expires: float, life: float) -> float:
        """When the life of a bookmark really ends: not while the primary is not heard, nor right
        after."""
        return self._primary.outages.counts_until(expires, life)

    def met(self, history: str) -> None:
        """Another process lives in this history; see `Primary.met`. The next poll may connect anew,
        by name."""
        self._primary.met(history)

    @property
    def nodes(self) -> tuple[NodeStatus, ...]:
        """All nodes as they are now, the primary first."""
        primary = NodeStatus(NAME, self._primary.out, self._primary.in_flight, None)
        return primary, *(NodeStatus(n.name, n.out, n.in_flight, n.sample) for n in self._replicas)

    @property
    def primary_places(self) -> PlaceCount:
        """For reads that the primary stands in for."""
        return self._reader.primary_places

    def on_history(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with each new history, on the event loop and before any position of it is
        given out.

        It must not block; an exception in it is reported as HookFailed and changes nothing.
        """
        self._heard.append(heard)

    async def position(self) -> PrimaryPosition | None:
        """Where the primary's WAL stands, from a poll begun after this call; None if that cannot be
        had.

        Callers at one moment share the next poll, never one in flight (protocol, Write path 4 and
        "settle"). One round trip; at the worst about `connect_timeout + 2 * probe_timeout` seconds.
        Raises only NotStarted.
        """
        self.require_started()
        return await self._primary.position()

    async def read(
        self, need: ReadRequirement, run: Callable[[AsyncConnection], Awaitable[T]]
    ) -> NodeRead[T]:
        """Run one read-only statement on a node that has what is needed (protocol, Read path 4).

        `run` gets an AUTOCOMMIT connection, and is called again with another node's if the first
        fails it: a connection lost or refused, a conflict with recovery. Errors of the statement
        itself are raised as they are. Raises PrimaryBudgetExceeded, DatabaseUnavailable if no node
        answers, NotStarted.
        """
        self.require_started()
        return await self._reader.read(need, run)

    def snapshot(
        self, need: ReadRequirement = ANYTHING, shown: Callable[[Stamp], None] = unheard
    ) -> AbstractAsyncContextManager[AsyncConnection]:
        """One REPEATABLE READ, READ ONLY transaction on one node that has what is needed, for
        reports.

        All its statements see the same moment. Raises as `read` on entering; once open, nothing is
        tried again. `shown`: hears, once that moment is settled and before anything is shown, what
        it cannot be newer than; nothing is known of that unless the need is `stamped`.
        """
        self.require_started()
        return self._reader.snapshot(need, shown)

    async def __aenter__(self) -> Self:
        if self._home.abandoned:
            self._home.leave()
            for probe in (self._primary.probe, *(each.probe for each in self._replicas)):
                probe.abandon()
            self._build()
        self._home.enter()
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        self.grace.renew()
        self._reader = NodeReader(self._primary, self._replicas, self.settings, self._observe)
        self._open.push_async_callback(self._close_nodes)
        tasks = await self._open.enter_async_context(Tasks(self.grace, self._observe))
        await self._primary.start()
        await self._open.enter_async_context(self._primary.poll)
        self._open.push_async_callback(self._set.end)
        self._set.start(tasks, positions=self._primary.probe.positions)
        self._started = True
        self._tell_without()
        await self._set.settle(tuple(self._replicas))

    def _tell_without(self) -> None:
        if not self._replicas:
            self._observe(
                Degraded(
                    "replicas", "all reads go to the primary; name some: Database(replicas=[...])"
                )
            )

    async def _stop(self) -> None:
        self._started = False
        try:
            await self._reader.rest(self.grace.left())
        finally:
            await self._open.aclose()
            self._home.leave()

    async def _close_nodes(self) -> None:
        """All at once: a silent one costs no more than is left of the grace."""
        left = self.grace.left()
        await all_ended(self._primary.close(left), *self._set.closing(left))

    def _node(self, replica: Replica) -> ReplicaNode:
        url = _url_of(replica)
        if url.get_backend_name() != self._url.get_backend_name():
            raise ConfigurationError(
                f"replicas: {replica.name} is {url.get_backend_name()}, the primary "
                f"{self._url.get_backend_name()}; a replica is a physical one of the primary"
            )
        made = (
            self._planned(url, Purpose.READ, self.settings),
            self._planned(url, Purpose.PROBE, self.settings),
        )
        return ReplicaNode(replica, made, self._primary, self.settings, self._observe)

    def _changed(self, history: str, another: bool) -> None:
        for node in self._replicas:
            node.new_history(doubtful=another)
        for heard in self._heard:
            try:
                heard(history)
            except Exception as error:  # noqa: BLE001 - a listener's failure is its own
                self._observe(HookFailed("on_history", in_brief(error)))

    def require_started(self) -> None:
        """Raises NotStarted, and OtherLoop in another loop than the one that it was entered in."""
        if not self._started:
            raise NotStarted
        self._home.check()


def _url_of(replica: Replica) -> URL:
    return database_url("replicas", replica.url)


def named(replicas: Sequence[DatabaseUrl | Replica]) -> list[Replica]:
    """The replicas, each with a name of its own. Raises ConfigurationError if two have the same."""
    if isinstance(replicas, str | URL) or not isinstance(replicas, Iterable):
        raise ConfigurationError(
            "replicas: give a list of URLs, not one text or object: replicas=[...]"
        )
    found: dict[str, Replica] = {}
    for number, given in enumerate(replicas, start=1):
        replica = given if isinstance(given, Replica) else Replica(given)
        url = database_url("replicas", replica.url)
        place = f"{url.host}:{url.port}" if url.port else url.host
        replica = replace(replica, name=replica.name or place or f"replica{number}")
        if replica.name in found or replica.name == NAME:
            raise ConfigurationError(
                f"replicas: two nodes are called {replica.name!r}; give each a name: Replica(url, "
                "name=...)"
            )
        found[replica.name] = replica
    return list(found.values())
