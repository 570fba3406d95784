"""One PostgreSQL server: its lives, what a new snapshot shows, and how far a replica has replayed.

Owns what a server shows and says of itself. Who writes the WAL, and what is lost of it, is
`postgres`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from proof.simulation.loop import EPOCH
from repocache.engines.server import Process

if TYPE_CHECKING:
    from proof.simulation.postgres import Cluster

Key = tuple[str, int]
"""(owner, id)."""
BACKEND = 1
"""The process id of each backend, as announced and as asked for: no pooler is simulated."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, typically: of a flush, between a commit record and its visibility, of replay;
    `ahead`: between what a replica shows and its position that says so; `slow`: how often each
    takes a hundred times as long. `asynchronous`: share of commits that wait for no flush,
    `aborts`: that fail; `confused`: share of questions for a transaction's status that are
    cancelled."""

    flush: float = 0.001
    visible: float = 0.001
    replay: float = 0.005
    slow: float = 0.02
    asynchronous: float = 0.1
    aborts: float = 0.01
    ahead: float = 0.0
    confused: float = 0.0


class Noted(NamedTuple):
    """A row of the outbox. `due`: microseconds since 1970. `owes`: the versions that are to be
    invalidated by it. `tries`: how often it gave way."""

    source: str | None
    notices: str
    due: int
    owes: dict[Key, int]
    tries: int = 0


@dataclass(slots=True, eq=False)
class Transaction:
    """`rows`: what it writes, and whether the row is then there. `begin`, `lsn`: where its commit
    record begins and ends, 0: none yet. `line`: of which history. `state`: "open", "record" (in the
    WAL), "visible", "lost", "aborted". `ended`: when it was lost. `notes`: rows of the outbox by
    their ids, None: deleted; `noticed`: those of triggers, `sealed`: whether they need not be told
    of. `branch`: of a commit that the present primary never had: the newest version that there was
    when the lines parted. `shown`: when the primary showed it first. `veiled`:
    an old primary that lives on does not show it yet."""

    xid: str
    synchronous: bool
    rows: dict[Key, tuple[int, bool]] = field(default_factory=dict)
    locks: list[Key] = field(default_factory=list)
    state: str = "open"
    begin: int = 0
    lsn: int = 0
    line: int = 0
    ended: float = 0.0
    notes: dict[int, Noted | None] = field(default_factory=dict)
    noticed: list[int] = field(default_factory=list)
    sealed: bool = False
    branch: int | None = None
    shown: float = 0.0
    veiled: bool = False


class Server:
    """One PostgreSQL. `started` and `recovered` tell its lives apart. `rows`, `notes`: what a new
    snapshot shows, the latter of the outbox. `dam`: where its stream is held up, bytes. `skew`:
    seconds that its clock is ahead. `stuck`: replay stands between a commit that it shows already
    and the position that says so."""

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
        self.dam: int | None = None
        self.paused = False
        self.pace = cluster.pace.replay
        self.skew = 0.0
        self.stuck = False
        self._replaying = False
        self.connections: dict[Any, None] = {}

    @property
    def clock(self) -> float:
        """What its `clock_timestamp()` says, seconds since 1970."""
        return EPOCH + self.cluster.loop.now + self.skew

    @property
    def received(self) -> int | None:
        """The most that it may show, in bytes; None without a receiver."""
        return None if self.receiver is None else max(self.replayed, self.sent)

    @property
    def sent(self) -> int:
        """What was sent to it, in bytes: what is flushed, unless its stream is held up."""
        return self.cluster.flush if self.dam is None else min(self.dam, self.cluster.flush)

    @property
    def address(self) -> str:
        return f"{self.name} 5432"

    def server_row(self) -> tuple[Any, ...]:
        """As SERVER_SQL answers."""
        writes = self.timeline if self.primary else None
        return ("7", 5, *self.process, not self.primary, self.address, BACKEND, "on", writes)

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
        return (
            self.process.started,
            not self.primary,
            self.replayed,
            self.receiver,
            status,
            received,
            control,
        )

    @property
    def is_behind(self) -> bool:
        """It receives WAL that it has not replayed yet."""
        return (
            self.up and not self.primary and self.receiver is not None and self.replayed < self.sent
        )

    def poke(self) -> None:
        """There may be WAL to replay."""
        if (
            self._replaying
            or self.stuck
            or self.primary
            or self.paused
            or not self.up
            or self.receiver is None
        ):
            return
        if self.replayed < self.sent:
            self._replaying = True
            self.cluster.later(self.pace, self._replay)

    def _replay(self) -> None:
        self._replaying = False
        if self.primary or self.paused or not self.up or self.receiver is None:
            return None
        position = self.sent if self.cluster.loop.draw() < 0.6 else self._next()
        if self.cluster.pace.ahead:
            return self._step(position)
        self.replay_to(position)
        self.poke()

    def _step(self, position: int) -> None:
        """Up to right before the next commit, or further: then the last commit up to there is shown
        before the position says so, since replay removes files in between."""
        wal, last = self.cluster.wal, self.applied
        if (
            last < len(wal)
            and self.replayed < wal[last].begin <= position
            and self.cluster.loop.draw() < 0.5
        ):
            self.replay_to(wal[last].begin)
            return self.poke()
        while last < len(wal) and wal[last].lsn <= position:
            last += 1
        if last == self.applied:
            self.replay_to(position)
            return self.poke()
        before = self.replayed
        self.replay_to(wal[last - 1].lsn)
        self.replayed = max(before, wal[last - 1].begin)
        self.stuck, process = True, self.process
        self.cluster.later(self.cluster.pace.ahead, lambda: self._say_so(process, position))
        return None

    def _say_so(self, process: Process, position: int) -> None:
        if self.process != process or not self.stuck or not self.up:
            return
        self.stuck = False
        if not self.primary:
            self.replay_to(position)
            self.poke()

    def _next(self) -> int:
        """The end of the next commit record that was sent."""
        wal, sent = self.cluster.wal, self.sent
        return min(wal[self.applied].lsn, sent) if self.applied < len(wal) else sent

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
        self.stuck = False
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
