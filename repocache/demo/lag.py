"""How far the replicas are behind, asked of the servers themselves, so the same for every
contestant."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

EVERY = 0.25
POSITION = text(
    "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() "
    "END - '0/0')::bigint"
)


class Lags:
    """`async with Lags(primary, replicas) as lags:` polls four times a second. `bytes`: by replica,
    of WAL."""

    def __init__(self, primary: str, replicas: Sequence[str]) -> None:
        names = ["primary", *(f"replica{number}" for number in range(1, len(replicas) + 1))]
        self._urls = dict(zip(names, (primary, *replicas), strict=True))
        self._engines: list[AsyncEngine] = []
        self._connections: dict[str, AsyncConnection] = {}
        self._bytes: dict[str, int] = {}

    @property
    def bytes(self) -> Mapping[str, int]:
        return dict(self._bytes)

    async def __aenter__(self) -> Self:
        for name, url in self._urls.items():
            engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
            self._engines.append(engine)
            self._connections[name] = await engine.connect()
        self._polling = asyncio.create_task(self._poll())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._polling.cancel()
        await asyncio.gather(self._polling, return_exceptions=True)
        for connection in self._connections.values():
            await connection.close()
        for engine in self._engines:
            await engine.dispose()

    async def _poll(self) -> None:
        while True:
            # Replicas last: what they have replayed since makes them look better by a moment, never
            # worse.
            positions = {
                name: await position(connection) for name, connection in self._connections.items()
            }
            written = positions.pop("primary")
            self._bytes = {name: max(0, written - replayed) for name, replayed in positions.items()}
            await asyncio.sleep(EVERY)


async def position(connection: AsyncConnection) -> int:
    """In bytes: written by a primary, replayed by a replica."""
    return int((await connection.execute(POSITION)).scalar_one())
