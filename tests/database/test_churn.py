"""Work leaves nothing behind: rows come and go, and the process holds no more than before."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

from repocache import Settings
from tests.shop import QUICK, User, Users, in_rotation, open_shop

CALLS = 3_000
LEFT = 500
"""Objects that one phase may end with more than another: what is under way in the background."""


async def test_what_was_read_and_written_leaves_nothing_behind(repocache_endpoints: Any) -> None:
    settings = Settings(topology=QUICK, local_entries=4)
    async with open_shop(repocache_endpoints, settings) as shop:
        await in_rotation(shop)
        async with shop.db.unit_of_work() as work:
            work.add_all([User(id=id, name="a", age=1) for id in range(1000, 1020)])
            await work.commit()

        async def step(n: int) -> None:
            id = 1000 + (n + n // 10) % 20
            if n % 10:
                await shop.users.get(id)
            elif n % 20:
                async with shop.db.causal_session(), shop.db.unit_of_work() as work:
                    (await work[Users].require(id)).name = f"{n}"
                    await work.commit()
            else:
                await shop.users.get_many([id, id + 1, -n])

        held: list[Counter[str]] = []
        for _ in range(3):
            for begin in range(0, CALLS, 10):
                await asyncio.gather(*map(step, range(begin, begin + 10)))
            await asyncio.sleep(0.1)
            shop.seen.clear()  # the test's own
            gc.collect()
            held.append(Counter(type(each).__name__ for each in gc.get_objects()))
        more = held[2] - held[1]
        assert more.total() < LEFT, more.most_common(5)
