"""The primary: its two pools, its position, its history, and the moment when it becomes another
server.

Owns which server process is believed to be the primary. What follows from a new history is
`topology`'s.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from repocache.background.tasks import all_ended
from repocache.engines.driver_errors import POOLED, connecting_trouble
from repocache.engines.engine import InUse, close_engine, on_connect, on_lost
from repocache.engines.pool import return_to_pool
from repocache.engines.poolers import (
    COMMITTED,
    NOT_AS_ASKED,
    PRIMARY_POOLED,
    Opened,
    Way,
    begin_read,
)
from repocache.engines.server import SERVER, Server, read_server
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import DatabaseUnavailable, NotStarted
from repocache.events import (
    ClockJumped,
    Degraded,
    HistoryChanged,
    NodeBack,
    NodeOut,
    Observer,
    Out,
    Sampled,
)
from repocache.history import is_newer
from repocache.nodes.clock import ALLOWED, Outages, PrimaryClock
from repocache.nodes.lineage import Lineage
from repocache.nodes.probe import PrimaryReading, Probe, ProbeFailed, refuses_positions
from repocache.nodes.record_completion import RecordCompletion
from repocache.nodes.shared_poll import SharedPoll
from repocache.nodes.wal import PrimaryPosition, PrimaryView, Trail
from repocache.redaction.foreign import in_brief

NAME = "primary"
LONGEST_PAUSE = 2.0
HURRY = 0.25
"""Seconds between two looks by name at once, however often somebody lives in another history."""
BY_TIME = (
    "replicas cannot prove what they have replayed: a session reads the primary for a while after "
    "it wrote, only the primary fills caches, and replicas do not leave the rotation for lagging; "
    "on PostgreSQL let the role execute pg_control_system()"
)


class Primary:
    """The node that is written to. `changed(history, another)` is called when it turns out to write
    another history; `another`: it is another server, of the same timeline."""

    def __init__(
        self,
        engines: tuple[AsyncEngine, AsyncEngine, AsyncEngine],
        settings: TopologySettings,
        changed: Callable[[str, bool], None],
        observe: Observer,
    ) -> None:
        #: Transactions.
        #: Read-only single statements, a pool of its own, so that cached reads inside a unit of
        #: work never wait for the work's connection.
        self.write_engine, self.engine, probing = engines
        self.poll = SharedPoll(self._poll, settings.sample_every, observe)
        self.way = Way()
        self.probe = Probe(
            probing, settings.connect_timeout, settings.probe_timeout, self.poll.nudge, self.way
        )
        self._completion = RecordCompletion(self.probe, observe)
        self.in_flight = 0
        #: Why it does not answer, empty if it does.
        self.out = ""
        #: It takes connections, or keeps them, and says nothing.
        self.silent = False
        #: `clock`, `outages`: what bookmarks live by.
        self.clock = PrimaryClock(time.monotonic, time.time)
        self.outages = Outages()
        #: Seconds, the longest that one lives.
        self.life = math.inf
        self._reads = InUse(self.engine)
        self._writes = InUse(self.write_engine)
        self._heard_at = 0.0
        self._closed = False
        self._explained = False
        self._insert = 0
        self._began = 0.0
        self._suspected = False
        self._hurried_at = -math.inf
        #: Who it is, and who it was.
        self.lineage = Lineage()
        self._address = ""
        self._trail = Trail()
        self._pause = settings.sample_every
        self._failures = 0
        self._retry_at = 0.0
        self._changed = changed
        self._observe = observe
        for engine in (self.write_engine, self.engine):
            self.follow(engine)
            event.listen(engine.sync_engine, "do_connect", self._connecting)
        on_connect(self.engine, self._reads_connected)

    def follow(self, engine: AsyncEngine) -> None:
        """Another pool that leads to the primary: its connections are the primary's, or end."""
        self.way.follow(engine)
        on_connect(engine, self._connected)
        on_lost(engine, self.poll.nudge)
        event.listen(engine.sync_engine, "checkout", self._checked_out)

    @property
    def history(self) -> str:
        """As last seen; empty where positions are not to be had."""
        return self.lineage.history

    @property
    def view(self) -> PrimaryView | None:
        """What is known; None before the first answer, and without positions."""
        identity = self.lineage.identity
        if identity is None:
            return None
        return PrimaryView(
            identity, self.history, self._trail, self._insert, self._began, bool(self.out)
        )

    async def start(self) -> None:
        """Find out whether there are positions, and the first history. Raises
        DatabaseUnavailable."""
        self._closed = self._explained = False
        self._completion.begin()
        try:
            await self._connect_probe()
            await self._sample()
        except Exception as error:
            if not self.probe.positions or not refuses_positions(error):
                await self.probe.drop()
                raise DatabaseUnavailable(
                    f"the primary does not answer: {in_brief(error)}"
                ) from error
            self.probe.positions = False
        self._heard_at = self.clock.now()
        if not self.probe.positions:
            self._observe(Degraded("positions", BY_TIME))

    async def position(self) -> PrimaryPosition | None:
        """From a poll that began after this call; None if none can be had."""
        return await self.poll.ask()

    async def open(self, level: str = COMMITTED) -> Opened:
        """A connection of the read-only pool; where it may lead to another server with each
        transaction, in one of this isolation level. Raises what the driver raises, and
        DatabaseUnavailable for a server that is not the primary."""
        connection = await self.way.connect(self.engine)
        try:
            begun = bool(self.way.reason)
            if begun:
                await begin_read(connection, level, positions=self.probe.positions)
                self._require_primary((await connection.get_raw_connection()).info.get(SERVER))
        except BaseException:
            await return_to_pool(connection)
            raise
        return Opened(connection, begun)

    def met(self, history: str) -> None:
        """Another process lives in this history: if it is none of ours, look by name who the
        primary is. Once for each, and for one of a newer timeline until it is found: ours has been
        replaced. Anybody may say so: at once only every `HURRY` seconds, else with the next poll.
        """
        if not self.lineage.is_news(history):
            return
        self._suspected, now = True, time.monotonic()
        if now - self._hurried_at >= HURRY:
            self._hurried_at = now
            self.poll.nudge()

    def suspect(self) -> None:
        """The next poll connects anew, by name, and sees who answers there."""
        self._suspected = True
        self.poll.nudge()

    def complete(self, end: int) -> None:
        """A replica waits for the rest of the record amid which the flushed WAL ends, here
        (`cut_record`). The next poll has it flushed; once for each such end."""
        if end == self._trail.newest and self._completion.want(end):
            self.poll.nudge()

    async def close(self, grace: float) -> None:
        """Close all connections; no new one is made until it is started again. Those that are not
        closed within `grace` seconds are hung up on."""
        self._closed = True
        await self.probe.drop()
        if self.silent:
            grace = 0.0
        await all_ended(
            close_engine(self.engine, self._reads, grace),
            close_engine(self.write_engine, self._writes, grace),
        )

    async def _poll(self) -> PrimaryPosition | None:
        if not self.probe.connected and time.monotonic() < self._retry_at:
            return None
        began = self.clock.now()
        try:
            position = await self._sample_twice()
        except Exception as error:  # noqa: BLE001
            # Whatever it is, the primary's position is not known.
            self._failed(error)
            return None
        self._failures = 0
        self._heard_at = began
        if self.out:
            self.out, self.silent = "", False
            self.outages.ended(self.clock.now())
            self._observe(NodeBack(NAME))
        await self._completion.run()
        return position

    async def _sample_twice(self) -> PrimaryPosition | None:
        """One sample; a connection that died unnoticed since the last one is replaced at once."""
        if self.probe.connected and not self._suspected:
            try:
                return await self._sample()
            except TimeoutError:
                raise
            except Exception as error:
                if not (isinstance(error, ProbeFailed) or connecting_trouble(error)):
                    raise
        self._suspected = False
        await self._connect_probe()
        return await self._sample()

    async def _connect_probe(self) -> None:
        await self.probe.connect()
        self._explain()

    def _explain(self) -> None:
        """That not all is as it would be without a pooler: told once."""
        reason = self.way.reason
        if reason and not self._explained:
            self._explained = True
            self._observe(
                Degraded(NAME, PRIMARY_POOLED if reason == POOLED else NOT_AS_ASKED[reason])
            )

    async def _sample(self) -> PrimaryPosition | None:
        began = time.monotonic()
        if not self.probe.positions:
            clock = await self.probe.clock()
            if clock is not None:
                self._tell_time(clock, began, time.monotonic())
            return None
        reading = await self.probe.primary()
        if is_newer(self.history, reading.identity.history):
            await self.probe.drop()
            raise ProbeFailed(Out.OLDER_TIMELINE)
        self._tell_time(reading.clock, reading.began, reading.ended)
        self._believe(reading)
        self._trail.add(reading.flush, reading.began)
        self._insert, self._began = reading.insert, reading.began
        self._observe(Sampled(NAME, reading.flush, 0, 0.0))
        return PrimaryPosition(self.history, reading.flush, reading.insert)

    def _tell_time(self, clock: float, began: float, ended: float) -> None:
        """A clock that jumps, as that of another server may, has told no time since it was last
        heard."""
        jump = self.clock.told(clock, began, ended)
        if abs(jump) > ALLOWED:
            self.outages.began(self._heard_at, self.life)
            self.outages.ended(self.clock.now())
            self._observe(ClockJumped(jump, ALLOWED))

    def _believe(self, reading: PrimaryReading) -> None:
        before, now, old = self.lineage.identity, reading.identity, self.history
        address, self._address = self._address, reading.address
        self.lineage.believe(now)
        if before is None or now == before:
            return
        self._trail.clear()
        self._observe(HistoryChanged(old, self.history))
        self._changed(self.history, before[:2] == now[:2] and address != reading.address)

    def _failed(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + min(self._pause * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 16)
        why = (
            error.why
            if isinstance(error, ProbeFailed)
            else connecting_trouble(error) or f"{Out.LOST}: {in_brief(error)}"
        )
        self.silent = isinstance(error, TimeoutError)
        if self.silent:
            self._reads.hang_up()
        if not self.out:
            self.outages.began(self._heard_at, self.life)
        if why != self.out:
            self.out = why
            self._observe(NodeOut(NAME, why))

    def _connecting(self, *_: object) -> None:
        """What a session that outlives the database wrote would be published by nobody. Raises
        NotStarted."""
        if self._closed:
            raise NotStarted

    def _connected(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        """A new connection must lead to a primary; one that leads to another server than the
        probe's makes it look again.

        1. The primary fails over; its old server lives on, and the probe is still connected to it.
        2. A unit of work connects by name, reaches the new primary and commits. 3. The probe must
        not answer with the old one's position.
        """
        if not self.probe.positions:
            return
        server = read_server(connection)
        entry.info[SERVER] = server
        self._learn(server, entry.driver_connection)
        self._require_primary(server)
        if self.lineage.is_another(server):
            self._suspected = True
            self.poll.nudge()

    def _learn(self, server: Server, driver: object) -> None:
        """Whether a pooler is in the primary's place. Of the pools only that for reads is
        read-only."""
        try:
            self.way.learn(server._replace(read_only=True), driver)
        finally:
            self._explain()

    def _require_primary(self, server: object) -> None:
        if not isinstance(server, Server):
            return
        if server.in_recovery:
            self.poll.nudge()
            raise DatabaseUnavailable(
                "the address of the primary leads to a server that is in recovery"
            )
        if self.lineage.is_past(server):
            raise DatabaseUnavailable(
                "the address of the primary leads to one that has been replaced"
            )

    def _reads_connected(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        """A read must not be able to write, unseen. A SET would not do: behind a pooler it may be
        the session of somebody else that is set."""
        if self.engine.dialect.name != "postgresql":
            return
        server = entry.info.get(SERVER)
        if isinstance(server, Server):
            self.way.learn(server, entry.driver_connection)
        else:
            self.way.learn_without_positions(connection)
        self._explain()

    def _checked_out(self, _: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
        server = entry.info.get(SERVER)
        if isinstance(server, Server) and self.lineage.is_past(server):
            raise InvalidatePoolError(
                "the connection leads to a server that is the primary no more"
            )
