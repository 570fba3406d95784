"""The port: what the read path and the write path ask of a bucket's record, as values, and what they are told."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal, NamedTuple, Protocol

NO_POSITIONS = -1
"""As a position: this database has none. The floor stays unknown, so that only the primary fills."""


class Terms(NamedTuple):
    """The line of WAL that the caller lives in. `confirmed`: the primary was polled after another one was met here."""

    history: str
    confirmed: bool = False


class Ask(NamedTuple):
    """A key that was missed: give me its value, or a lease to fill it. `life`: of the lease, in seconds.

    `refused`: SHA-1 (hex) of a value that could not be read: if that is still what is there, it gives way to a lease.
    """

    bucket: int
    owner: str
    fingerprint: str
    text: str
    life: float
    refused: str = ""


class Lease(NamedTuple):
    """The right to fill one key once, as long as it is still there."""

    ask: Ask
    incarnation: str
    generation: str
    nonce: str


class Opened(NamedTuple):
    """The answer to `Ask`.

    "value": `value` is there; "lease": fill it under `nonce`; "wait": somebody else is loading it, for at most
    `wait` seconds more; "history": the record belongs to `history`, another than the caller's, and nothing was
    done.
    `floor`: the position that a replica must have replayed to fill, None: unknown, only the primary may.
    """

    kind: Literal["value", "lease", "wait", "history"]
    incarnation: str = ""
    seq: int = 0
    generation: str = ""
    floor: int | None = None
    value: bytes = b""
    nonce: str = ""
    wait: float = 0.0
    history: str = ""


class Change(NamedTuple):
    """What a commit changed in one bucket. `keys`: (owner, key text); `owners`: all their keys changed.

    `position`: WAL position in bytes after the commit, None: unknown (the record is made anew), or NO_POSITIONS.
    """

    bucket: int
    keys: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]
    position: int | None


class Receipt(NamedTuple):
    """A change was applied: the record's state right after it. Or, if `history` is not empty, it was not: the
    record belongs to that other history."""

    bucket: int
    incarnation: str
    seq: int
    history: str = ""


class Records(Protocol):
    """All five send at once and answer later, so that many calls of one moment travel together.

    Each raises CacheUnavailable, at once or when awaited.
    """

    def get(self, name: str) -> Awaitable[bytes | None]:
        """What lies under a key's full name: a value, a lease or nothing."""
        ...

    def open(self, ask: Ask, terms: Terms) -> Awaitable[Opened]: ...

    def fill(self, lease: Lease, terms: Terms, value: bytes, life: float) -> Awaitable[bool]:
        """Whether the value landed. An empty value gives the lease back. `life`: seconds."""
        ...

    def settle(self, bucket: int, terms: Terms, incarnation: str, position: int) -> Awaitable[bool]:
        """Whether the unknown floor was settled."""
        ...

    def change(self, change: Change, terms: Terms) -> Awaitable[Receipt]:
        """Apply and announce."""
        ...
