"""Autogenerate: what was declared and is not in the database becomes an operation, and nothing else
does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import DropTableOp, ModifyTableOps, UpgradeOps
from alembic.util import DispatchPriority
from sqlalchemy import Connection, MetaData, text

from repocache.alembic_ops.operations import (
    CreateInvalidationTrigger,
    CreateOutbox,
    CreatePurges,
    CreateWriteBehind,
    DropInvalidationTrigger,
    DropOutbox,
    DropPurges,
    DropWriteBehind,
)
from repocache.behind.tables import DEAD_LETTERS, POSITIONS
from repocache.errors import ConfigurationError
from repocache.invalidation.identifier import checked, checked_all, listed
from repocache.invalidation.outbox import PURGES, TABLE

_DECLARED = "repocache"
OURS = (TABLE, PURGES, POSITIONS, DEAD_LETTERS)
"""Tables that no metadata has, and nobody drops for that."""
_TRIGGERS = text(
    """
    SELECT n.nspname, c.relname, t.tgargs
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.tgname = 'repocache_notice_update' AND NOT t.tgisinternal
        AND t.tgparentid = CAST(0 AS oid)
    """
)
_TABLE = text(
    """
    SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = CAST(:schema AS name) AND c.relname = CAST(:table AS name)
    """
)


@dataclass(frozen=True, slots=True)
class Declared:
    """`outbox`, `behind`, `purges`: what makes them, None: it is not wanted; `triggers`: watched
    tables by (schema, name), with the columns that they carry besides the key."""

    outbox: CreateOutbox
    triggers: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    behind: CreateWriteBehind | None = None
    purges: CreatePurges | None = None


def declare(  # noqa: PLR0913  # keyword-only, the last
    metadata: MetaData,
    triggers: Mapping[str, Sequence[str]] | Iterable[str] = (),
    schema: str = "public",
    grant_to: Sequence[str] = (),
    owner: str = "",
    *,
    write_behind: bool = False,
    purges: bool = False,
) -> None:
    """In `env.py`: this metadata's database has an outbox, and triggers on these tables, named as
    in the metadata; with `write_behind` its tables, and with `purges` that of edges, too.

    `triggers`: names, or names with the columns that they carry; the rest as in
    `create_repocache_outbox`. Raises ConfigurationError for a table that the metadata does not
    have, and what is no name.
    """
    given = (
        triggers
        if isinstance(triggers, Mapping)
        else dict.fromkeys(listed("triggers", triggers), ())
    )
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, columns in given.items():
        if name not in metadata.tables:
            raise ConfigurationError(f"declare(triggers=...): the metadata has no table {name!r}")
        table = metadata.tables[name]
        place = checked("schema", table.schema or "public"), checked("table", str(table.name))
        found[place] = checked_all(f"triggers[{name!r}]", columns)
    metadata.info[_DECLARED] = Declared(
        CreateOutbox(schema, grant_to, owner),
        found,
        CreateWriteBehind(schema, grant_to) if write_behind else None,
        CreatePurges(schema, grant_to) if purges else None,
    )


@comparators.dispatch_for("schema", priority=DispatchPriority.LAST)
def _compare(context: AutogenContext, upgrade: UpgradeOps, _schemas: object) -> None:
    ours = [
        op
        for op in upgrade.ops
        if isinstance(op, DropTableOp | ModifyTableOps) and op.table_name in OURS
    ]
    upgrade.ops[:] = [op for op in upgrade.ops if op not in ours]
    declared = next(
        (each.info[_DECLARED] for each in _metadata(context) if _DECLARED in each.info), None
    )
    connection = context.connection
    if declared is None or connection is None or connection.dialect.name != "postgresql":
        return
    assert isinstance(declared, Declared)
    schema_of_outbox = declared.outbox.schema
    wanted = (
        (TABLE, declared.outbox),
        (PURGES, declared.purges),
        (POSITIONS, declared.behind),
    )
    for table, operation in wanted:
        asked = {"schema": schema_of_outbox, "table": table}
        if operation is not None and connection.execute(_TABLE, asked).first() is None:
            upgrade.ops.append(operation)
    there = _triggers(connection)
    for (schema, table), columns in there.items():
        if declared.triggers.get((schema, table)) != columns:
            upgrade.ops.append(DropInvalidationTrigger(table, columns, schema, schema_of_outbox))
    for (schema, table), columns in declared.triggers.items():
        if there.get((schema, table)) != columns:
            upgrade.ops.append(CreateInvalidationTrigger(table, columns, schema, schema_of_outbox))


def _metadata(context: AutogenContext) -> Sequence[MetaData]:
    given = context.metadata
    if given is None:
        return ()
    return given if isinstance(given, Sequence) else (given,)


def _triggers(connection: Connection) -> dict[tuple[str, str], tuple[str, ...]]:
    """The watched tables in the database, with the columns that they carry."""
    return {
        (schema, table): tuple(part.decode() for part in bytes(arguments).split(b"\0")[:-1])
        for schema, table, arguments in connection.execute(_TRIGGERS)
    }


@renderers.dispatch_for(CreateOutbox)
def _render_create(_: AutogenContext, op: CreateOutbox) -> str:
    given = _arguments(schema=op.schema, grant_to=op.grant_to, owner=op.owner)
    return f"op.create_repocache_outbox({given})"


@renderers.dispatch_for(DropOutbox)
def _render_drop(_: AutogenContext, op: DropOutbox) -> str:
    return f"op.drop_repocache_outbox({_arguments(schema=op.schema)})"


@renderers.dispatch_for(CreateWriteBehind)
def _render_create_behind(_: AutogenContext, op: CreateWriteBehind) -> str:
    given = _arguments(schema=op.schema, grant_to=op.grant_to)
    return f"op.create_repocache_write_behind({given})"


@renderers.dispatch_for(DropWriteBehind)
def _render_drop_behind(_: AutogenContext, op: DropWriteBehind) -> str:
    return f"op.drop_repocache_write_behind({_arguments(schema=op.schema)})"


@renderers.dispatch_for(CreatePurges)
def _render_create_purges(_: AutogenContext, op: CreatePurges) -> str:
    given = _arguments(schema=op.schema, grant_to=op.grant_to)
    return f"op.create_repocache_purges({given})"


@renderers.dispatch_for(DropPurges)
def _render_drop_purges(_: AutogenContext, op: DropPurges) -> str:
    return f"op.drop_repocache_purges({_arguments(schema=op.schema)})"


@renderers.dispatch_for(CreateInvalidationTrigger)
def _render_create_trigger(_: AutogenContext, op: CreateInvalidationTrigger) -> str:
    more = _arguments(columns=op.columns, schema=op.schema, outbox_schema=op.outbox_schema)
    return f"op.create_invalidation_trigger({op.table!r}{', ' if more else ''}{more})"


@renderers.dispatch_for(DropInvalidationTrigger)
def _render_drop_trigger(_: AutogenContext, op: DropInvalidationTrigger) -> str:
    more = _arguments(schema=op.schema)
    return f"op.drop_invalidation_trigger({op.table!r}{', ' if more else ''}{more})"


def _arguments(**given: str | tuple[str, ...]) -> str:
    """As source, without those that are as they are anyway."""
    return ", ".join(
        f"{name}={value!r}" for name, value in given.items() if value not in ("public", (), "")
    )
