"""The outbox of one database while it runs: found, written by its commits, acknowledged, relayed.

Owns their start and stop, and what is said if there is none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL

from repocache.db.engines import Purpose, make_engine
from repocache.errors import ConfigurationError
from repocache.events import Degraded
from repocache.invalidation.acknowledged import Acknowledged
from repocache.invalidation.outbox import TABLE, Outbox, OutboxMode, SealStatement
from repocache.invalidation.relay import Deliver, Relay
from repocache.sealing import Plain, Sealing, WithRow
from repocache.settings import Settings
from repocache.tracking.notices import Notices
from repocache.tracking.tables import OwnedTables

LOST = (
    "an invalidation that Redis did not take is lost if this process dies before it does; the ttl is the cap then: "
    "op.create_repocache_outbox() in a migration makes the table"
)
SPARE = 1.0
"""Seconds beyond `publish_timeout` that the relays leave a row to the process that wrote it."""


@dataclass(frozen=True, slots=True)
class Durable:
    """`sealing`: the last statement of each transaction. `acknowledge`: these rows were delivered. `start`: spawns what
    runs beside the commits; `wake`: Redis is back."""

    sealing: Sealing
    acknowledge: Callable[[Iterable[int]], None]
    start: Callable[[Callable[[Coroutine[Any, Any, None]], object], Deliver], None]
    wake: Callable[[], None]


def _nothing(*_: object) -> None:
    """Where there is no outbox."""


NOT_DURABLE = Durable(Plain(), _nothing, _nothing, _nothing)


@asynccontextmanager
async def durable(url: URL, settings: Settings, owned: OwnedTables) -> AsyncIterator[Durable]:
    """On PostgreSQL, with a Redis. Raises ConfigurationError if the outbox is required and missing."""
    if settings.outbox is OutboxMode.OFF:
        yield NOT_DURABLE
        return
    observe = settings.observe
    engine = make_engine(url, Purpose.OUTBOX, settings.topology)
    try:
        found = Outbox(engine, ())
        if not await found.is_there():
            if settings.outbox is OutboxMode.REQUIRED:
                raise ConfigurationError(
                    f"Settings(outbox=OutboxMode.REQUIRED): the role sees no table {TABLE}; run a migration with "
                    "op.create_repocache_outbox(), in a schema of its search_path"
                )
            observe(Degraded("outbox", LOST))
            yield NOT_DURABLE
            return
        notices = Notices(owned, engine.dialect.default_schema_name or "public")
        outbox = Outbox(engine, notices.tables)
        statement = SealStatement(engine.dialect, notices, settings.publish_timeout + SPARE)
        acknowledged = Acknowledged(outbox, observe)
        relays: list[Relay] = []

        def start(spawn: Callable[[Coroutine[Any, Any, None]], object], deliver: Deliver) -> None:
            relay = Relay(outbox, notices.resolve, deliver, observe)
            relays.append(relay)
            spawn(acknowledged.run())
            spawn(relay.run())

        def wake() -> None:
            for relay in relays:
                relay.wake()

        yield Durable(WithRow(statement), acknowledged.add, start, wake)
        await acknowledged.flush()
    finally:
        await engine.dispose()
