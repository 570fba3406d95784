"""Values at random from among all that lie in Redis, and those under the names that count now."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from repocache.errors import CacheUnavailable
from repocache.keys import bucket_of, owner_bucket
from repocache.records.names import Namespace
from repocache.redis_link import Link, ReplyError

_AT_ONCE = 200


class SampledKey(NamedTuple):
    """A key, as one release of an owner has it."""

    owner: str
    fingerprint: str
    text: str


class Sampler(Protocol):
    """Both raise CacheUnavailable."""

    async def places(self, draws: int) -> set[SampledKey]:
        """Where so many keys drawn at random lie; those that are none of this application's values
        are left out."""
        ...

    async def values(self, places: Sequence[SampledKey]) -> list[bytes | None]:
        """What is there now and would be found: under the record's incarnation and the owner's
        generation."""
        ...


class RedisSampler:
    """Asks for what it needs in small portions: it shares the connection with the reads.
    `max_value`: bytes; of a longer value one more is read."""

    def __init__(self, link: Link, namespace: Namespace, max_value: int) -> None:
        self._link = link
        self._namespace = namespace
        self._max_value = max_value
        root = re.escape(namespace.root)
        self._value = re.compile(
            rf"{root}:\{{b\d+\}}:[^:.]+\.[^:.]+:([^:]+):(([^:]+):.*)", re.DOTALL
        )

    async def places(self, draws: int) -> set[SampledKey]:
        found: set[SampledKey] = set()
        for start in range(0, draws, _AT_ONCE):
            names = await self._all([("RANDOMKEY",)] * min(_AT_ONCE, draws - start))
            for name in names:
                match = self._value.fullmatch((name or b"").decode(errors="replace"))
                if match is not None:
                    found.add(SampledKey(owner=match[3], fingerprint=match[1], text=match[2]))
        return found

    async def values(self, places: Sequence[SampledKey]) -> list[bytes | None]:
        values: list[bytes | None] = []
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            record = self._namespace.record
            records = await self._all(
                [("HGET", record(bucket_of(each.text)), "i") for each in some]
            )
            owners = await self._all(
                [
                    ("HMGET", record(owner_bucket(each.owner)), "i", f"g:{each.owner}")
                    for each in some
                ]
            )
            values += await self._fetched(list(map(self._name, some, records, owners)))
        return values

    def _name(
        self, place: SampledKey, incarnation: bytes | None, own: Sequence[bytes | None]
    ) -> str:
        generation = own[1] or own[0] or b""
        bucket, under = bucket_of(place.text), ((incarnation or b"").decode(), generation.decode())
        return self._namespace.prefix(bucket, *under, place.fingerprint) + place.text

    async def _fetched(self, names: Sequence[str]) -> list[bytes | None]:
        try:
            asked = [self._link.fetch(name, self._max_value + 1) for name in names]
            return [await each for each in asked]
        except ReplyError as error:
            raise CacheUnavailable(f"Redis: {error}") from error

    async def _all(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        try:
            return await asyncio.gather(*(self._link.call(*command) for command in commands))
        except ReplyError as error:
            raise CacheUnavailable(f"Redis: {error}") from error


class NothingShared:
    """A process that caches for itself alone shares nothing."""

    async def places(self, _draws: int) -> set[SampledKey]:
        return set()

    async def values(self, places: Sequence[SampledKey]) -> list[bytes | None]:
        return [None] * len(places)
