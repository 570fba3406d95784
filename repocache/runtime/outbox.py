"""The outbox of one database while it runs: found, written by its commits, acknowledged, relayed.

Owns their start and stop, and what is said if there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.background.tasks import Grace
from repocache.engines.engine import InUse, close_engine
from repocache.errors import ConfigurationError
from repocache.events import Degraded
from repocache.invalidation.acknowledger import OutboxAcknowledger
from repocache.invalidation.held import Held
from repocache.invalidation.outbox import Mark, Outbox, OutboxMode, available
from repocache.invalidation.outbox_table import OutboxPlace, check, find
from repocache.invalidation.relay import Deliver, Relay
from repocache.invalidation.seal import SealStatement
from repocache.mapping.relation import places_statement
from repocache.publication.seal import Sealing, SealWithOutbox, SealWithoutOutbox
from repocache.runtime.purges import Keep, NoPurges, find_purges
from repocache.settings import Settings
from repocache.tracking.notices import Notices
from repocache.tracking.schema_tables import NO_SCHEMAS, Schemas
from repocache.tracking.tables import OwnedTables

LOST = (
    "an invalidation that Redis did not take is lost if this process dies before it does; the ttl "
    "is the cap then: op.create_repocache_outbox() in a migration makes the table"
)
SPARE = 1.0
"""Seconds beyond `publish_timeout` that the relays leave a row to the process that wrote it."""
CLOSING = 2.0
"""Seconds that closing takes at most for the last acknowledgement; what is left is delivered once
more, by a relay."""


class NoOutbox:
    """No outbox: nothing outlives the process. `sealing`: the last statement of each transaction.
    `purges`: what edges have still to purge."""

    sealing: Sealing = SealWithoutOutbox()
    purges = NoPurges()

    def relay_beside(self, keep: Keep, deliver: Deliver) -> None:
        """Begin what runs beside the commits: the relay, which hands rows to `deliver`."""

    def acknowledge(self, rows: Iterable[Mark]) -> None:
        """These were delivered."""

    def wake(self) -> None:
        """Redis is back."""

    def reconnect(self) -> None:
        """The primary is another server."""


class RunningOutbox(NoOutbox):
    """An outbox that is there."""

    def __init__(
        self,
        sealing: Sealing,
        acknowledged: OutboxAcknowledger,
        relay: Relay,
        held: Held,
        purges: NoPurges,
    ) -> None:
        self.sealing = sealing
        self.purges = purges
        self.relay = relay
        self.held = held
        self._acknowledged = acknowledged

    def relay_beside(self, keep: Keep, deliver: Deliver) -> None:
        keep(self._acknowledged.run)
        keep(partial(self.relay.run, deliver))

    def acknowledge(self, rows: Iterable[Mark]) -> None:
        self._acknowledged.add(rows)

    def wake(self) -> None:
        self.relay.wake()

    def reconnect(self) -> None:
        self.relay.reconnect()
        self.purges.reconnect()


@asynccontextmanager
async def open_outbox(  # noqa: PLR0913  # keyword-only, the rest
    engine: AsyncEngine,
    settings: Settings,
    owned: OwnedTables,
    grace: Grace,
    *,
    schemas: Schemas = NO_SCHEMAS,
    purge_after: float = 0.0,
) -> AsyncIterator[NoOutbox]:
    """On PostgreSQL, with a Redis. `engine`: on the primary, disposed of on leaving, once what was
    published is acknowledged, as far as the `grace` lasts. `schemas`: of scopes. `purge_after`: as
    of `find_purges`. Raises ConfigurationError if the outbox is required and missing, is somebody's
    whom nobody trusts, or out of the role's reach, and DatabaseUnavailable."""
    observe, in_use = settings.observe, InUse(engine)
    place = OutboxPlace(settings.outbox_schema, settings.outbox_owners)
    try:
        found = await find(engine, place, _names(engine, owned))
        if found is None:
            if settings.outbox is OutboxMode.REQUIRED:
                raise ConfigurationError(
                    f"Settings(outbox=OutboxMode.REQUIRED): there is no table {place.table}; run a "
                    "migration with op.create_repocache_outbox(), or name its schema: "
                    "Settings(outbox_schema=...)"
                )
            observe(Degraded("outbox", LOST))
            await engine.dispose()  # it asked once: no connection waits for nothing
            yield NoOutbox()
            return
        check(found, place)
        notices = Notices(owned, await _places(engine, owned), schemas)
        outbox = Outbox(engine, place.table, notices.tables)
        names = _names(engine, owned)
        purges = await find_purges(
            engine, settings, place, names=names, watched=notices, after=purge_after
        )
        statement = SealStatement(
            engine.dialect,
            place.table,
            notices,
            settings.publish_timeout + SPARE,
            purges=purges.rows,
        )
        acknowledged = OutboxAcknowledger(outbox, observe)
        try:
            yield RunningOutbox(
                SealWithOutbox(statement),
                acknowledged,
                Relay(outbox, notices, observe, purges.beside),
                Held(engine, place.table),
                purges,
            )
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(CLOSING, grace.left())):
                    await acknowledged.flush()
                    await purges.flush()
    finally:
        await close_engine(engine, in_use, grace.left())


async def _places(engine: AsyncEngine, owned: OwnedTables) -> dict[str, Table]:
    """Where the tables are that anybody here has an interest in."""
    tables, names = _tables(owned), _names(engine, owned)
    places: dict[str, list[str]] = {}
    async with available(), engine.connect() as connection:
        for name, place in await connection.execute(places_statement(tables, engine.dialect)):
            places.setdefault(name, []).append(place)
    # Of several Table objects of one place the first has the owners' columns.
    known = zip(reversed(names), reversed(tables), strict=True)
    return {place: table for name, table in known for place in places.get(name, ())}


def _tables(owned: OwnedTables) -> list[Table]:
    return [table for table in owned.concerning if isinstance(table, Table)]


def _names(engine: AsyncEngine, owned: OwnedTables) -> list[str]:
    """Of these tables, as SQL has them."""
    return list(map(engine.dialect.identifier_preparer.format_table, _tables(owned)))
