"""One process of a storm: it adds, and keeps accounts; or it flushes until it is killed."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter as Tally
from decimal import Decimal

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from proof.behind.words import IDS, OWN, Account, Adding, Counter, Counters, Order
from repocache import BacklogFull, Database, DatabaseUnavailable, Settings, TopologySettings
from repocache.errors import BehindUnavailable
from repocache.events import ignore

QUIET = Settings(
    observe=ignore, topology=TopologySettings(sample_every=0.2), publish_timeout=0.5, app="storm"
)


class Adder:
    """Makes its increments in rounds; after each it compares its own counter."""

    def __init__(self, order: Order, behind: Adding) -> None:
        self._order = order
        self._behind = behind
        self._own = OWN + order.number
        self._hits: Tally[int] = Tally()
        self._weight: Tally[int] = Tally()
        self._last = 0
        self._reads = self._full = 0
        self._wrong: list[str] = []

    async def run(self) -> Account:
        left, number = self._order.increments, 0
        while left > 0:
            many = min(left, self._order.together)
            ids = [self._own if n % 10 == 0 else (number + n) % IDS for n in range(many)]
            await asyncio.gather(*(self._one(id) for id in ids))
            left -= many
            number += many
            await self._put(number)
            if (number // many) % 5 == 0:
                await self._compare()
        return Account(
            dict(self._hits), dict(self._weight), self._last, self._reads, self._full, self._wrong
        )

    async def _one(self, id: int) -> None:
        """One that was refused, or could not be sent, is made again."""
        while True:
            try:
                if id % 7:
                    await self._behind.add(id, hits=1)
                else:
                    await self._behind.add(id, hits=1, weight=Decimal("0.001"))
            except BacklogFull:
                self._full += 1
                await asyncio.sleep(0.05)
            except BehindUnavailable as error:
                if "nothing was accepted" not in str(error):
                    raise
                await asyncio.sleep(0.05)
            else:
                break
        self._hits[id] += 1
        self._weight[id] += 0 if id % 7 else 1

    async def _put(self, number: int) -> None:
        while True:
            try:
                await self._behind.put(Counter(id=self._own, last=number))
            except BacklogFull:
                await asyncio.sleep(0.05)
            except BehindUnavailable as error:
                if "nothing was accepted" not in str(error):
                    raise
                await asyncio.sleep(0.05)
            else:
                break
        self._last = number

    async def _compare(self) -> None:
        """Nobody else adds to this one: what is read has all of it, and nothing twice."""
        try:
            found = await self._behind.require(self._own)
        except (DatabaseUnavailable, SQLAlchemyError, BehindUnavailable, OSError):
            return
        self._reads += 1
        wanted = (self._hits[self._own], self._last)
        if (found.hits, found.last) != wanted:
            self._wrong.append(f"{self._own}: {(found.hits, found.last)} for {wanted}")


async def main(order: Order) -> None:
    kind = Adding if order.number >= 0 else Counters
    async with Database(
        order.primary, redis=order.redis, repositories=[kind], settings=QUIET
    ) as db:
        print("ready", flush=True)  # noqa: T201  # to who has started it
        if order.number < 0:
            await asyncio.Event().wait()
        account = await Adder(order, db[Adding]).run()
        print(msgspec.json.encode(account).decode(), flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.argv[1].encode(), type=Order)))
