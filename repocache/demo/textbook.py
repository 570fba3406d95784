"""The textbook's cache-aside: GET, else SELECT from any replica and SET; UPDATE and COMMIT, then
DEL.

As one finds it in articles and vendors' guides, with good habits: binary-safe JSON, a TTL,
deadlines, a Redis that is away is passed by, few attempts.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Self

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from repocache.demo.airports import Airport, raise_version
from repocache.demo.contestant import OWNER, POOL, TTL, Bearer, DemoAnswer, Place, Written


class Card(msgspec.Struct):
    """An airport as it is cached."""

    icao: str
    iata: str
    name: str
    city: str
    subd: str
    country: str
    elevation: float
    lat: float
    lon: float
    tz: str
    lid: str
    version: int


COLUMNS = tuple(getattr(Airport, name) for name in Card.__struct_fields__)


class Anonymous:
    """The session of a cache that knows of none."""

    def encode(self) -> str:
        return ""


class Textbook:
    """A `Contestant`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack = AsyncExitStack()
        self._decode = msgspec.json.Decoder(Card).decode
        self._select = select(*COLUMNS)

    async def __aenter__(self) -> Self:
        place, stack = self._place, self._stack
        engine = create_async_engine(place.primary, pool_size=POOL, max_overflow=0)
        stack.push_async_callback(engine.dispose)
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._replicas = []
        for number, url in enumerate(place.replicas, 1):
            # As fast as can be: one statement, no BEGIN and ROLLBACK around it.
            replica = create_async_engine(
                url, pool_size=POOL, max_overflow=0, isolation_level="AUTOCOMMIT"
            )
            stack.push_async_callback(replica.dispose)
            self._replicas.append((f"replica{number}", replica))
        self._redis: Redis = Redis.from_url(
            place.redis, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 1)
        )
        stack.push_async_callback(self._redis.aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def read(self, key: str) -> DemoAnswer:
        name = f"{OWNER}:{key}"
        try:
            cached = await self._redis.get(name)
        except RedisError:
            card, node = await self._load(key)
            return DemoAnswer(card.version, "database", node)
        if cached is not None:
            return DemoAnswer(self._decode(cached).version, "l2", "")
        card, node = await self._load(key)
        with suppress(RedisError):  # the next reader tries again
            await self._redis.set(name, msgspec.json.encode(card), ex=int(TTL))
        return DemoAnswer(card.version, "database", node)

    async def _load(self, key: str) -> tuple[Card, str]:
        node, engine = random.choice(self._replicas)  # noqa: S311 - any of them
        async with engine.connect() as connection:
            row = (await connection.execute(self._select.where(Airport.icao == key))).one_or_none()
        if row is None:
            raise LookupError(key)
        return Card(*row), node

    async def write(self, key: str) -> Written:
        async with self._sessions() as session:
            version = await raise_version(session, key)
            await session.commit()
        try:
            await self._redis.delete(f"{OWNER}:{key}")
        except RedisError:
            return Written(version, published=False)
        return Written(version, published=True)

    @asynccontextmanager
    async def session(self, incoming: str) -> AsyncIterator[Bearer]:
        yield Anonymous()
