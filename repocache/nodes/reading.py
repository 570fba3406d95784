"""The way of one read from node to node: replicas that have what it needs, then the primary under
its budget.

Owns retries, the wait for a replica that is behind, and the fallback. The choice itself is
`selection`'s.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.driver_errors import connecting_trouble, statement_trouble
from repocache.engines.lent import lend
from repocache.engines.pool import return_to_pool
from repocache.engines.poolers import COMMITTED, REPEATABLE
from repocache.engines.server import SERVER
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import DatabaseUnavailable
from repocache.events import Observer, Out, Routed
from repocache.nodes.budget import PlaceCount, PrimaryBudget
from repocache.nodes.primary import NAME, Primary
from repocache.nodes.replica import Moved, ReplicaNode
from repocache.nodes.selection import Choice, ReadRequirement, choose_node
from repocache.nodes.stamps import UNKNOWN, Stamp, shown_by_primary
from repocache.nodes.wal import Sample
from repocache.redaction.foreign import in_brief

T = TypeVar("T")
TRIES = 8
"""How often a read may find that its sample died, before it goes to the primary."""
FIRST_POLL = 0.1
"""Seconds that a read waits for the poll that may find it a replica: a silent one must not hold it
up."""
PAUSE = 0.002
"""Seconds between polls while a read waits for a replica to catch up."""

FAILED = "replicas failed"
UNTOLD = "replicas cannot tell how new what they showed is"


@dataclass(frozen=True, slots=True)
class NodeRead(Generic[T]):
    """What a read brought. `node`: who answered; `why`: the reason for that node.

    `stamp`: what it shows of which history, if the need was `stamped`.
    """

    value: T
    node: str
    why: str
    history: str
    at_least: int
    stamp: Stamp = UNKNOWN


@dataclass(frozen=True, slots=True)
class NodeLease:
    """A connection that one read may use now. `node`: None for the primary; `budgeted`: it stands
    in for a replica. `begun`: it is in its transaction already. `client`: who is charged for it."""

    connection: AsyncConnection
    node: ReplicaNode | None
    why: str
    sample: Sample | None = None
    budgeted: bool = False
    begun: bool = False
    client: object = None


class NodeReader:
    """Finds each read a node, in one event loop. Public methods are `Topology`'s, and described
    there."""

    def __init__(
        self,
        primary: Primary,
        replicas: Sequence[ReplicaNode],
        settings: TopologySettings,
        observe: Observer,
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._budget = PrimaryBudget(settings.primary_reads, settings.primary_wait)
        self._wait = settings.catch_up_wait
        self._observe = observe
        self._under_way = 0
        self._idle = asyncio.Event()

    @property
    def primary_places(self) -> PlaceCount:
        return self._budget.count

    async def rest(self, seconds: float) -> None:
        """Wait for the reads under way: a connection that is given back to a closed pool is closed
        by nobody."""
        if self._under_way:
            self._idle.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)

    async def read(
        self, need: ReadRequirement, run: Callable[[AsyncConnection], Awaitable[T]]
    ) -> NodeRead[T]:
        self._under_way += 1
        try:
            return await self._read(need, run)
        finally:
            self._ended()

    def _ended(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def _read(
        self, need: ReadRequirement, run: Callable[[AsyncConnection], Awaitable[T]]
    ) -> NodeRead[T]:
        tried: dict[ReplicaNode | None, str] = {}
        primary_failed = False
        while True:
            turn = await self._open(need, tried)
            try:
                value = await run(turn.connection)
            except Exception as error:
                trouble = statement_trouble(error, replica=turn.node is not None)
                if not trouble:
                    raise
                if turn.node is not None:
                    tried[turn.node] = FAILED
                    if trouble == Out.LOST:
                        turn.node.lose(trouble)
                elif primary_failed:
                    raise DatabaseUnavailable(f"the primary failed: {in_brief(error)}") from error
                else:
                    # Its pooled connection may have died unnoticed; the next one is new.
                    primary_failed = True
            else:
                stamp = await self._stamp(turn) if need.stamped else UNKNOWN
                if stamp is not None:
                    return _outcome(turn, value, stamp)
                tried[turn.node] = UNTOLD
            finally:
                await self._close(turn)

    @asynccontextmanager
    async def snapshot(
        self, need: ReadRequirement, shown: Callable[[Stamp], None]
    ) -> AsyncIterator[AsyncConnection]:
        self._under_way += 1
        try:
            async with self._transaction(need, shown) as connection:
                yield connection
        finally:
            self._ended()

    @asynccontextmanager
    async def _transaction(
        self, need: ReadRequirement, shown: Callable[[Stamp], None]
    ) -> AsyncIterator[AsyncConnection]:
        tried: dict[ReplicaNode | None, str] = {}
        while True:
            turn = await self._open(need, tried, REPEATABLE)
            try:
                await lend(turn.connection)
                async with _repeatable(turn):
                    stamp = await self._stamp_of_snapshot(turn) if need.stamped else UNKNOWN
                    if stamp is not None:
                        shown(stamp)
                        yield turn.connection
                        return
                    tried[turn.node] = UNTOLD
            finally:
                await self._close(turn)

    async def _open(
        self, need: ReadRequirement, tried: dict[ReplicaNode | None, str], level: str = COMMITTED
    ) -> NodeLease:
        """A connection to a node that has what is needed; replicas that fail are added to `tried`,
        with why. `level`: of isolation, where it has to be in a transaction (`poolers`)."""
        if need.unmet:
            raise DatabaseUnavailable(f"no node may answer: {need.unmet}")
        polled = False
        for _ in range(TRIES):
            replicas = (
                [node for node in self._replicas if node not in tried] if tried else self._replicas
            )
            choice = choose_node(replicas, need, time.monotonic(), random.random)
            if choice.node is None and choice.curable and not polled:
                polled = True
                choice = await self._catch_up(replicas, need)
            if choice.node is None:
                return await self._open_primary(
                    need, next(reversed(tried.values()), choice.why), level
                )
            try:
                return await self._open_replica(choice.node, need, choice.why, level)
            except Moved:
                polled = False
            except Exception as error:
                trouble = connecting_trouble(error)
                if not trouble:
                    raise
                tried[choice.node] = FAILED
                if trouble != Out.BUSY:
                    choice.node.lose(trouble)
        return await self._open_primary(need, "replicas unsettled", level)

    async def _open_replica(
        self, node: ReplicaNode, need: ReadRequirement, why: str, level: str
    ) -> NodeLease:
        sample = node.sample
        node.in_flight += 1
        try:
            opened = await node.open(need, level)
        except BaseException:
            node.in_flight -= 1
            raise
        self._observe(Routed(node.name, why))
        return NodeLease(opened.connection, node, why, sample, begun=opened.begun)

    async def _open_primary(self, need: ReadRequirement, why: str, level: str) -> NodeLease:
        fallback = bool(self._replicas) and not need.asked
        if fallback and not need.fallback:
            raise DatabaseUnavailable(f"no replica may answer ({why}): {self._status()}")
        if self._primary.silent:
            raise DatabaseUnavailable(
                f"no node answers ({why}): the primary is silent; {self._status()}"
            )
        client = need.driven_by(why)
        if fallback:
            await self._budget.acquire(f"{why}; {self._status()}", client)
        self._primary.in_flight += 1
        try:
            opened = await self._primary.open(level)
        except BaseException as error:
            self._primary.in_flight -= 1
            if fallback:
                self._budget.release(client)
            if isinstance(error, Exception) and (trouble := connecting_trouble(error)):
                raise DatabaseUnavailable(
                    f"no node answers ({why}): the primary is {trouble} ({in_brief(error)}); "
                    f"{self._status()}"
                ) from error
            raise
        self._observe(Routed(NAME, why))
        return NodeLease(
            opened.connection, None, why, budgeted=fallback, begun=opened.begun, client=client
        )

    async def _close(self, turn: NodeLease) -> None:
        try:
            kept = await return_to_pool(turn.connection)
        finally:
            if turn.node is not None:
                turn.node.in_flight -= 1
            else:
                self._primary.in_flight -= 1
            if turn.budgeted:
                self._budget.release(turn.client)
        if not kept and turn.node is not None:
            turn.node.lose(Out.LOST)

    async def _catch_up(
        self, replicas: Sequence[ReplicaNode], need: ReadRequirement
    ) -> Choice[ReplicaNode]:
        """Poll once, shared by all who wait, and then for `catch_up_wait` seconds more."""
        limit, until = FIRST_POLL, time.monotonic() + self._wait
        while True:
            choice = await self._polled(replicas, need, limit)
            now = time.monotonic()
            if choice.node is not None or not choice.curable or now >= until:
                return choice
            limit = until - now
            await asyncio.sleep(min(PAUSE, limit))

    async def _polled(
        self, replicas: Sequence[ReplicaNode], need: ReadRequirement, limit: float
    ) -> Choice[ReplicaNode]:
        """The choice after the first fresh samples that allow one, or after `limit` seconds."""
        until = time.monotonic() + limit
        asked = {node.poll.ask() for node in replicas if not node.down}
        while True:
            answered: set[asyncio.Future[Sample | None]] = set()
            if asked:
                answered, asked = await asyncio.wait(
                    asked, timeout=until - time.monotonic(), return_when=asyncio.FIRST_COMPLETED
                )
            choice = choose_node(replicas, need, time.monotonic(), random.random)
            if choice.node is not None or not asked or not answered:
                return choice

    async def _stamp(self, turn: NodeLease) -> Stamp | None:
        """The position that what was read cannot be newer than, polled after the read; None if a
        replica cannot tell, and another node has to be read:

        1. the primary fails over, and its old server lives on; 2. a replica follows the new one
        already, and is read by a sample of before; 3. whose it is and how far cannot be told any
        more, and the session's next read would be the old primary's, here or elsewhere.

        A replica tells only of what it vouched for before, and only if it has not begun another
        life, further back, since it answered.
        """
        node, sample = turn.node, turn.sample
        if node is None:
            line = "" if turn.connection.invalidated else await self._line(turn.connection)
            return shown_by_primary(line, self._primary.history, await self._primary.position())
        if not node.probe.positions:
            return UNKNOWN
        after = await node.poll.ask()
        if after is None or sample is None or after.history != sample.history:
            return None
        # A connection that was lost is made anew when it is asked for: it would tell of another
        # life.
        if turn.connection.invalidated or after.process != await node.life(turn.connection):
            return None
        return None if after.at_most is None else Stamp(after.history, after.at_most, primary=False)

    async def _stamp_of_snapshot(self, turn: NodeLease) -> Stamp | None:
        """The same of a transaction that has shown nothing yet: its first statement settles what it
        sees (PostgreSQL, SET TRANSACTION: REPEATABLE READ)."""
        try:
            await turn.connection.exec_driver_sql("SELECT 1")
        except Exception as error:
            if not statement_trouble(error, replica=turn.node is not None):
                raise
            if turn.node is None:
                raise DatabaseUnavailable(f"the primary failed: {in_brief(error)}") from error
            return None
        return await self._stamp(turn)

    async def _line(self, connection: AsyncConnection) -> str:
        """Of the server that the connection leads to, as far as it is known."""
        with suppress(DatabaseUnavailable):
            return self._primary.lineage.writes_with(
                (await connection.get_raw_connection()).info.get(SERVER)
            )
        return ""

    def _status(self) -> str:
        states = [f"{node.name} {node.out or 'in rotation'}" for node in self._replicas]
        return f"replicas: {', '.join(states)}"


def _outcome(turn: NodeLease, value: T, stamp: Stamp) -> NodeRead[T]:
    sample = turn.sample
    history, at_least = (sample.history, sample.position) if sample else ("", 0)
    return NodeRead(
        value, turn.node.name if turn.node else NAME, turn.why, history, at_least, stamp
    )


@asynccontextmanager
async def _repeatable(turn: NodeLease) -> AsyncIterator[None]:
    """A REPEATABLE READ, READ ONLY transaction. It ends when the connection is given back."""
    connection = turn.connection
    if turn.begun:
        yield
    elif connection.dialect.name == "postgresql":
        await connection.execution_options(isolation_level=REPEATABLE, postgresql_readonly=True)
        await connection.begin()
        yield
    else:
        await connection.execute(text("BEGIN"))
        try:
            yield
        finally:
            await connection.execute(text("ROLLBACK"))
