"""The port: what the read path and the write path ask of the records, as values, and what they are
told.

A key lies under two of them: that of its bucket, and that of its owner, which has the generation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Literal, NamedTuple, Protocol

NO_POSITIONS = -1
"""As a position: this database has none. The floor stays unknown, so that only the primary
fills."""


class CallerHistory(NamedTuple):
    """The line of WAL that the caller lives in. `confirmed`: the primary was polled after another
    one was met here."""

    history: str
    confirmed: bool = False


class OpenRequest(NamedTuple):
    """A key that was missed: give me its value, or a lease to fill it. `bucket`, `own`: of the key
    and of its owner. `life`: of the lease, in seconds; 0: nothing is to be filled, so that none is
    left, and who asks is told what he would have to read.

    `refused`: SHA-1 (hex) of a value that could not be read: if that is still what is there, it
    gives way to a lease. `over`: nonces of write leases past their deadline whose transactions are
    no longer in progress: they give way too. `keep`: a row that has no more seconds to live is as
    good as none, and stays: the lease is left beside it; 0: any value is one.
    """

    bucket: int
    own: int
    owner: str
    fingerprint: str
    text: str
    life: float
    refused: str = ""
    over: tuple[str, ...] = ()
    keep: float = 0.0


class Lease(NamedTuple):
    """The right to fill one key once, as long as it is still there. `beside`: a row that is there
    until then."""

    ask: OpenRequest
    incarnation: str
    generation: str
    nonce: str
    beside: bool = False


class WriteLease(NamedTuple):
    """A commit is on its way, by the transaction `xid`."""

    nonce: str
    xid: str


class State(NamedTuple):
    """A record's. `floor`: the position that a replica must have replayed to fill what lies under
    it, None: unknown, only the primary may. `tip`: the name of its last change."""

    incarnation: str = ""
    seq: int = 0
    floor: int | None = None
    tip: str = ""


class OpenReply(NamedTuple):
    """The answer to `OpenRequest`.

    "value": `value` is there; "lease": fill it under `nonce`; "wait": somebody else is loading
    it, for at most `wait` seconds more; "written": commits are on their way, so read the primary
    and fill nothing; `overdue` are the write leases past their deadline; "history": the bucket's
    record belongs to `history`, or the owner's to `owner_history`, another than the caller's,
    and nothing was done.
    """

    kind: Literal["value", "lease", "wait", "written", "history"]
    #: `incarnation`, `seq`, `floor`, `tip`: the state of the bucket's record.
    incarnation: str = ""
    seq: int = 0
    generation: str = ""
    floor: int | None = None
    value: bytes = b""
    nonce: str = ""
    wait: float = 0.0
    history: str = ""
    overdue: tuple[WriteLease, ...] = ()
    #: That of the owner's, which has the `generation`.
    owner: State = State()
    owner_history: str = ""
    tip: str = ""
    #: Seconds that the value has to live.
    left: float = 0.0
    #: Of a lease: that it is left beside `value`, if that came along.
    beside: bool = False

    @property
    def needed(self) -> int | None:
        """The position that a replica must have replayed to fill: of both records. None: only the
        primary may."""
        if self.floor is None or self.owner.floor is None:
            return None
        return max(self.floor, self.owner.floor)

    @property
    def histories(self) -> tuple[str, ...]:
        """Other than the caller's, that were met."""
        return tuple(filter(None, (self.history, self.owner_history)))


class Put(NamedTuple):
    """The value that a commit left in a key, read under the row's lock.

    It lands only in the record that was seen inside the transaction: `incarnation`, and
    `generation` of the owner. `life`: seconds. `strict`: only while the commit's own write lease is
    there.
    """

    owner: str
    text: str
    fingerprint: str
    incarnation: str
    generation: str
    value: bytes
    life: float
    strict: bool


class Writing(NamedTuple):
    """A commit's values for one bucket. `order`: WAL position in bytes, noted under the rows'
    locks. `nonce`: of the commit's own write leases, which end with it; empty: it has none."""

    order: int = NO_POSITIONS
    puts: tuple[Put, ...] = ()
    nonce: str = ""


class Fill(NamedTuple):
    """A value for a lease; `life` in seconds. An empty value gives the lease back; with no life
    either it says that what the lease was left beside is no more. `KEEP`: what it was left beside
    lives so long from now on."""

    lease: Lease
    value: bytes
    life: float


