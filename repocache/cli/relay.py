"""`repocache relay`: a process that delivers what the outbox holds, and does nothing else."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from repocache.database import Database
from repocache.errors import ConfigurationError


async def run_relay(db: Database, tell: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT. Its events go where the database's go (`Settings.observe`).

    Raises ConfigurationError without an outbox, and what starting a database raises.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with db:
        if not db.is_durable:
            raise ConfigurationError(
                "this database has no outbox to relay: op.create_repocache_outbox() makes one"
            )
        tell("relaying")
        await stop.wait()
