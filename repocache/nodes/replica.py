"""One replica: its pool, its sample, and when the sample dies.

Owns what is believed of one replica at the moment. Which replica is chosen is `selection`'s, what a
reading is worth `wal`'s.
"""

from __future__ import annotations

import math
import time

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from repocache.engines.driver_errors import connecting_trouble
from repocache.engines.engine import InUse, close_engine, on_connect, on_lost
from repocache.engines.pool import return_to_pool
from repocache.engines.poolers import COMMITTED, NOT_AS_ASKED, Opened, Way, begin_read
from repocache.engines.server import SERVER, Process, Server, read_server
from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.events import Degraded, NodeBack, NodeOut, Observer, Out, Sampled
from repocache.nodes.cut_record import CutRecord, cut_record, is_overdue
from repocache.nodes.primary import Primary
from repocache.nodes.probe import REPLICA_SQL, Probe, ProbeFailed, replica_reading
from repocache.nodes.receivers import Receivers
from repocache.nodes.selection import ReadRequirement, satisfies
from repocache.nodes.shared_poll import SharedPoll
from repocache.nodes.wal import (
    LagLimit,
    ReplicaReading,
    Sample,
    judge,
    judge_without_positions,
    ran_ahead,
)
from repocache.redaction.foreign import in_brief

TRIES = 3
LONGEST_PAUSE = 2.0
REMOVED = "removed"
"""Why a replica is out that the application has taken away: no event, for it knows."""


class Moved(Exception):
    """The sample that a node was chosen by died before its connection was had: choose again."""


