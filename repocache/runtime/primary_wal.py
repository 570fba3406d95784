"""What the cache and the commits ask about the primary, answered by the topology."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.driver_errors import sqlstate
from repocache.errors import DatabaseUnavailable
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.nodes.wal import PrimaryPosition
from repocache.records import NO_POSITIONS
from repocache.redaction.foreign import in_brief

_STATUS = text("SELECT pg_catalog.pg_xact_status(CAST(CAST(:xid AS text) AS xid8))")
_IN_THE_FUTURE = "22023"
"""SQLSTATE: "transaction ID ... is in the future": this primary has given out no such id."""


class PrimaryWal:
    """Every position comes from a poll begun after the call (protocol, Write path 4 and
    "settle")."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.lineage = topology.lineage

    async def insert_position(self) -> tuple[str, int] | None:
        position = await self._topology.position()
        return None if position is None else (position.history, position.insert)

    async def committed_position(self) -> PrimaryPosition | None:
        return await self._topology.position()

    async def covering_position(self) -> tuple[str, int | None] | None:
        """For what is published late: covers every commit up to now. None: the primary does not
        answer."""
        if not self.lineage.history:
            return "", NO_POSITIONS
        return await self.insert_position()

    def met(self, history: str) -> None:
        """Another process lives in this history: the primary may have been replaced."""
        self._topology.met(history)

    async def in_progress(self, xid: str) -> bool:
        """Whether the transaction is not decided yet. One that the primary knows nothing of is: it
        has another history.

        Any other failure is no answer. Raises DatabaseUnavailable.
        """

        async def run(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(_STATUS, {"xid": xid})).scalar() == "in progress")

        try:
            return (
                await self._topology.read(ReadRequirement(primary="asked", asked=True), run)
            ).value
        except DatabaseUnavailable:
            raise
        except Exception as error:
            if sqlstate(error) == _IN_THE_FUTURE:
                return False
            raise DatabaseUnavailable(
                f"the primary does not say whether {xid} has ended: {in_brief(error)}"
            ) from error
