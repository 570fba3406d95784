"""Rows to what lies in Redis and back: the mark in front, negative entries, bounds and times of
life."""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

from repocache.cache.absences import Absences
from repocache.cache.entry import CachedRow, Codec, Row, Source
from repocache.cache.usual_size import SMALL, SMOOTHED, UsualSize
from repocache.errors import CodecError
from repocache.events import CacheFailed, Observer, ValueBig, ValueRefused
from repocache.keys import LONGEST, shown
from repocache.records.names import ABSENT, LEASE, VALUE
from repocache.redaction.foreign import in_brief

NOT_KEPT = b""
"""In a value's place: the lease is given back and nothing is stored."""
VERSION = 16
"""Bytes of a row's version."""
NO_LIFE = 0.0
"""Seconds, of what is not kept: nor is what the lease was left beside."""


def row_version(codec: Codec, row: Row | None) -> bytes:
    """A digest of the values: the same in every process for the same. Raises CodecError."""
    content = ABSENT if row is None else VALUE + codec.encode(row)
    return hashlib.blake2b(content, digest_size=VERSION).digest()


class Values:
    """One owner's values. `max_value`: bytes; a larger one is neither stored nor believed."""

    def __init__(self, source: Source, max_value: int, observe: Observer) -> None:
        self._owner = source.keys.prefix
        self._codec = source.codec
        self._id = source.id
        self._policy = source.policy
        self._jitter = source.policy.jitter
        #: Seconds of any row, 0: they depend on it.
        self._rows_ttl = source.policy.ttl if source.policy.freshness.ttl_of is None else 0.0
        self.absences = Absences(source.policy.negative_ttl, time.monotonic)
        self._beyond = source.policy.freshness.beyond
        self._entity = source.entity
        self._signature = source.signature
        self._max_value = max_value
        self._observe = observe
        self._usual = UsualSize()

    def encode(self, text: str, row: Row | None) -> tuple[bytes, float]:
        """The bytes and their life in seconds. NOT_KEPT, with an event, for a row that cannot be
        stored."""
        life = self.life(text, row)
        if not life:
            return NOT_KEPT, NO_LIFE
        if row is None:
            if not self.absences.admits():
                return NOT_KEPT, NO_LIFE
            return self._signature.sign(text, ABSENT), life
        try:
            value = self._signature.sign(text, VALUE + self._codec.encode(row))
            if len(value) > self._max_value:
                raise CodecError(f"{len(value)} bytes are more than max_value={self._max_value}")
        except CodecError as error:
            self._observe(ValueRefused(text, str(error)))
            return NOT_KEPT, NO_LIFE
        size, usual = len(value), self._usual
        if size <= SMALL:
            usual.count += 1
            usual.bytes += (size - usual.bytes) / SMOOTHED
        else:
            self._tell_big(text, size)
        return value, life

    def version(self, row: Row | None) -> bytes:
        """See `row_version`."""
        return row_version(self._codec, row)

    def life(self, text: str, row: Row | None) -> float:
        """Seconds that it lies in Redis, 0: it is not kept."""
        less = 1.0 - self._jitter * random.random()  # noqa: S311  # jitter
        ttl = (row is not None and self._rows_ttl) or self._ttl(row)
        if len(text) > LONGEST or not ttl:
            return NO_LIFE
        return ttl * less if row is None else ttl * less + self._beyond

    def _tell_big(self, text: str, size: int) -> None:
        usual = round(self._usual.bytes)
        if self._usual.is_big(size, time.monotonic()):
            self._observe(ValueBig(self._owner, text, size, usual))

    def _ttl(self, row: Row | None) -> float:
        """Seconds, 0: it is not kept."""
        policy, ttl_of = self._policy, self._policy.freshness.ttl_of
        if row is None:
            return policy.negative_ttl
        if ttl_of is None:
            return policy.ttl
        try:
            return max(0.0, min(policy.ttl, float(ttl_of(self._entity(row)))))
        except Exception as error:  # noqa: BLE001  # it is the application's, and no reader's affair
            self._observe(CacheFailed("ttl_of", in_brief(error)))
            return policy.ttl

    def decode(self, text: str, value: bytes, id: Any) -> CachedRow | None:
        """The row; None, with an event, for bytes that cannot be this owner's, or are a row of
        another id than the key's, or were not signed for it."""
        length = len(value)
        try:
            if length > self._max_value:
                raise CodecError(f"{length} bytes are more than max_value={self._max_value}")
            value = self._signature.unsign(text, value)
            if value == ABSENT:
                if not self._policy.negative_ttl:
                    # Of a release that keeps them: nobody would tell it of a row that is new.
                    raise CodecError("there is a negative entry, and the policy keeps none")
                return CachedRow(None)
            if value[:1] != VALUE:
                raise CodecError(f"a value does not begin with {value[:1]!r}")
            row = self._codec.decode(value[1:])
            if self._id(row) != id:
                raise CodecError(f"the row under this key has the id {shown(self._id(row))}")
            return CachedRow(row, length)
        except CodecError as error:
            self._observe(ValueRefused(text, str(error)))
            return None

    def local_life(self, cached: CachedRow) -> float:
        """Seconds in L1, 0: not at all."""
        policy, life = self._policy, self._policy.local_ttl
        if cached.row is None or policy.freshness.ttl_of is not None:
            life = min(life, self._ttl(cached.row))
        return life * (1.0 - policy.jitter * random.random())  # noqa: S311  # jitter


def is_lease(value: bytes) -> bool:
    """Whether a loader is at work there."""
    return value[:1] == LEASE


def digest(value: bytes) -> str:
    """By which a script knows a value that could not be read."""
    return hashlib.sha1(value, usedforsecurity=False).hexdigest()