class ReplicaNode:
    """A replica in the topology; what `choice.Candidate` wants to know of it is public.

    `deaths` counts how often the sample died. `poll` answers with the new sample, None if the
    replica does not answer. `sees_timeline`: False if this role is not told which timeline the
    replica receives.
    """

    def __init__(
        self,
        replica: Replica,
        engines: tuple[AsyncEngine, AsyncEngine],
        primary: Primary,
        settings: TopologySettings,
        observe: Observer,
    ) -> None:
        self.name = replica.name
        self.weight = replica.weight
        self.in_flight = 0
        self.sample: Sample | None = None
        self.down = ""
        self.deaths = 0
        self.sees_timeline = True
        self.engine, probing = engines
        self.way = Way()
        self.way.follow(self.engine)
        self.probe = Probe(
            probing, settings.connect_timeout, settings.probe_timeout, self.forget, self.way
        )
        self.poll = SharedPoll(self._poll, settings.sample_every, observe)
        self._primary = primary
        self._limit = LagLimit(settings.max_lag, settings.max_lag_bytes)
        self._observe = observe
        self._receivers = Receivers()
        self._vouched: Sample | None = None
        self._cut: CutRecord | None = None
        self._said = ""
        self._explained = ""
        self._failures = 0
        self._pause = settings.sample_every
        self._retry_at = 0.0
        self._left = False
        self._reads = InUse(self.engine)
        on_connect(self.engine, self._connected)
        on_lost(self.engine, self.forget)

    @property
    def out(self) -> str:
        """Why it is not in the rotation, empty if it is."""
        if self.sample is None:
            return self.down or "no sample"
        return self.sample.out

    async def open(self, need: ReadRequirement, level: str = COMMITTED) -> Opened:
        """A connection to the server process that the present sample belongs to. Where that may
        change with each transaction it is in one, of this isolation level.

        Raises Moved, and what the driver raises if no connection is to be had.

        The race that `deaths` is for (what broke earlier drafts, 1):
        1. the replica is chosen by its sample, position 100; 2. it crashes, restarts and goes back
        to position 90; 3. a new connection is made and would read there; 4. but making it killed
        the sample: choose again.
        """
        deaths, sample = self.deaths, self.sample
        assert sample is not None
        connection = await self.way.connect(self.engine)
        try:
            if self.deaths != deaths:
                raise Moved
            begun = bool(self.way.reason)
            if begun:
                await begin_read(connection, level, positions=self.probe.positions)
            if self.probe.positions and await self._is_elsewhere(connection, sample):
                if begun and level != COMMITTED:
                    raise Moved  # what it sees is settled, and a position polled now may be beyond
                await self._vouch(connection, need)
        except BaseException:
            await return_to_pool(connection)
            raise
        return Opened(connection, begun)

    def forget(self) -> None:
        """The sample dies: a connection was lost or is new (protocol, Read path 4). A fresh one is
        on its way."""
        self.deaths += 1
        self.sample = None
        self.poll.nudge()

    def new_history(self, *, doubtful: bool) -> None:
        """The primary writes another history. `doubtful`: of the same timeline, by another server.

        Then whoever streamed from the old one streams something else (what broke earlier drafts,
        16).
        """
        if doubtful:
            self._receivers.distrust()
        else:
            self._receivers.forget()
        self.forget()

    def join(self, *, positions: bool) -> None:
        """Begin to poll, in the running loop: the first sample is on its way."""
        self.probe.positions = positions
        self.poll.start()
        self.poll.nudge()

    def leave(self) -> None:
        """No read comes here any more: a poll that is under way brings no sample, and a connection
        that is being made for a read is not used."""
        self._left = True
        self.lose(REMOVED)

    def lose(self, why: str) -> None:
        """The node failed: out of the rotation until a poll succeeds."""
        self.forget()
        if self._left:
            self.down = REMOVED
            return
        self.down = why
        self._say(why)

    async def close(self, grace: float) -> None:
        """Close all connections; those that are not closed within `grace` seconds are hung up
        on."""
        await self.probe.drop()
        await close_engine(self.engine, self._reads, grace)

    async def _poll(self) -> Sample | None:
        if not self.probe.connected and time.monotonic() < self._retry_at:
            return None
        for _ in range(TRIES):
            connected = self.probe.connected
            try:
                sample = await self._sampled()
            except Exception as error:  # noqa: BLE001 - whatever it is, the node cannot be judged
                if connected and not isinstance(error, TimeoutError):
                    continue  # it may have died unnoticed since the last poll: the next one is new
                self._failed(error)
                return None
            if self._left:
                return None
            if sample is not None:
                self._failures = 0
                self.down = ""
                self.sample = sample
                self._said_of(sample)
                return sample
        return None

    async def _sampled(self) -> Sample | None:
        """A sample of the present server process; None if the sample would have died while it was
        taken."""
        if not self.probe.connected:
            await self.probe.connect()
            self.forget()
            self._explain()
        # 1. This poll begins on a connection to one server process. 2. That process ends,
        # unnoticed. 3. The pool connects to its successor. 4. The poll's answer, sent before 2,
        # arrives: it must not vouch for the successor.
        deaths = self.deaths
        if not self.probe.positions:
            await self.probe.alive()
            return (
                judge_without_positions(time.monotonic(), Process(0, 0))
                if deaths == self.deaths
                else None
            )
        reading = await self.probe.replica()
        self.sees_timeline = reading.receiver is None or reading.timeline_seen
        self._wait_for_the_rest(reading)
        sample = await self._judged(reading)
        if deaths != self.deaths:
            return None
        if sample is not None and sample.history:
            self._vouched = sample
        return sample

    def _wait_for_the_rest(self, reading: ReplicaReading) -> None:
        """Of a record that the primary has flushed in part."""
        view = self._primary.view
        flushed = 0 if view is None or view.lost else view.trail.newest
        self._cut = cut_record(self._cut, reading, flushed)
        if self._cut is not None and is_overdue(self._cut, reading.ended):
            self._primary.complete(self._cut.end)

    async def _judged(self, reading: ReplicaReading) -> Sample | None:
        """What a reading is worth; if its receiver is new, after the primary has been asked once
        more."""
        view = self._primary.view
        if view is None:
            return None
        if ran_ahead(self._vouched, view):
            self._receivers.distrust()
        following = self._receivers.why_out(reading, view)
        if following == Out.UNCONFIRMED and not view.lost:
            await self._primary.poll.ask()
            view = self._primary.view or view
            following = self._receivers.why_out(reading, view)
        sample = judge(reading, self._vouched, view, following, self._limit)
        if sample.newer:
            self._primary.met(sample.newer)
        return sample

    def _failed(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + min(self._pause * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 16)
        if isinstance(error, ProbeFailed):
            self.lose(Out.LOST)
        else:
            self.lose(connecting_trouble(error) or f"{Out.LOST}: {in_brief(error)}")
        if isinstance(error, TimeoutError):
            self._reads.hang_up()

    async def life(self, connection: AsyncConnection) -> Process | None:
        """Of the server behind an open connection; None if it was not asked."""
        raw = await connection.get_raw_connection()
        server = raw.info.get(SERVER)
        return server.process if isinstance(server, Server) else None

    async def _is_elsewhere(self, connection: AsyncConnection, sample: Sample) -> bool:
        return await self.life(connection) not in (None, sample.process)

    async def _vouch(self, connection: AsyncConnection, need: ReadRequirement) -> None:
        """Behind a balancer the sample is another server's: poll on the very connection that will
        read."""
        raw = await connection.get_raw_connection()
        began = time.monotonic()
        row = (await connection.exec_driver_sql(REPLICA_SQL)).one()
        sample = await self._judged(replica_reading(row, raw.info[SERVER], began, time.monotonic()))
        if not satisfies(sample, need, time.monotonic()):
            raise Moved

    def _connected(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        """Before anything is read on it: through a pooler, what is known of the server's life may
        be of another one by the next statement."""
        if self.probe.positions:
            entry.info[SERVER] = server = read_server(connection)
            self.way.learn(server, entry.driver_connection)
        elif self.engine.dialect.name == "postgresql":
            self.way.learn_without_positions(connection)
        self._explain()
        self.forget()

    def _explain(self) -> None:
        """That reads cost more than they would: told once."""
        if self.way.reason and self.way.reason != self._explained:
            self._explained = self.way.reason
            self._observe(Degraded(f"replica {self.name}", NOT_AS_ASKED[self.way.reason]))

    def _said_of(self, sample: Sample) -> None:
        self._observe(Sampled(self.name, sample.position, sample.lag_bytes, sample.lag))
        if sample.out == Out.UNCONFIRMED:
            return
        if (
            sample.out != Out.LAGGING
            or sample.lag > self._limit.seconds
            or sample.fresh_at > -math.inf
        ):
            # Right after the start it is not known how far behind a replica is: out, but nothing to
            # report yet.
            self._say(sample.out)

    def _say(self, out: str) -> None:
        if out == self._said:
            return
        self._said = out
        self._observe(NodeOut(self.name, out) if out else NodeBack(self.name))
