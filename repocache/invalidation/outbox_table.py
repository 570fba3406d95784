"""The outbox's table as it is found at start, and whether it may be trusted.

Whoever owns a table decides what runs when it is written, with the rights of who writes it, and
which rows are in it. So it is looked for in one schema, never along the search_path, in which
others may create tables of any name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.errors import ConfigurationError
from repocache.invalidation.identifier import quoted
from repocache.invalidation.outbox import PURGES, TABLE, available

WAKE = "repocache_wake"
"""The only trigger that the table has, and its function."""
_COLUMNS = {
    "id": "pg_catalog.int8",
    "source": "pg_catalog.text",
    "notices": "pg_catalog.jsonb",
    "due": "pg_catalog.timestamptz",
    "xid": "pg_catalog.int8",
    "since": "pg_catalog.timestamptz",
    "tries": "pg_catalog.int4",
    "why": "pg_catalog.text",
}
# In one statement, so that it is of one moment. Every function has its schema, and every operator
# is for exactly these types: none that somebody has put into the search_path comes before
# PostgreSQL's own.
_FIND = text(
    """
WITH trusted AS (
  SELECT role.oid FROM pg_catalog.pg_roles AS role
    JOIN pg_catalog.pg_roles AS me ON me.rolname = current_user
    JOIN pg_catalog.pg_database AS base ON base.datname = pg_catalog.current_database()
  WHERE pg_catalog.pg_has_role(role.oid, me.oid, 'MEMBER'::text) OR role.oid = base.datdba
    OR role.rolname = ANY (CAST(:owners AS name[]))
    OR role.oid IN (SELECT known.relowner
        FROM pg_catalog.unnest(CAST(:tables AS text[])) AS asked (name)
      JOIN pg_catalog.pg_class AS known ON known.oid = pg_catalog.to_regclass(asked.name)::oid)
)
SELECT owner.rolname::text, class.relowner IN (SELECT oid FROM trusted),
  class.relkind = 'r' AND class.relpersistence = 'p' AND NOT EXISTS
      (SELECT FROM pg_catalog.pg_inherits
    WHERE inhrelid = class.oid OR inhparent = class.oid),
  ARRAY(SELECT wanted.name
    FROM ROWS FROM (pg_catalog.unnest(CAST(:columns AS text[])),
        pg_catalog.unnest(CAST(:types AS text[])))
      AS wanted (name, type)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS held WHERE held.attrelid = class.oid
      AND held.attname = wanted.name AND NOT held.attisdropped
      AND held.atttypid = pg_catalog.to_regtype(wanted.type)::oid)),
  ARRAY(SELECT held.tgname::text FROM pg_catalog.pg_trigger AS held
      JOIN pg_catalog.pg_proc AS called ON called.oid = held.tgfoid
    WHERE held.tgrelid = class.oid AND NOT held.tgisinternal AND NOT (held.tgname = 'repocache_wake'
      AND called.proname = 'repocache_wake' AND called.pronamespace = class.relnamespace
      AND called.proowner IN (SELECT oid FROM trusted))),
  EXISTS (SELECT FROM pg_catalog.pg_rewrite AS held WHERE held.ev_class = class.oid),
  class.relrowsecurity,
  EXISTS (SELECT FROM pg_catalog.pg_depend AS depends
    WHERE depends.refclassid IN ('pg_catalog.pg_proc'::regclass::oid,
        'pg_catalog.pg_operator'::regclass::oid,
        'pg_catalog.pg_type'::regclass::oid)
      AND (depends.classid = 'pg_catalog.pg_class'::regclass::oid AND depends.objid = class.oid
        OR depends.classid = 'pg_catalog.pg_class'::regclass::oid AND depends.objid IN (
          SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = class.oid)
        OR depends.classid = 'pg_catalog.pg_attrdef'::regclass::oid AND depends.objid IN (
          SELECT oid FROM pg_catalog.pg_attrdef WHERE adrelid = class.oid)
        OR depends.classid = 'pg_catalog.pg_constraint'::regclass::oid AND depends.objid IN (
          SELECT oid FROM pg_catalog.pg_constraint WHERE conrelid = class.oid))),
  pg_catalog.has_schema_privilege(class.relnamespace, 'USAGE'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'SELECT'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'INSERT'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'UPDATE'::text)
    AND pg_catalog.has_table_privilege(class.oid, 'DELETE'::text)
FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space
    ON space.oid = class.relnamespace
  JOIN pg_catalog.pg_roles AS owner ON owner.oid = class.relowner
WHERE space.nspname = CAST(:schema AS name) AND class.relname = CAST(:table AS name)
"""
).bindparams(columns=list(_COLUMNS), types=list(_COLUMNS.values()))


@dataclass(frozen=True, slots=True)
class OutboxPlace:
    """Where the outbox is to be, and whose; or, by another `name`, another table of its kind.
    `owners`: roles trusted with it, beside those who may do as they like with this role anyway.
    `made_by`: the operation of a migration."""

    schema: str
    owners: tuple[str, ...] = ()
    name: str = TABLE
    made_by: str = "op.create_repocache_outbox"

    @property
    def table(self) -> str:
        """The table with its schema, as SQL has it."""
        return f"{quoted(self.schema, 'outbox_schema')}.{self.name}"

    @property
    def purges(self) -> OutboxPlace:
        """Of what edges have still to purge, beside it."""
        return replace(self, name=PURGES, made_by="op.create_repocache_purges")


class OutboxTable(NamedTuple):
    """What the catalogue says."""

    owner: str
    #: The owner may do as he likes with this role anyway, or is named.
    trusted: bool
    #: A permanent table with no parents and no parts.
    ordinary: bool
    #: Columns that it should have.
    missing: Sequence[str]
    #: Triggers that are not ours.
    triggers: Sequence[str]
    #: `ruled`, `secured`: it has rules, or row security.
    ruled: bool
    secured: bool
    #: It has a default, check, index or column type that is not PostgreSQL's own.
    foreign: bool
    #: The role has the rights.
    usable: bool


async def find(
    engine: AsyncEngine, place: OutboxPlace, tables: Sequence[str]
) -> OutboxTable | None:
    """The table of that name, None if there is none. `tables`: that are cached, as SQL has them:
    who owns one of them may run what he likes as the role that uses it. Raises
    DatabaseUnavailable."""
    asked = {
        "schema": place.schema,
        "table": place.name,
        "owners": list(place.owners),
        "tables": list(tables),
    }
    async with available(), engine.connect() as connection:
        row = (await connection.execute(_FIND, asked)).first()
    return None if row is None else OutboxTable(*row)


def check(found: OutboxTable, place: OutboxPlace) -> None:
    """Raise ConfigurationError for a table that the library's migration did not make, whose owner
    nobody trusts, or that the role may not use."""
    if not found.trusted:
        raise ConfigurationError(
            f"{place.table} belongs to {found.owner!r}, who could run through it what he likes as "
            "this role: if it is none of yours, drop it; else trust him: "
            f"Settings(outbox_owners=({found.owner!r},))"
        )
    if strange := _strange(found):
        raise ConfigurationError(
            f"{place.table} {strange}: it is not as {place.made_by}() makes it; drop "
            "it, and let a migration make it anew"
        )
    if not found.usable:
        raise ConfigurationError(
            f"the role must be allowed to SELECT, INSERT, UPDATE and DELETE in {place.table}, and "
            f"to use its schema: {place.made_by}(grant_to=[...]) and GRANT USAGE ON "
            "SCHEMA do it"
        )


def _strange(found: OutboxTable) -> str:
    """What would run code that is not the library's, or lose rows; empty: nothing."""
    if not found.ordinary:
        return "is no ordinary table: a view, partition, parent, unlogged or of another server"
    if found.missing:
        return f"lacks columns of this release: {', '.join(found.missing)}"
    if found.triggers:
        return f"has triggers that are not the library's: {', '.join(found.triggers)}"
    if found.ruled or found.secured:
        return "has rules or row security"
    return (
        "has a default, check, index or type that calls what is not PostgreSQL's own"
        if found.foreign
        else ""
    )
