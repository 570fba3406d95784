"""`repocache relay`: a process that delivers what the outbox holds, and does nothing else."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from repocache.cli.frame import AsJson, Frame, Target
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.errors import ConfigurationError


def relay(target: Target, json: AsJson = False) -> None:
    """Deliver the invalidations that the outbox holds, until interrupted. Every process does so
    anyway: this one is for when none may be up.

    With --json the document comes when it ends.
    """
    with Frame(json=json, logs=True) as frame:
        asyncio.run(run_relay(find_database(target), frame.say))
        frame.answer({"relayed": True}, lambda _: None)


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
