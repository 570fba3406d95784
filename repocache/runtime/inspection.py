"""One key, tier by tier, beside the primary's row: what lies in Redis under the names that count,
and what its records say.

Owns the questions to Redis. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from repocache.cache.entry import Row
from repocache.cache.values import Values, is_lease
from repocache.errors import CacheUnavailable
from repocache.events import ignore
from repocache.keys import bucket_of, owner_bucket
from repocache.records import Namespace
from repocache.records.names import ASIDE, BESIDE
from repocache.redaction.foreign import in_brief
from repocache.redis_link import Link, ReplyError
from repocache.settings import Settings
from repocache.verification.verifier import Examined


class HeldState(Enum):
    """What lies under a key's name. `UNREADABLE`: bytes that are none of this owner's."""

    ABSENT = "absent"
    VALUE = "value"
    NO_SUCH_ROW = "no such row"
    LEASE = "lease"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedRecord:
    """As Redis has it, empty: it has none. `floor`: a WAL position, empty: not known."""

    incarnation: str = ""
    seq: str = ""
    tip: str = ""
    history: str = ""
    floor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One key. `row`, `primary`: values by column, None: there is no row. `left`: seconds that the
    value has to live. `age_at_most`: seconds since it was stored, at the most; None: not known.
    `aside`: whether a row that an invalidation took away is kept. `write_leases`: commits on their
    way. `unreachable`: why Redis was not asked, empty: it was."""

    key: str
    bucket: int
    name: str = ""
    held: HeldState = HeldState.UNKNOWN
    size: int = 0
    left: float | None = None
    age_at_most: float | None = None
    row: Mapping[str, Any] | None = None
    has_lease_beside: bool = False
    aside: bool = False
    write_leases: int = 0
    record: InspectedRecord = InspectedRecord()
    owner_record: InspectedRecord = InspectedRecord()
    generation: str = ""
    unreachable: str = ""
    primary: Mapping[str, Any] | None = None
    #: Whether both say the same; None: there is nothing to compare.
    is_equal: bool | None = None


async def inspect_key(
    examined: Examined, id: Any, link: Link | None, settings: Settings, columns: Sequence[str]
) -> Inspection:
    """`columns`: names of a row's. Raises DatabaseUnavailable; a Redis that does not answer is
    told."""
    found = Inspection(
        key=examined.source.keys.text(id),
        bucket=bucket_of(examined.source.keys.text(id)),
        unreachable="no Redis is configured",
    )
    row: Row | None = None
    if link is not None:
        try:
            found, row = await _Looking(examined, id, link, settings).found(columns)
        except (CacheUnavailable, ReplyError) as error:
            found = Inspection(key=found.key, bucket=found.bucket, unreachable=in_brief(error))
    primary = (await examined.rows([id])).get(id)
    equal = None
    if found.held in (HeldState.VALUE, HeldState.NO_SUCH_ROW):
        equal = _same(examined, row, primary)
    return replace(found, primary=_named(columns, primary), is_equal=equal)


class _Looking:
    def __init__(self, examined: Examined, id: Any, link: Link, settings: Settings) -> None:
        self._source = examined.source
        self._owner = examined.owner
        self._id = id
        self._link = link
        self._names = Namespace(settings.app)
        self._most = settings.cache.max_value
        self._values = Values(examined.source, self._most, ignore)

    async def found(self, columns: Sequence[str]) -> tuple[Inspection, Row | None]:
        """Raises CacheUnavailable, ReplyError."""
        text = self._source.keys.text(self._id)
        bucket = bucket_of(text)
        generation_field = f"g:{self._owner}"
        record = await self._record(bucket)
        own = await self._record(owner_bucket(self._owner), generation_field)
        generation = own.get(generation_field) or own["i"]
        base: dict[str, Any] = {
            "key": text,
            "bucket": bucket,
            "record": _as_record(record),
            "owner_record": _as_record(own),
            "generation": generation,
            "write_leases": int(
                await self._link.call("HLEN", f"{self._names.record(bucket)}:W:{text}") or 0
            ),
        }
        if not (record["i"] and generation):
            return Inspection(**base, held=HeldState.ABSENT), None
        under = (bucket, record["i"], generation)
        fingerprint = self._source.fingerprint
        name = self._names.prefix(*under, fingerprint) + text
        value = await self._link.fetch(name, self._most + 1)
        base |= {
            "name": name,
            "has_lease_beside": await self._is_there(under, fingerprint + BESIDE, text),
            "aside": await self._is_there(under, fingerprint + ASIDE, text),
        }
        if value is None:
            return Inspection(**base, held=HeldState.ABSENT), None
        left = await self._link.call("PTTL", name) / 1000
        base |= {"size": len(value), "left": left if left >= 0 else None}
        if is_lease(value):
            return Inspection(**base, held=HeldState.LEASE), None
        cached = self._values.decode(text, value, self._id)
        if cached is None:
            return Inspection(**base, held=HeldState.UNREADABLE), None
        policy = self._source.policy
        if cached.row is None:
            age = max(0.0, policy.negative_ttl - left)
            return Inspection(**base, held=HeldState.NO_SUCH_ROW, age_at_most=age), None
        age = max(0.0, policy.ttl + policy.freshness.beyond - left)
        named = _named(columns, cached.row)
        return Inspection(**base, held=HeldState.VALUE, row=named, age_at_most=age), cached.row

    async def _record(self, bucket: int, *more: str) -> dict[str, str]:
        fields = ("i", "s", "t", "h", "f", *more)
        found = await self._link.call("HMGET", self._names.record(bucket), *fields)
        return {
            field: (value or b"").decode(errors="replace")
            for field, value in zip(fields, found, strict=True)
        }

    async def _is_there(self, under: tuple[int, str, str], shape: str, text: str) -> bool:
        return bool(await self._link.call("STRLEN", self._names.prefix(*under, shape) + text))


def _as_record(found: Mapping[str, str]) -> InspectedRecord:
    return InspectedRecord(
        incarnation=found["i"],
        seq=found["s"],
        tip=found["t"],
        history=found["h"],
        floor=found["f"],
    )


def _named(columns: Sequence[str], row: Row | None) -> Mapping[str, Any] | None:
    return None if row is None else dict(zip(columns, row, strict=True))


def _same(examined: Examined, one: Row | None, other: Row | None) -> bool:
    """As bytes: a NaN is then what it is."""
    if one is None or other is None:
        return one is other
    codec = examined.source.codec
    return one == other or codec.encode(one) == codec.encode(other)