class Change(NamedTuple):
    """What a commit changed in one bucket. `keys`: (owner, key text); `owners`: all their keys
    changed, wherever they are: the bucket is these owners' own.

    `position`: WAL position in bytes after the commit, None: unknown (the record is made anew), or
    NO_POSITIONS. `writing`: values that may take the place of what was under their keys; each of
    these is in `keys`. `asides`: owners whose rows are kept aside when they are taken away, and for
    how many seconds.
    """

    bucket: int
    keys: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]
    position: int | None
    writing: Writing = Writing()
    asides: tuple[tuple[str, float], ...] = ()


class Intent(NamedTuple):
    """What a transaction is about to commit in one bucket: `keys` and `owners` as in `Change`, to
    be held back from readers by write leases of this `nonce`, `xid` and `life` in seconds. `seen`:
    owners of whom it only wants to know the generation."""

    bucket: int
    keys: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]
    seen: tuple[str, ...]
    nonce: str
    xid: str
    life: float


class Generation(NamedTuple):
    """An owner's, with its record's state."""

    name: str
    incarnation: str
    seq: int
    tip: str


class IntentReply(NamedTuple):
    """The record as it is inside the transaction; `generations` of the owners of its intent. If
    `history` is not empty nothing was done: a record, of the bucket or of an owner, belongs to that
    other history."""

    incarnation: str
    seq: int
    generations: dict[str, Generation]
    history: str = ""
    tip: str = ""


class Receipt(NamedTuple):
    """A change was applied: the record's state right after it, and how many of its puts `landed`.
    Or, if `history` is not empty, it was not: a record, of the bucket or of an owner, belongs to
    that other history."""

    bucket: int
    incarnation: str
    seq: int
    history: str = ""
    landed: int = 0
    tip: str = ""


class LookReply(NamedTuple):
    """What a record says of itself to who only looks: `floor` as in `State`; `shapes`: of the
    cached queries that an owner has registered in it."""

    incarnation: str
    floor: int | None
    shapes: tuple[str, ...] = ()


class Registration(NamedTuple):
    """`shapes`: all that the owner's record lists now. Or, if `history` is not empty nothing was
    done: the record belongs to that other one."""

    incarnation: str
    shapes: tuple[str, ...]
    history: str = ""


class Registrations(Protocol):
    """Which shapes of cached queries writers have to tell (protocol/queries.md). Both send at once
    and answer later, and raise CacheUnavailable, at once or when awaited."""

    def look(self, bucket: int, owner: str, terms: CallerHistory) -> Awaitable[LookReply | None]:
        """At a record, which is left as it is, with the shapes that the owner has registered there.
        None: there is none that counts."""
        ...

    def register(
        self, owner: str, shapes: Sequence[str], terms: CallerHistory
    ) -> Awaitable[Registration]:
        """Shapes in the owner's record. If one is new the record is made anew, with all of them, or
        with these alone where there is no room for more:
        who wrote before told nobody, so that its floor is unknown, and what was read under the old
        one is out of reach."""
        ...


class Records(Registrations, Protocol):
    """All ten, and those of `Registrations`, send at once and answer later, so that many calls of
    one moment travel together.

    Each raises CacheUnavailable, at once or when awaited.
    """

    def get(self, name: str) -> Awaitable[bytes | None]:
        """What lies under a key's full name: a value, a lease or nothing."""
        ...

    def left(self, name: str) -> Awaitable[float]:
        """Seconds that what lies there has to live, less than 0: there is nothing."""
        ...

    def open(self, ask: OpenRequest, terms: CallerHistory) -> Awaitable[OpenReply]: ...

    def open_all(
        self, asks: Sequence[OpenRequest], terms: CallerHistory
    ) -> Sequence[Awaitable[OpenReply]]:
        """As `open`, for each."""
        ...

    def fill(
        self, lease: Lease, terms: CallerHistory, value: bytes, life: float
    ) -> Awaitable[bool]:
        """Whether the value landed. An empty value gives the lease back. `life`: seconds."""
        ...

    def fill_all(self, fills: Sequence[Fill], terms: CallerHistory) -> Sequence[Awaitable[bool]]:
        """As `fill`, for each."""
        ...

    def settle(
        self, bucket: int, terms: CallerHistory, incarnation: str, position: int
    ) -> Awaitable[bool]:
        """Whether the unknown floor was settled."""
        ...

    def change(self, change: Change, terms: CallerHistory) -> Awaitable[Receipt]:
        """Apply and announce."""
        ...

    def intend(self, intent: Intent, terms: CallerHistory) -> Awaitable[IntentReply]:
        """Before COMMIT: take write leases, and what lay under their keys away."""
        ...

    def release(self, intent: Intent) -> Awaitable[None]:
        """After a rollback: the write leases of this intent go, and what they hid was the truth."""
        ...
