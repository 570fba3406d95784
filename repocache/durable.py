"""The outbox of one database while it runs: found, written by its commits, acknowledged, relayed.

Owns their start and stop, and what is said if there is none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.errors import ConfigurationError
from repocache.events import Degraded
from repocache.invalidation.acknowledged import Acknowledged
from repocache.invalidation.outbox import TABLE, Mark, Outbox, OutboxMode, available
from repocache.invalidation.relay import Deliver, Relay
from repocache.invalidation.seal import SealStatement
from repocache.mapping.relation import places_statement
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
    runs beside the commits; `wake`: Redis is back; `reconnect`: the primary is another server."""

    sealing: Sealing
    acknowledge: Callable[[Iterable[Mark]], None]
    start: Callable[[Callable[[Coroutine[Any, Any, None]], object], Deliver], None]
    wake: Callable[[], None]
    reconnect: Callable[[], None]


def _nothing(*_: object) -> None:
    """Where there is no outbox."""


NOT_DURABLE = Durable(Plain(), _nothing, _nothing, _nothing, _nothing)


@asynccontextmanager
async def durable(engine: AsyncEngine, settings: Settings, owned: OwnedTables) -> AsyncIterator[Durable]:
    """On PostgreSQL, with a Redis. `engine`: on the primary, disposed of on leaving. Raises ConfigurationError if the
    outbox is required and missing, and DatabaseUnavailable."""
    observe = settings.observe
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
        notices = Notices(owned, await _places(engine, owned))
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

        def reconnect() -> None:
            for relay in relays:
                relay.reconnect()

        yield Durable(WithRow(statement), acknowledged.add, start, wake, reconnect)
        await acknowledged.flush()
    finally:
        await engine.dispose()


async def _places(engine: AsyncEngine, owned: OwnedTables) -> dict[str, Table]:
    """Where the tables are that anybody here has an interest in."""
    tables = [table for table in owned.tables if owned.of(table).all]
    names = {engine.dialect.identifier_preparer.format_table(table): table for table in tables}
    async with available(), engine.connect() as connection:
        found = await connection.execute(places_statement(tables, engine.dialect))
        return {place: names[name] for name, place in found}
