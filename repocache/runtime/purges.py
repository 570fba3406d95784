"""What edges have still to purge, in a table beside the outbox: what a process leaves there that
dies before its second purge, another's relay has purged.

Owns its start. What is purged when is `edges`' affair.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repocache.errors import ConfigurationError
from repocache.events import Degraded, Observer
from repocache.invalidation.acknowledger import OutboxAcknowledger
from repocache.invalidation.batch import Batch
from repocache.invalidation.held import Held
from repocache.invalidation.notice import Watched
from repocache.invalidation.outbox import Mark, Outbox, OutboxMode
from repocache.invalidation.outbox_table import OutboxPlace, check, find
from repocache.invalidation.purge_relay import PurgeRelay
from repocache.invalidation.relay import Beside, Deliver, nothing
from repocache.invalidation.seal import PurgeRows
from repocache.settings import Settings

LOST = (
    "if this process dies between a COMMIT and its purge, edges keep pages of before it until "
    "their time ends: op.create_repocache_purges() in a migration makes the table"
)
Keep = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
"""Runs what never ends."""
SPARE = 2.0
"""Seconds beyond its second purge that the relays leave a row to the process that wrote it."""


class NoPurges:
    """No table. `rows`: how sealed rows of it are written, None: none are. `beside`: what becomes,
    for edges, of what the outbox's relay has delivered."""

    rows: PurgeRows | None = None
    beside: Beside = staticmethod(nothing)

    def relay_beside(self, keep: Keep, deliver: Deliver) -> None:
        """Begin the relay, which hands rows to `deliver`."""

    def acknowledge(self, rows: Iterable[Mark]) -> None:
        """All edges have purged what these say."""

    def reconnect(self) -> None:
        """The primary is another server."""

    async def flush(self) -> None:
        """Delete what was acknowledged."""


class RunningPurges(NoPurges):
    """A table that is there. `held`: what it holds. `after`: seconds from what a relay delivers to
    its second purge."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        outbox: Outbox,
        *,
        watched: Watched,
        rows: PurgeRows,
        held: Held,
        after: float,
        observe: Observer,
    ) -> None:
        self.rows = rows
        self.held = held
        self.beside = self._purge_later
        self._outbox = outbox
        self._after = after
        self._relay = PurgeRelay(outbox, watched, observe)
        self._acknowledged = OutboxAcknowledger(outbox, observe)

    async def _purge_later(self, connection: AsyncConnection, batch: Batch) -> None:
        await self._outbox.put(connection, batch, self._after)

    def relay_beside(self, keep: Keep, deliver: Deliver) -> None:
        keep(self._acknowledged.run)
        keep(partial(self._relay.run, deliver))

    def acknowledge(self, rows: Iterable[Mark]) -> None:
        self._acknowledged.add(rows)

    def reconnect(self) -> None:
        self._relay.reconnect()

    async def flush(self) -> None:
        await self._acknowledged.flush()


async def find_purges(  # noqa: PLR0913  # keyword-only, the rest
    engine: AsyncEngine,
    settings: Settings,
    place: OutboxPlace,
    *,
    names: Sequence[str],
    watched: Watched,
    after: float,
) -> NoPurges:
    """`place`: of the outbox. `names`: of the cached tables, as SQL has them. `after`: seconds from
    when a commit has been told to its second purge; 0: there are no edges. Raises
    ConfigurationError as for the outbox, and DatabaseUnavailable."""
    if not after:
        return NoPurges()
    here, observe = place.purges, settings.observe
    found = await find(engine, here, names)
    if found is None:
        if settings.outbox is OutboxMode.REQUIRED:
            raise ConfigurationError(
                f"Settings(outbox=OutboxMode.REQUIRED): there is no table {here.table} for "
                "Database(edges=...); run a migration with op.create_repocache_purges()"
            )
        observe(Degraded("purges", LOST))
        return NoPurges()
    check(found, here)
    rows = PurgeRows(here.table, settings.publish_timeout + after + SPARE)
    outbox = Outbox(engine, here.table, watched.tables)
    return RunningPurges(
        outbox,
        watched=watched,
        rows=rows,
        held=Held(engine, here.table),
        after=after,
        observe=observe,
    )
