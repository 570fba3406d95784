"""The names of one application's keys in Redis, the marks of what lies in them, and names never
used twice."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from itertools import count

from repocache.keys import KEY_FORMAT
from repocache.records.message import WIRE_VERSION

VALUE = b"V"
"""First byte of a value; the codec's bytes follow."""
ABSENT = b"N"
"""The whole of a negative entry: the database had no such row."""
KEEP = b"K"
"""In a value's place, of a fill whose lease was left beside a row: that row, for longer."""
LEASE = b"L"
"""First byte of a lease; its nonce follows."""
BESIDE = "~"
"""Behind a fingerprint: the name of a lease that is left beside a row, which stays."""
ASIDE = "!"
"""Behind a fingerprint: the name of a row that an invalidation has taken away."""
UNKNOWN = "?"
"""As a position: known that something was written, not known where. The bucket's record is made
anew."""
NOWHERE = ""
"""As a position: this database has none. The floor stays unknown, so that only the primary
fills."""


class RecordNames(dict[int, str]):
    """The key of each bucket's record, made when it is asked for first. Its number is the cluster's
    hash tag."""

    def __init__(self, root: str) -> None:
        self._root = root

    def __missing__(self, bucket: int) -> str:
        name = self[bucket] = f"{self._root}:{{b{bucket}}}"
        return name


@dataclass(frozen=True, slots=True)
class Namespace:
    """The names of one application's keys. Its format numbers are part of every name, so that
    releases which would not understand each other do not meet."""

    app: str
    root: str = field(init=False)
    channel: str = field(init=False)
    """Where all invalidations are published."""
    records: RecordNames = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        root = f"{self.app}:{WIRE_VERSION}.{KEY_FORMAT}"
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "channel", f"{root}:invalidations")
        object.__setattr__(self, "records", RecordNames(root))

    def record(self, bucket: int) -> str:
        """The key of a bucket's record."""
        return self.records[bucket]

    def prefix(self, bucket: int, incarnation: str, generation: str, fingerprint: str) -> str:
        """What stands before a key's text: of its bucket's record, of its owner's, of its row's
        shape. The scripts build the same."""
        return f"{self.records[bucket]}:{incarnation}.{generation}:{fingerprint}:"


class Nonces:
    """Names never used twice: 64 random bits of this process, and a counter."""

    def __init__(self) -> None:
        self.process = secrets.token_hex(8)
        #: The next one, without a call of Python's: every miss takes two.
        self.next = map(f"{self.process}%x".__mod__, count(1)).__next__

    def __call__(self) -> str:
        return self.next()

    def tip(self) -> str:
        """Of a change: nobody who knows all that were used can guess it."""
        return secrets.token_hex(8)


position_text = "{:016x}".format
"""A WAL position in bytes, so written that texts sort as positions do (Lua's numbers hold only 53
bits)."""
