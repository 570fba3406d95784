"""What a run tells of itself: the lines of its history, one JSON object each, and how they are read
back.

All times are nanoseconds of `time.monotonic_ns`, which the processes of one machine share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

TOGETHER = 64
"""Lines that may wait to be written; a kill makes no more than these unsaid."""


class Initial(msgspec.Struct, frozen=True, tag="initial"):
    """What the primary held of a row before the traffic began."""

    key: int
    version: int
    token: str


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """A write was invoked. `token`: its own, and that of every row that it writes; `session`: empty
    if in none."""

    token: str
    how: str
    caller: str
    session: str
    start: int


class Staged(msgspec.Struct, frozen=True, tag="staged"):
    """Its rows have these versions inside the transaction, which nobody has told to commit yet."""

    token: str
    versions: dict[int, int]
    at: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """`outcome`: "committed", "rolled back" (for certain) or "unknown". `covered`: its invalidation
    was acknowledged by Redis, and `wrote` says as which (bucket -> incarnation, seq), as far as it
    is known. `why`: the error's kind, `text`: what it said."""

    token: str
    outcome: str
    covered: bool
    wrote: dict[int, tuple[str, int]]
    why: str
    end: int
    text: str = ""


class Read(msgspec.Struct, frozen=True, tag="read"):
    """A read was answered.

    `via`: "l1"; "l2", from Redis; "filled", from a node that had replayed the record's floor;
    "joined", by a load or an answer of Redis that was asked for before; "list", the answer of a
    select that is cached, in whichever tier; "past", from a node and past the cache.
    """

    caller: str
    session: str
    how: str
    key: int
    version: int
    token: str
    via: str
    node: str
    start: int
    end: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A read raised. `why`: the error's kind, `text`: what it said."""

    caller: str
    how: str
    why: str
    text: str
    start: int
    end: int


class Session(msgspec.Struct, frozen=True, tag="session"):
    """A session began here with the bookmark of another, which was made at `at`. `parent`: empty
    for none."""

    id: str
    parent: str
    at: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The bookmark that the session was to begin with was not taken."""

    session: str
    why: str
    at: int


class Nested(msgspec.Struct, frozen=True, tag="nested"):
    """A session that was begun inside another has ended: what it did is the outer one's from `at`
    on."""

    inner: str
    outer: str
    at: int


class AtLeast(msgspec.Struct, frozen=True, tag="at least"):
    """A read that does not show a row, but whether its version is `least` or more."""

    caller: str
    session: str
    how: str
    key: int
    least: int
    holds: bool
    start: int
    end: int


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """This process has done what a message says."""

    bucket: int
    incarnation: str
    seq: int
    at: int


class Channel(msgspec.Struct, frozen=True, tag="channel"):
    """The process hears of invalidations, or does not."""

    up: bool
    at: int


class Stall(msgspec.Struct, frozen=True, tag="stall"):
    """The process's event loop did not turn."""

    start: int
    end: int


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """What the conductor did, to whom, and from when to when."""

    kind: str
    target: str
    start: int
    end: int


class Lived(msgspec.Struct, frozen=True, tag="lived"):
    """What the process takes for the primary's history from now on."""

    history: str
    at: int


class Turned(msgspec.Struct, frozen=True, tag="turned"):
    """The owner's mode in this process from now on."""

    mode: str
    at: int


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """The process has left its database. `why`: the error's kind, or "Hang" if it had not by
    then."""

    why: str
    start: int
    end: int


class Ending(msgspec.Struct, frozen=True, tag="ending"):
    """After all faults were lifted: what a process has in a tier ("l1" from there on, "l2" from
    there on, "list", in cached answers of selects, or "feed", the copy that it keeps), and the
    primary. `seconds`: since they were lifted."""

    tier: str
    key: int
    version: int
    truth: int
    seconds: float


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """How many events of each kind the process has seen; of refused bookmarks: for each reason."""

    events: dict[str, int]


Record = (
    Initial
    | Begun
    | Staged
    | Ended
    | Read
    | AtLeast
    | Failed
    | Session
    | Refused
    | Nested
    | Applied
    | Channel
    | Stall
    | Lived
    | Turned
    | Closed
    | Fault
    | Ending
    | Counted
)
Entry = tuple[str, Record]
"""Who told it, and what."""
_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class Recorder:
    """Appends to one file, a line at a time. What others depend on (`at_once`) survives a kill of
    this process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self._waiting: list[bytes] = []

    def tell(self, record: Record, *, at_once: bool = False) -> None:
        self._waiting.append(_ENCODER.encode(record))
        if at_once or len(self._waiting) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            os.write(self._file, b"\n".join([*self._waiting, b""]))
            self._waiting.clear()


def read_history(folder: Path) -> list[Entry]:
    """Everything told into the files of a folder, by the name of the file without its ending."""
    return [
        (path.stem, record)
        for path in sorted(folder.glob("*.jsonl"))
        for record in read_lines(path)
    ]


def read_lines(path: Path) -> Iterator[Record]:
    """The records of one file; a last line that was cut by a kill is none."""
    lines = path.read_bytes().splitlines(keepends=True)
    for line in lines:
        if line.endswith(b"\n"):
            yield _DECODER.decode(line)


def write_history(path: Path, records: Iterable[Record]) -> None:
    """All records into one file."""
    path.write_bytes(b"".join(_ENCODER.encode(record) + b"\n" for record in records))


def now() -> int:
    return time.monotonic_ns()
