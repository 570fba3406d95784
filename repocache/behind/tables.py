"""The tables that a migration makes: how far each stream is written, and the dead letters.

Owns their shape, and whether they are there. How they are made is `alembic_ops`'s affair.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.errors import ConfigurationError
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology

POSITIONS = "repocache_write_behind"
DEAD_LETTERS = "repocache_dead_letters"
_RIGHTS = text(
    """
SELECT wanted.name, class.oid IS NOT NULL,
  coalesce(pg_catalog.has_schema_privilege(class.relnamespace, 'USAGE'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'SELECT'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'INSERT'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'UPDATE'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'DELETE'::text), false)
FROM pg_catalog.unnest(CAST(:names AS text[])) AS wanted (name)
LEFT JOIN pg_catalog.pg_namespace AS place ON place.nspname = CAST(:schema AS name)
LEFT JOIN pg_catalog.pg_class AS class ON class.relname = wanted.name
  AND class.relnamespace = place.oid AND class.relkind = 'r' AND class.relpersistence = 'p'
"""
)


class BehindTables:
    """Both, in this schema. `positions`: by stream. `dead`: what the database refused."""

    def __init__(self, schema: str) -> None:
        metadata = MetaData(schema=schema)
        self.schema = schema
        self.positions = Table(
            POSITIONS,
            metadata,
            Column("stream", Text, primary_key=True),
            Column("positions", JSONB, nullable=False),
            Column("changes", BigInteger, nullable=False),
            Column("flushed", DateTime(timezone=True), nullable=False),
        )
        self.dead = Table(
            DEAD_LETTERS,
            metadata,
            Column("id", BigInteger, Identity(always=True), primary_key=True),
            Column("owner", Text, nullable=False),
            Column("key", Text, nullable=False),
            Column("change", LargeBinary, nullable=False),
            Column("why", Text, nullable=False),
            Column(
                "since", DateTime(timezone=True), server_default=func.pg_catalog.clock_timestamp()
            ),
        )

    async def check(self, topology: Topology) -> None:
        """Raises ConfigurationError if one is not there or may not be used, DatabaseUnavailable."""
        need = ReadRequirement(primary="asked", asked=True)
        if hindrance := (await topology.read(need, self.hindrance)).value:
            raise ConfigurationError(f"WriteBehind: {hindrance}")

    async def hindrance(self, connection: AsyncConnection) -> str:
        """Why nothing can be written behind, with the remedy; empty if it can."""
        asked = {"schema": self.schema, "names": [POSITIONS, DEAD_LETTERS]}
        for name, there, may in await connection.execute(_RIGHTS, asked):
            place = f"{self.schema}.{name}"
            if not there:
                return (
                    f"there is no table {place}: run a migration with "
                    "op.create_repocache_write_behind(), or name its schema: "
                    "Settings(outbox_schema=...)"
                )
            if not may:
                return (
                    f"the role must be allowed to SELECT, INSERT, UPDATE and DELETE in {place}, "
                    "and to use its schema: op.create_repocache_write_behind(grant_to=[...]) and "
                    "GRANT USAGE ON SCHEMA do it"
                )
        return ""
