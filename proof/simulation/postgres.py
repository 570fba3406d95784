"""A database cluster: one line of WAL, a primary that appends to it, replicas that replay it, and
what each loses.

Owns the WAL, the transactions and the row locks. What a server shows is `server`'s, what a
connection is `driver`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

from proof.simulation.locks import Locks
from proof.simulation.loop import Loop
from proof.simulation.network import WORLDS
from proof.simulation.server import Key, Noted, Pace, Server, Transaction
from repocache.engines.server import Process


class Numbers:
    """What is given out once, whichever line asks: ids of transactions and lives, and versions."""

    def __init__(self) -> None:
        self.nonce = 1_000_000
        self.version = 0


class Cluster:
    """`insert`, `flush`: ends of the WAL in bytes. `wal`: the commits of this line, in the order of
    their records. `branch`: of the line of a primary that was replaced: the newest version when it
    was. `astray`: such lines' commits.
    """

    branch: int | None = None

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
        self.astray: list[Transaction] = []
        self.numbers = Numbers()
        self.locks = Locks(loop)
        self._id = self._branch = 0
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
        self.numbers.nonce = nonce
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
        self.numbers.nonce += 1
        return self.numbers.nonce

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
        await self.locks.lock(transaction, key)
        self.numbers.version += 1
        version = self.numbers.version
        transaction.rows[key] = (version, exists)
        self.by_version[version] = transaction
        self._write()
        return version

    def next_id(self) -> int:
        """Of the outbox's sequence. What a failover loses of it is given out again."""
        self._id += 1
        return self._id

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
        """COMMIT has arrived. `done` gets the SQLSTATE of its failure, or nothing; not called if
        the server crashes."""
        if transaction.state != "open":
            return done("25P02")
        if self.loop.draw() < self.pace.aborts:
            self.abort(transaction)
            return done("40001")
        if not (transaction.rows or transaction.notes):
            self.abort(transaction)
            return done("")
        transaction.begin = self.insert
        self._write()
        transaction.state, transaction.lsn, transaction.line = "record", self.insert, self.line
        if self.branch is not None:
            transaction.branch = self.branch
            self.astray.append(transaction)
        self.wal.append(transaction)
        for key in transaction.rows:
            self.by_key[key].append(transaction)
        self.tell("record", transaction.lsn, transaction.rows)
        self._finish(transaction, done)

    def _finish(self, transaction: Transaction, done: Callable[[str], None]) -> None:
        """Flush, then visible, then the answer; nothing of it if the server does not live so
        long."""
        primary, process = self.primary, self.primary.process

        def same() -> bool:
            return primary.primary and primary.process == process and primary.up

        def flushed() -> None:
            if same():
                primary.cluster._flush(transaction.lsn)
                self.later(self.pace.visible, visible)

        def visible() -> None:
            if same():
                primary.cluster._show(transaction)
                done("")

        if transaction.synchronous:
            self.later(self.pace.flush, flushed)
        else:
            self.later(self.pace.visible, visible)

    def _show(self, transaction: Transaction) -> None:
        transaction.state, transaction.shown = "visible", self.loop.now
        transaction.veiled = False
        if not any(transaction.notes.values()):  # else what it leaves says it all
            for id in transaction.notes:
                if (note := self.primary.notes.get(id)) is not None:  # a parted primary can lack it
                    self.gone(note)
        self.primary.show(transaction)
        self.locks.end(transaction)
        self.tell("visible", transaction.rows)
        if transaction.noticed and not transaction.sealed:
            for connection in list(self.primary.connections):
                connection.notify()

    def abort(self, transaction: Transaction) -> None:
        if transaction.state == "open":
            transaction.state = "aborted"
            self.locks.end(transaction)

    def crash(self, *, postmaster: bool) -> None:
        """All connections end, WAL that was not flushed is lost. `postmaster`: the server process
        is new, too."""
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
            self._settle(transaction)
        self.line += 1
        self.insert += 40
        self.flush = self.insert
        if postmaster:
            primary.process = Process(self.nonce(), self.nonce())
        primary.up = True
        for replica in self.replicas:
            self.stream(replica)

    def _truncate(self, position: int) -> None:
        """What comes after is lost, and whatever was open is rolled back."""
        for transaction in self.status.values():
            if transaction.state == "open":
                transaction.state = "aborted"
        for transaction in self._cut(position):
            self._lose(transaction)
        self.insert = self.flush = position
        self._id = max((id for transaction in self.wal for id in transaction.notes), default=0)
        self.locks.clear()

    def _settle(self, transaction: Transaction) -> None:
        """It was in the WAL, and a new primary, or life, shows it."""
        if transaction.state != "visible":
            transaction.state, transaction.shown = "visible", self.loop.now

    def _cut(self, position: int) -> list[Transaction]:
        """Commits after the position, which this line never had."""
        cut: list[Transaction] = []
        while self.wal and self.wal[-1].lsn > position:
            transaction = self.wal.pop()
            cut.append(transaction)
            for key in transaction.rows:
                self.by_key[key].remove(transaction)
        return cut

    def _lose(self, transaction: Transaction) -> None:
        transaction.state, transaction.ended = "lost", self.loop.now
        self.tell("lost", transaction.rows)
        self.lost.append(transaction)

    def fail_over(self, at: int) -> None:
        """The primary is gone; the replica at this place goes on, with what it has received."""
        old, new = self.primary, self.servers[at]
        old.down()
        new.replay_to(new.replayed)
        self._truncate(new.replayed)
        old.primary = False
        self._promote(at)
        for server in self.replicas:
            server.receiver = None
        for transaction in self.wal:
            self._settle(transaction)

    def _promote(self, at: int) -> None:
        old, new = self.primary, self.servers[at]
        new.lose_connections()
        self.servers[0], self.servers[at] = new, old
        new.primary, new.receiver, new.stuck = True, None, False
        new.timeline += 1
        self.line += 1
        self._branch = self.insert
        self.insert += 100
        self.flush = self.insert

    def divide(self, at: int, *, followed: bool) -> Cluster:
        """The replica at this place goes on, and the old primary lives on, unaware: the line that
        it writes from now on. `followed`: the other replica goes on with the old one."""
        old, new = self.primary, self.servers[at]
        new.replay_to(new.replayed)
        parted = copy(self)
        parted.wal, parted.by_key = (
            list(self.wal),
            {key: list(each) for key, each in self.by_key.items()},
        )
        parted.branch, parted._flushing, parted.gone = self.numbers.version, False, lambda _: None
        self.locks = Locks(self.loop)
        cut = self._cut(new.replayed)
        for transaction in self.wal:
            transaction.veiled = transaction.state == "record"
        self.status = {transaction.xid: transaction for transaction in self.wal}
        for transaction in cut:
            transaction.branch = parted.branch
        self.astray.extend(cut)
        self.insert = self.flush = new.replayed
        self._id = max((id for transaction in self.wal for id in transaction.notes), default=0)
        self._promote(at)
        parted.servers = [old, *(each for each in self.replicas if each is not old and followed)]
        for server in parted.servers:
            server.cluster = parted
        for server in self.replicas:
            if server.cluster is self:
                server.receiver = None
        for transaction in self.wal:
            self._settle(transaction)
        return parted

    def fence(self, parted: Cluster) -> None:
        """The old primary ends, and with it what it alone had; `rejoin` brings its servers back."""
        for transaction in self.wal:
            transaction.veiled = False
        for server in parted.servers:
            server.down()
            server.cluster, server.primary = self, False
        for transaction in parted.status.values():
            if transaction.state == "open":
                transaction.state = "aborted"
        for transaction in self.astray:
            if transaction.state != "lost":
                self._lose(transaction)
        parted.locks.clear()

    def rejoin(self) -> None:
        """After `fail_over`: whoever is no primary follows the new one, made anew where it must be.
        Those that are with an old one stay there."""
        branch = self._branch
        for server in [each for each in self.replicas if each.cluster is self]:
            if (
                not server.up
                or server.replayed > branch
                or server.timeline != self.primary.timeline
            ):
                if not server.up or server.replayed > branch:
                    server.lose_connections()
                    server.go_back(min(server.replayed, branch))
                    server.begin_life()
                server.timeline = self.primary.timeline
            self.stream(server)

    def restart_replica(self, server: Server, back: float) -> None:
        """It loses the last of what it had replayed."""
        server.down()
        floor = server.cluster.wal[max(0, server.applied - 4)].lsn - 1 if server.applied else 1000
        server.go_back(max(1000, int(server.replayed - back * (server.replayed - floor))))

    def start_replica(self, server: Server) -> None:
        """After `restart_replica`; it streams a little later."""
        server.begin_life()
        self.later(0.02, lambda: self.stream(server))

    def stream(self, server: Server) -> None:
        """It receives WAL from now on."""
        if server.up and not server.primary and server.cluster.primary.up:
            server.receiver = self.nonce()
            server.poke()
