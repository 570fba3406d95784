"""What a read brings: a row or the knowledge that there is none; and what an owner must give to be
cached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Any, NamedTuple, Protocol

from repocache.bookmark import Bookmark
from repocache.cache.policies import Policy
from repocache.cache.signature import UNSIGNED, Signature
from repocache.cache.switch import CacheMode
from repocache.errors import CodecError, ConfigurationError
from repocache.keys import Keys

Row = tuple[Any, ...]


class CachedRow:
    """One key's answer, as it lies in L1: shared by all callers, never changed.

    `row`: the columns' values, None: there is no such row. `length`: bytes of the encoded value.
    `shapes`: frozen views made from it, by their type. `version`: of its values, once somebody has
    asked; see `TieredCache.version`.
    """

    __slots__ = ("length", "row", "shapes", "version")

    def __init__(self, row: Row | None, length: int = 0) -> None:
        self.row = row
        self.length = length
        self.shapes: dict[type, Any] = {}
        self.version = b""

    @property
    def size(self) -> int:
        """Bytes that the row takes here, with what is in its lists and dicts. Objects of other
        types do not tell what they hold: it is no less than the encoded value is long."""
        return 0 if self.row is None else max(_weight(self.row), self.length)


def _weight(row: Row) -> int:
    size = getsizeof(row)
    inner: list[Any] = [row]
    while inner:
        item = inner.pop()
        parts = [*item, *item.values()] if type(item) is dict else item
        size += sum(map(getsizeof, parts))
        inner += [part for part in parts if type(part) in _HOLDERS]
    return size


_HOLDERS = frozenset({dict, list, tuple})


class Codec(Protocol):
    """Rows to bytes and back. Raises CodecError, whatever the bytes."""

    def encode(self, row: Row) -> bytes: ...

    def decode(self, payload: bytes) -> Row: ...


class RowRequest(NamedTuple):
    """One key that the database has to answer.

    `floor`: the position that a replica must have replayed; None: unknown, so the primary answers;
    0: any node may. `history`: the line of WAL that the floor belongs to. `bookmark`: the
    session's, if it has one. `fills`: the row is to be stored, so that a replica must be known to
    be within its limit of lag now. `kept`: the row that lies there past its time, or is read anew
    before its end, and that nothing has invalidated when the lease was taken: who answers with it
    stores it for longer. Of a conditional source alone.
    """

    id: Any
    floor: int | None
    history: str
    bookmark: Bookmark | None
    fills: bool = False
    kept: Row | None = None

    @property
    def primary(self) -> bool:
        """Whether only the primary will do."""
        mark = self.bookmark
        if mark is None or mark.position == 0:
            return self.floor is None
        return self.floor is None or mark.position is None or mark.history != self.history


Load = Callable[[Sequence[RowRequest]], Awaitable[Mapping[Any, Row | CodecError]]]
"""Reads rows by id from a node that satisfies every one of the wanted. Ids without a row are
missing from the answer; in the place of a row that cannot be read stands the error for those who
asked for it. Its snapshots are taken after the call."""


@dataclass(frozen=True, slots=True)
class Source:
    """One owner's side of the cache. `id`: of a row. `signature`: of its values in Redis. `entity`:
    what a function of the application's is given of a row. `alone`: each load is a statement of its
    own, for which no other waits. `conditional`: loads are told what is kept."""

    keys: Keys
    fingerprint: str
    policy: Policy
    codec: Codec
    load: Load
    id: Callable[[Row], Any]
    signature: Signature = UNSIGNED
    alone: bool = False
    entity: Callable[[Row], Any] = tuple
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """`lease`: seconds that one loader may take before another may fill in its place. `patience`:
    seconds to wait for somebody else's load before reading the database oneself, and storing
    nothing: above `lease`, so that one of those who wait takes over from a loader that died.
    `batch`: keys of one statement. `max_value`: bytes of one value in Redis. `observe_hits`: tell
    the observer of L1 hits too, which costs several times the hit itself. `mode`: of every owner,
    until
    `Database.switch` gives it another.
    """

    lease: float = 2.0
    patience: float = 2.5
    batch: int = 512
    max_value: int = 1024 * 1024
    observe_hits: bool = False
    mode: CacheMode = CacheMode.ON

    def __post_init__(self) -> None:
        for name in ("lease", "patience", "batch", "max_value"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"CacheSettings({name}={getattr(self, name)}): give more than 0"
                )
        if not isinstance(self.mode, CacheMode):
            raise ConfigurationError(
                f"CacheSettings(mode={self.mode!r}): give a CacheMode, as in CacheMode.SHADOW"
            )
