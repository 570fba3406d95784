"""Autogenerate: what was declared and is not in the database becomes an operation, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import DropTableOp, UpgradeOps
from alembic.util import DispatchPriority
from sqlalchemy import Connection, MetaData, text

from repocache.alembic_ops.operations import (
    CreateInvalidationTrigger,
    CreateOutbox,
    DropInvalidationTrigger,
    DropOutbox,
    names,
)
from repocache.errors import ConfigurationError
from repocache.invalidation.outbox import TABLE

_DECLARED = "repocache"
_TRIGGERS = text(
    """
    SELECT n.nspname, c.relname, t.tgargs
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.tgname = 'repocache_notice_update' AND NOT t.tgisinternal AND t.tgparentid = 0
    """
)
_OUTBOX = text("SELECT to_regclass(quote_ident(:schema) || '.' || :table) IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Declared:
    """`triggers`: watched tables by (schema, name), with the columns that they carry besides the key."""

    schema: str
    grant_to: tuple[str, ...]
    triggers: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def declare(
    metadata: MetaData,
    triggers: Mapping[str, Sequence[str]] | Iterable[str] = (),
    schema: str = "public",
    grant_to: Sequence[str] = (),
) -> None:
    """In `env.py`: this metadata's database has an outbox, and triggers on these tables, named as in the metadata.

    `triggers`: names, or names with the columns that they carry. Raises ConfigurationError for a table that the
    metadata does not have.
    """
    given = triggers if isinstance(triggers, Mapping) else dict.fromkeys(names("triggers", triggers), ())
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, columns in given.items():
        if name not in metadata.tables:
            raise ConfigurationError(f"declare(triggers=...): the metadata has no table {name!r}")
        table = metadata.tables[name]
        found[table.schema or "public", table.name] = names(f"triggers[{name!r}]", columns)
    metadata.info[_DECLARED] = Declared(schema, names("grant_to", grant_to), found)


@comparators.dispatch_for("schema", priority=DispatchPriority.LAST)
def _compare(context: AutogenContext, upgrade: UpgradeOps, _schemas: object) -> None:
    upgrade.ops[:] = [op for op in upgrade.ops if not (isinstance(op, DropTableOp) and op.table_name == TABLE)]
    declared = next((each.info[_DECLARED] for each in _metadata(context) if _DECLARED in each.info), None)
    connection = context.connection
    if declared is None or connection is None or connection.dialect.name != "postgresql":
        return
    assert isinstance(declared, Declared)
    if not connection.execute(_OUTBOX, {"schema": declared.schema, "table": TABLE}).scalar():
        upgrade.ops.append(CreateOutbox(declared.schema, declared.grant_to))
    there = _triggers(connection)
    for (schema, table), columns in there.items():
        if declared.triggers.get((schema, table)) != columns:
            upgrade.ops.append(DropInvalidationTrigger(table, columns, schema, declared.schema))
    for (schema, table), columns in declared.triggers.items():
        if there.get((schema, table)) != columns:
            upgrade.ops.append(CreateInvalidationTrigger(table, columns, schema, declared.schema))


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
    return f"op.create_repocache_outbox({_arguments(schema=op.schema, grant_to=op.grant_to)})"


@renderers.dispatch_for(DropOutbox)
def _render_drop(_: AutogenContext, op: DropOutbox) -> str:
    return f"op.drop_repocache_outbox({_arguments(schema=op.schema)})"


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
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value not in ("public", ()))
