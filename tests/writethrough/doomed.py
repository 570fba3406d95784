"""A writer that is killed: `python -m tests.writethrough.doomed PRIMARY REDIS WHERE`, WHERE being
"leased" (its write lease is taken, COMMIT was not sent) or "committed" (nothing was published). It
says so on stdout, and then waits."""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from unittest.mock import patch

from repocache import Database
from repocache.invalidation.bus import Bus
from repocache.publication import write_through
from repocache.publication.publisher import CommitPublisher
from tests.writethrough.ledger import Accounts, Prices

HELD: dict[str, tuple[Any, str]] = {
    "leased": (CommitPublisher, "seal"),
    "committed": (Bus, "publish"),
}
LEASE = 0.2


async def wait_for_death(where: str) -> None:
    sys.stdout.write(where + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def main(primary: str, redis: str, where: str) -> None:
    target, name = HELD[where]
    original = getattr(target, name)

    async def held(*arguments: Any) -> Any:
        if where == "leased":
            await original(*arguments)
        await wait_for_death(where)

    with patch.object(write_through, "WRITE_LEASE", LEASE), patch.object(target, name, held):
        async with (
            Database(primary, redis=redis, repositories=[Accounts, Prices]) as db,
            db.unit_of_work() as work,
        ):
            (await work[Prices].require(1)).amount = 2
            (await work[Accounts].require(1)).name = "new"
            await work.commit()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
