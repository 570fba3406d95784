"""A database cluster: one line of WAL, a primary that appends to it, replicas that replay it, and what each loses.

Owns which versions each server shows. A version is a number that grows; a row is (id, version) or gone. What a
connection is belongs to `engines`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from repocache.db.positions import Process
from tests.simulation.loop import Loop
from tests.simulation.network import WORLDS, Lost

Key = tuple[str, int]
"""(owner, id)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, typically: of a flush, between a commit record and its visibility, of replay; `slow`: how often each
    takes a hundred times as long. `asynchronous`: share of commits that wait for no flush, `aborts`: that fail."""

    flush: float = 0.001
    visible: float = 0.001
    replay: float = 0.005
    slow: float = 0.02
    asynchronous: float = 0.1
    aborts: float = 0.01


class Noted(NamedTuple):
    """A row of the outbox. `due`: microseconds since 1970. `owes`: the versions that are to be invalidated by it."""

    source: str | None
    notices: str
    due: int
    owes: dict[Key, int]


@dataclass(slots=True, eq=False)
class Transaction:
    """`rows`: what it writes, and whether the row is then there. `lsn`: end of its commit record, 0: none yet.
    `line`: of which history. `state`: "open", "record" (in the WAL), "visible", "lost", "aborted".
    `ended`: when it was lost. `notes`: rows of the outbox by their ids, None: deleted; `noticed`: those of triggers,
    `sealed`: whether they need not be told of."""

    xid: str
    synchronous: bool
    rows: dict[Key, tuple[int, bool]] = field(default_factory=dict)
    locks: list[Key] = field(default_factory=list)
    state: str = "open"
    lsn: int = 0
    line: int = 0
    ended: float = 0.0
    notes: dict[int, Noted | None] = field(default_factory=dict)
    noticed: list[int] = field(default_factory=list)
    sealed: bool = False


class Server:
    """One PostgreSQL. `started` and `recovered` tell its lives apart. `rows`, `notes`: what a new snapshot shows, the
    latter of the outbox."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.up = True
        self.primary = False
        self.process = Process(cluster.nonce(), cluster.nonce())
        self.rows: dict[Key, tuple[int, bool]] = {}
        self.notes: dict[int, Noted] = {}
        self.replayed = 0
        self.applied = 0
        self.timeline = 1
        self.receiver: int | None = cluster.nonce()
        self.paused = False
        self.pace = cluster.pace.replay
        self._replaying = False
        self.connections: dict[Any, None] = {}

    @property
    def address(self) -> str:
        return f"{self.name} 5432"

    def server_row(self) -> tuple[Any, ...]:
        """As SERVER_SQL answers."""
        return ("7", 5, *self.process, not self.primary, self.address)

    def primary_row(self) -> tuple[Any, ...]:
        """As PRIMARY_SQL answers."""
        if not self.primary:
            return (self.process.started, None, None, None)
        cluster = self.cluster
        return (self.process.started, cluster.flush, cluster.insert, f"{self.timeline:08X}")

    def replica_row(self) -> tuple[Any, ...]:
        """As REPLICA_SQL answers."""
        received = None if self.receiver is None else self.timeline
        status = None if self.receiver is None else "streaming"
        control = self.timeline if received is None else None
        return (self.process.started, not self.primary, self.replayed, self.receiver, status, received, control)

    def poke(self) -> None:
        """There may be WAL to replay."""
        if self._replaying or self.primary or self.paused or not self.up or self.receiver is None:
            return
        if self.replayed < self.cluster.flush:
            self._replaying = True
            self.cluster.later(self.pace, self._replay)

    def _replay(self) -> None:
        self._replaying = False
        if self.primary or self.paused or not self.up or self.receiver is None:
            return
        self.replay_to(self.cluster.flush if self.cluster.loop.draw() < 0.6 else self._next())
        self.poke()

    def _next(self) -> int:
        """The end of the next commit record that was flushed."""
        wal, flush = self.cluster.wal, self.cluster.flush
        return min(wal[self.applied].lsn, flush) if self.applied < len(wal) else flush

    def replay_to(self, position: int) -> None:
        wal = self.cluster.wal
        while self.applied < len(wal) and wal[self.applied].lsn <= position:
            self.show(wal[self.applied])
            self.applied += 1
        self.replayed = max(self.replayed, position)

    def show(self, transaction: Transaction) -> None:
        self.rows.update(transaction.rows)
        for id, note in transaction.notes.items():
            if note is not None:
                self.notes[id] = note
            else:
                self.notes.pop(id, None)

    def forget(self) -> None:
        """Replay begins anew, from the first row on."""
        self.rows, self.notes = dict(self.cluster.first), {}

    def go_back(self, position: int) -> None:
        self.forget()
        self.applied = self.replayed = 0
        self.replay_to(position)

    def lose_connections(self) -> None:
        for connection in list(self.connections):
            connection.lose()

    def down(self) -> None:
        self.up = False
        self.receiver = None
        self.lose_connections()

    def begin_life(self) -> None:
        self.up = True
        self.process = Process(self.cluster.nonce(), self.cluster.nonce())


