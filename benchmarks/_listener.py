"""A process that has rows in its L1 and hears what others commit, until its input ends. Told on
stdin where the servers are; tells on stdout when it is connected."""

from __future__ import annotations

import asyncio
import sys

from benchmarks import hits_local
from benchmarks._hits import KEYS
from benchmarks._shop import Users, database
from repocache.testing import Endpoints


async def main() -> None:
    primary, redis = (await asyncio.to_thread(sys.stdin.readline)).split()
    async with database(Endpoints(primary, (), redis), Users) as db:
        await hits_local.into_l1(db[Users], range(KEYS))
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
