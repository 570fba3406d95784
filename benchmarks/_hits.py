"""Hits in Redis as contestants: ours through a repository that keeps nothing in the process, and
those of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from benchmarks._clients import GLIDE, PEERS, REDIS_PY, Peer
from benchmarks._harness import Call, Open, unable
from benchmarks._shop import Row, SharedUsers, database, row_of
from repocache.testing import Endpoints

KEYS = 2_560
TOGETHER = 32
"""Calls at once, where it does not matter."""
ENTITY = "repocache: users.get"
VIEW = "repocache: users.card.get"
REDIS_PY_GET = f"{REDIS_PY} get"
GLIDE_GET = f"{GLIDE} get"


def ours(ends: Endpoints) -> dict[str, Open]:
    return {ENTITY: partial(entity, ends), VIEW: partial(view, ends)}


def key(name: str, number: int) -> str:
    return f"peer:{name}:{number}"


@asynccontextmanager
async def entity(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, SharedUsers) as db:
        users = db[SharedUsers]
        await warm(users.get, KEYS, KEYS // 10)  # and the state of every record is known
        yield users.get


@asynccontextmanager
async def view(ends: Endpoints) -> AsyncIterator[Call]:
    async with database(ends, SharedUsers) as db:
        users = db[SharedUsers]
        await warm(users.card.get, KEYS, KEYS // 10)
        yield users.card.get


@asynccontextmanager
async def other(ends: Endpoints, name: str, crowd: int) -> AsyncIterator[Call]:
    async with PEERS[name](ends) as peer:
        get = peer.get

        async def call(number: int) -> Row | None:
            return await get(key(name, number))

        for _ in range(2):  # all its connections are open
            await warm(call, crowd, crowd)
        yield call


async def warm(call: Call, keys: int, together: int) -> None:
    """Connections and caches, before the clock starts. All must be hits from now on."""
    for first in range(0, keys, together):
        found = await asyncio.gather(*map(call, range(first, first + together)))
        if None in found:
            raise LookupError(f"no value for {first + found.index(None)}")


async def others(ends: Endpoints, crowd: int) -> dict[str, Open]:
    """One contestant a client or library, with connections for so many callers. It finds the rows
    as the library reads them, in its own form."""
    async with database(ends, SharedUsers) as db:
        found = await db[SharedUsers].get_many(range(KEYS))
    rows = {number: row_of(user) for number, user in found.items()}
    made: dict[str, Open] = {}
    for name, opened in PEERS.items():
        made[f"{name} get"] = partial(other, ends, name, crowd)
        try:
            async with opened(ends) as peer:
                await put(peer, name, rows)
        except Exception as error:
            made[f"{name} get"] = unable(error)
    return made


async def put(peer: Peer, name: str, rows: dict[int, Row]) -> None:
    for first in range(0, KEYS, TOGETHER):
        some = range(first, first + TOGETHER)
        await asyncio.gather(*(peer.put(key(name, each), rows[each]) for each in some))
