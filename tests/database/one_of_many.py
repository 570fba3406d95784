"""One process of several whose callers all want one cold row:
`python -m tests.database.one_of_many PRIMARY REDIS CALLERS`. It says "ready" on stdout, begins once
it is told to on stdin, and says the names that its callers were given, or their errors."""

from __future__ import annotations

import asyncio
import sys

from repocache import CacheAside, Database, KeyOwner, Repository
from tests.shop import User

COLD = 7


class Users(Repository[User, int]):
    owner = KeyOwner("user")
    policy = CacheAside(ttl=300)


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


async def main(primary: str, redis: str, callers: str) -> None:
    async with Database(primary, redis=redis, repositories=[Users]) as db:
        await db[Users].get(1)
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        say("asking")
        found = await asyncio.gather(
            *(db[Users].get(COLD) for _ in range(int(callers))), return_exceptions=True
        )
        said = {each.name if isinstance(each, User) else type(each).__name__ for each in found}
        say(" ".join(sorted(said)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