class Cluster:
    """`insert`, `flush`: ends of the WAL in bytes. `wal`: the commits of this line, in the order of their records."""

    def __init__(self, loop: Loop, pace: Pace, keys: list[Key]) -> None:
        self.loop = loop
        self.pace = pace
        self.insert = self.flush = 1000
        self.line = 0
        self.wal: list[Transaction] = []
        self.lost: list[Transaction] = []
        self.by_key: dict[Key, list[Transaction]] = {key: [] for key in keys}
        self.status: dict[str, Transaction] = {}
        self.by_version: dict[int, Transaction] = {}
        self._nonce = 1_000_000
        self._version = 0
        self._id = self._branch = 0
        self._locks: dict[Key, Transaction] = {}
        self._queues: dict[Key, deque[tuple[Transaction, asyncio.Future[None]]]] = {}
        self._flushing = False
        self.first = dict.fromkeys(keys, (0, True))
        self.servers = [Server(self, name) for name in ("s0", "s1", "s2")]
        for server in self.servers:
            server.rows = dict(self.first)
            server.replayed = self.flush
        self.primary.primary, self.primary.receiver = True, None
        self.tell: Callable[..., None] = lambda *_: None
        self.gone: Callable[[Noted], None] = lambda _: None

    def set_apart(self, nonce: int) -> None:
        """Its servers are no other cluster's."""
        self._nonce = nonce
        for server in self.servers:
            server.begin_life()

    @property
    def primary(self) -> Server:
        """The one that the name leads to."""
        return self.servers[0]

    @property
    def replicas(self) -> list[Server]:
        return self.servers[1:]

    @property
    def committing(self) -> bool:
        """Whether a commit record is there whose rows the primary does not show yet."""
        return any(transaction.state == "record" for transaction in self.wal)

    def nonce(self) -> int:
        self._nonce += 1
        return self._nonce

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        draw = self.loop.draw()
        slow = 100.0 if draw < self.pace.slow else 1.0
        self.loop.call_later(seconds * slow * (0.2 + 1.6 * self.loop.draw()), call, context=WORLDS)

    def begin(self) -> Transaction:
        transaction = Transaction(str(self.nonce()), self.loop.draw() >= self.pace.asynchronous)
        self.status[transaction.xid] = transaction
        return transaction

    async def update(self, transaction: Transaction, key: Key, exists: bool) -> int:
        """Lock the row and write it; its new version."""
        await self.lock(transaction, key)
        self._version += 1
        transaction.rows[key] = (self._version, exists)
        self.by_version[self._version] = transaction
        self._write()
        return self._version

    async def lock(self, transaction: Transaction, key: Key) -> None:
        """Raises Lost."""
        if transaction.state != "open":
            raise Lost("the transaction ended")
        holder = self._locks.get(key)
        if holder is None:
            self._lock(key, transaction)
        elif holder is not transaction:
            turn: asyncio.Future[None] = self.loop.create_future()
            self._queues.setdefault(key, deque()).append((transaction, turn))
            await turn
            if transaction.state != "open":
                raise Lost("the transaction ended")

    def lock_at_once(self, transaction: Transaction, key: Key) -> bool:
        """Whether nobody else has it."""
        if key not in self._locks:
            self._lock(key, transaction)
        return self._locks[key] is transaction

    def next_id(self) -> int:
        """Of the outbox's sequence. What a failover loses of it is given out again."""
        self._id += 1
        return self._id

    def _lock(self, key: Key, transaction: Transaction) -> None:
        self._locks[key] = transaction
        transaction.locks.append(key)

    def _write(self) -> None:
        self.insert += 8 + int(self.loop.draw() * 56)
        if not self._flushing:
            self._flushing = True
            self.later(self.pace.flush * 20, self._background_flush)

    def _background_flush(self) -> None:
        self._flushing = False
        if self.primary.up:
            self._flush(self.insert)

    def _flush(self, position: int) -> None:
        if position > self.flush:
            self.flush = min(position, self.insert)
            for replica in self.replicas:
                replica.poke()

    def commit(self, transaction: Transaction, done: Callable[[str], None]) -> None:
        """COMMIT has arrived. `done` gets the SQLSTATE of its failure, or nothing; not called if the server crashes."""
        if transaction.state != "open":
            return done("25P02")
        if self.loop.draw() < self.pace.aborts:
            self.abort(transaction)
            return done("40001")
        if not (transaction.rows or transaction.notes):
            self.abort(transaction)
            return done("")
        self._write()
        transaction.state, transaction.lsn, transaction.line = "record", self.insert, self.line
        self.wal.append(transaction)
        for key in transaction.rows:
            self.by_key[key].append(transaction)
        self.tell("record", transaction.lsn, transaction.rows)
        self._finish(transaction, done)

    def _finish(self, transaction: Transaction, done: Callable[[str], None]) -> None:
        """Flush, then visible, then the answer; nothing of it if the server does not live so long."""
        primary, process = self.primary, self.primary.process

        def same() -> bool:
            return self.primary is primary and primary.process == process and primary.up

        def flushed() -> None:
            if same():
                self._flush(transaction.lsn)
                self.later(self.pace.visible, visible)

        def visible() -> None:
            if same():
                self._show(transaction)
                done("")

        if transaction.synchronous:
            self.later(self.pace.flush, flushed)
        else:
            self.later(self.pace.visible, visible)

    def _show(self, transaction: Transaction) -> None:
        transaction.state = "visible"
        if not any(transaction.notes.values()):  # else what it leaves says it all
            for id in transaction.notes:
                self.gone(self.primary.notes[id])
        self.primary.show(transaction)
        self._unlock(transaction)
        self.tell("visible", transaction.rows)
        if transaction.noticed and not transaction.sealed:
            for connection in list(self.primary.connections):
                connection.notify()

    def abort(self, transaction: Transaction) -> None:
        if transaction.state == "open":
            transaction.state = "aborted"
            self._unlock(transaction)

    def _unlock(self, transaction: Transaction) -> None:
        for key in transaction.locks:
            if self._locks.get(key) is transaction:
                del self._locks[key]
                self._hand_on(key)

    def _hand_on(self, key: Key) -> None:
        queue = self._queues.get(key)
        while queue:
            transaction, turn = queue.popleft()
            if not turn.done() and transaction.state == "open":
                self._lock(key, transaction)
                turn.set_result(None)
                return

    def crash(self, *, postmaster: bool) -> None:
        """All connections end, WAL that was not flushed is lost. `postmaster`: the server process is new, too."""
        primary = self.primary
        primary.up = False
        self._truncate(self.flush)
        for replica in self.replicas:
            replica.receiver = None
        primary.lose_connections()
        if not postmaster:
            primary.process = Process(primary.process.started, self.nonce())

    def recover(self, *, postmaster: bool) -> None:
        """After `crash`."""
        primary = self.primary
        primary.forget()
        for transaction in self.wal:
            primary.show(transaction)
            if transaction.state == "record":
                transaction.state = "visible"
        self.line += 1
        self.insert += 40
        self.flush = self.insert
        if postmaster:
            primary.process = Process(self.nonce(), self.nonce())
        primary.up = True
        for replica in self.replicas:
            self._stream(replica)

    def _truncate(self, position: int) -> None:
        """What comes after is lost, and whatever was open is rolled back."""
        for transaction in self.status.values():
            if transaction.state == "open":
                transaction.state = "aborted"
        while self.wal and self.wal[-1].lsn > position:
            transaction = self.wal.pop()
            transaction.state, transaction.ended = "lost", self.loop.now
            self.tell("lost", transaction.rows)
            self.lost.append(transaction)
            for key in transaction.rows:
                self.by_key[key].remove(transaction)
        self.insert = self.flush = position
        self._id = max((id for transaction in self.wal for id in transaction.notes), default=0)
        self._locks.clear()
        queues, self._queues = self._queues, {}
        for queue in queues.values():
            for _, turn in queue:
                if not turn.done():
                    turn.set_result(None)

    def fail_over(self, at: int) -> None:
        """The primary is gone; the replica at this place goes on, with what it has received."""
        old, new = self.primary, self.servers[at]
        old.down()
        new.replay_to(new.replayed)
        self._truncate(new.replayed)
        new.lose_connections()
        self.servers[0], self.servers[at] = new, old
        old.primary, new.primary, new.receiver = False, True, None
        new.timeline += 1
        self.line += 1
        self._branch = self.insert
        self.insert += 100
        self.flush = self.insert
        for server in self.replicas:
            server.receiver = None
        for transaction in self.wal:
            transaction.state = "visible"

    def rejoin(self) -> None:
        """After `fail_over`: whoever is no primary follows the new one, made anew where it must be."""
        branch = self._branch
        for server in self.replicas:
            if not server.up or server.replayed > branch or server.timeline != self.primary.timeline:
                if not server.up or server.replayed > branch:
                    server.lose_connections()
                    server.go_back(min(server.replayed, branch))
                    server.begin_life()
                server.timeline = self.primary.timeline
            self._stream(server)

    def restart_replica(self, server: Server, back: float) -> None:
        """It loses the last of what it had replayed."""
        server.down()
        floor = server.cluster.wal[max(0, server.applied - 4)].lsn - 1 if server.applied else 1000
        server.go_back(max(1000, int(server.replayed - back * (server.replayed - floor))))

    def start_replica(self, server: Server) -> None:
        """After `restart_replica`; it streams a little later."""
        server.begin_life()
        self.later(0.02, lambda: self._stream(server))

    def _stream(self, server: Server) -> None:
        if server.up and not server.primary:
            server.receiver = self.nonce()
            server.poke()
