"""Every way to read, each recorded.

By id, by a condition, as views, as cached lists and counts, in transactions of the caller's own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import select, text

from proof.faults.items import Item, listing, shelf_of
from proof.faults.place import HANG, PATIENCE, Place, Visit, hot, kind_of
from proof.faults.records import AtLeast, Failed, Read, now
from proof.faults.witness import Trace

Rows = AbstractAsyncContextManager[Sequence[Any]]
"""What was read, with `id`, `version` and `token`; a transaction is open as long as the block."""
CACHED = ("get", "get_many", "view", "views")
"""Kinds that a cache may answer."""
SEVERAL = ("get_many", "views", "work", "snapshot")
"""Kinds that may ask for more than one key."""
LISTED = "listed"
"""The kind whose answer is cached by its select."""
COMPARING = ("count", "counted", "exists")
Kinds = Mapping[str, float]
"""By how often they come."""
PLAIN: Kinds = {"get": 12, "get_many": 3, "find": 2, "view": 2, "views": 0.5, LISTED: 3}
ALL: Kinds = {
    **PLAIN,
    "count": 1,
    "counted": 1,
    "exists": 0.5,
    "work": 0.8,
    "work undone": 0.8,
    "plain": 0.8,
    "snapshot": 1,
}
SNAPSHOT = "SELECT id, version, token FROM item WHERE id = ANY(:ids)"


class Reads:
    """`await reads.read(visit, chance)`: one of them, answered or failed, and recorded."""

    def __init__(self, place: Place) -> None:
        self._db = place.db
        self._class = place.items
        self._items = place.db[place.items]
        self._recorder = place.recorder
        self._witness = place.witness
        self._ways: Mapping[str, Callable[[Sequence[int]], Rows]] = {
            "get": self._get,
            "get_many": self._get_many,
            "find": self._find,
            "view": self._view,
            "views": self._views,
            LISTED: self._listed,
            "work": self._work,
            "work undone": self._work_undone,
            "plain": self._plain,
            "snapshot": self._snapshot,
        }

    async def read(self, visit: Visit, chance: random.Random, kinds: Kinds = ALL) -> None:
        """Of keys near the visit's, if it has any, and of others now and then."""
        [how] = chance.choices(list(kinds), list(kinds.values()))
        near = visit.near
        key = chance.choice(near) if near and chance.random() < 0.9 else hot(chance)
        if how in COMPARING:
            return await self._compare(visit, how, key)
        keys = [*shelf_of(key)] if how == LISTED else [key]
        if how in SEVERAL:
            keys = sorted({key, *near, *(hot(chance) for _ in range(3))})
        # Others of the session may read while its transaction is open.
        within = kinds is ALL and how not in PLAIN and chance.random() < 0.5
        trace, start = self._witness.begin(), now()
        patience = asyncio.timeout(PATIENCE)
        try:
            async with patience, self._ways[how](keys) as rows:
                self._tell(visit, how, rows, trace, start)
                if len(rows) != len(keys):
                    what = f"{keys}: {len(rows)} rows"
                    self._recorder.tell(Failed(visit.caller, how, "Missing", what, start, now()))
                if within:
                    await self.read(visit, chance, PLAIN)
        except Exception as error:  # noqa: BLE001  # the checker judges it
            self._fail(visit, how, patience, error, start)

    def _tell(
        self,
        visit: Visit,
        how: str,
        rows: Sequence[Any],
        trace: Trace,
        start: int,
    ) -> None:
        end = now()
        past = how not in (*CACHED, LISTED)
        past = past or (self._db.settings.monotonic and visit.session != "")
        ways, listed = self._witness.ways(trace), self._witness.list_way(trace)
        for row in rows:
            way = ("past", "") if past else listed if how == LISTED else ways(row.id)
            shown = (how, row.id, row.version, row.token, *way)
            self._recorder.tell(Read(visit.caller, visit.session, *shown, start, end))
        visit.saw({row.id: row.version for row in rows})

    def _fail(
        self,
        visit: Visit,
        how: str,
        patience: asyncio.Timeout,
        error: Exception,
        start: int,
    ) -> None:
        why = HANG if patience.expired() else kind_of(error)
        self._recorder.tell(Failed(visit.caller, how, why, str(error)[:300], start, now()))

    async def _compare(self, visit: Visit, how: str, key: int) -> None:
        """Whether the row is as new as the visit knows it to be."""
        least = visit.seen.get(key, 1)
        start, patience = now(), asyncio.timeout(PATIENCE)
        items = self._items.cached() if how == "counted" else self._items
        ask = items.exists if how == "exists" else items.count
        try:
            async with patience:
                holds = bool(await ask(Item.id == key, Item.version >= least))
        except Exception as error:  # noqa: BLE001  # the checker judges it
            return self._fail(visit, how, patience, error, start)
        told = AtLeast(visit.caller, visit.session, how, key, least, holds, start, now())
        self._recorder.tell(told)

    @asynccontextmanager
    async def _get(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        item = await self._items.get(keys[0])
        yield [] if item is None else [item]

    @asynccontextmanager
    async def _get_many(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        yield list((await self._items.get_many(keys)).values())

    @asynccontextmanager
    async def _find(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        yield await self._items.find(Item.id == keys[0])

    @asynccontextmanager
    async def _view(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        shown = await self._items.shown.get(keys[0])
        yield [] if shown is None else [shown]

    @asynccontextmanager
    async def _views(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        yield list((await self._items.shown.get_many(keys)).values())

    @asynccontextmanager
    async def _listed(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        yield await self._items.cached().rows(listing(keys))

    @asynccontextmanager
    async def _work(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        """Committed, though nothing was written."""
        async with self._db.unit_of_work() as work:
            yield list((await work[self._class].get_many(keys)).values())
            await work.commit()

    @asynccontextmanager
    async def _work_undone(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        async with self._db.unit_of_work() as work:
            yield await work[self._class].find(Item.id == keys[0])
            await work.rollback()

    @asynccontextmanager
    async def _plain(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        """A session that is closed without a word."""
        columns = select(Item.id, Item.version, Item.token)
        async with self._db.sessionmaker() as session:
            yield (await session.execute(columns.where(Item.id == keys[0]))).all()

    @asynccontextmanager
    async def _snapshot(self, keys: Sequence[int]) -> AsyncIterator[Sequence[Any]]:
        async with self._db.snapshot() as connection:
            yield (await connection.execute(text(SNAPSHOT), {"ids": list(keys)})).all()
