"""The eight operations, each with its reverse."""

from __future__ import annotations

from collections.abc import Sequence

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import text

from repocache.alembic_ops.ddl import (
    create_outbox,
    create_purges,
    create_trigger,
    create_write_behind,
    drop_outbox,
    drop_purges,
    drop_trigger,
    drop_write_behind,
)
from repocache.invalidation.identifier import checked, checked_all


@Operations.register_operation("create_repocache_outbox")
class CreateOutbox(MigrateOperation):
    """The outbox: its table and functions. Raises ConfigurationError for what is no name, as all of
    these do."""

    def __init__(
        self, schema: str = "public", grant_to: Sequence[str] = (), owner: str = ""
    ) -> None:
        self.schema = checked("schema", schema)
        self.grant_to = checked_all("grant_to", grant_to)
        self.owner = owner and checked("owner", owner)

    @classmethod
    def create_repocache_outbox(
        cls,
        operations: Operations,
        schema: str = "public",
        grant_to: Sequence[str] = (),
        owner: str = "",
    ) -> None:
        """`op.create_repocache_outbox()`. `schema`: as in `Settings(outbox_schema=...)`;
        `grant_to`: the roles that write through the library, where they are not the one that
        migrates; `owner`: a role without login, whose rights the triggers have instead of those of
        the role that migrates."""
        operations.invoke(cls(schema, grant_to, owner))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("create_repocache_outbox", self.schema)

    def reverse(self) -> DropOutbox:
        return DropOutbox(self.schema, self.grant_to, self.owner)


@Operations.register_operation("drop_repocache_outbox")
class DropOutbox(MigrateOperation):
    """The reverse of `CreateOutbox`."""

    def __init__(
        self, schema: str = "public", grant_to: Sequence[str] = (), owner: str = ""
    ) -> None:
        self.schema = checked("schema", schema)
        self.grant_to = checked_all("grant_to", grant_to)
        self.owner = owner

    @classmethod
    def drop_repocache_outbox(cls, operations: Operations, schema: str = "public") -> None:
        """`op.drop_repocache_outbox()`. What was not delivered is lost. Fails while a table still
        has its triggers."""
        operations.invoke(cls(schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("drop_repocache_outbox", self.schema)

    def reverse(self) -> CreateOutbox:
        return CreateOutbox(self.schema, self.grant_to, self.owner)


@Operations.register_operation("create_repocache_write_behind")
class CreateWriteBehind(MigrateOperation):
    """The tables of every `WriteBehind`: how far streams are written, and the dead letters."""

    def __init__(self, schema: str = "public", grant_to: Sequence[str] = ()) -> None:
        self.schema = checked("schema", schema)
        self.grant_to = checked_all("grant_to", grant_to)

    @classmethod
    def create_repocache_write_behind(
        cls, operations: Operations, schema: str = "public", grant_to: Sequence[str] = ()
    ) -> None:
        """`op.create_repocache_write_behind()`. `schema`: as in `Settings(outbox_schema=...)`;
        `grant_to`: the roles that flush, where they are not the one that migrates."""
        operations.invoke(cls(schema, grant_to))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("create_repocache_write_behind", self.schema)

    def reverse(self) -> DropWriteBehind:
        return DropWriteBehind(self.schema, self.grant_to)


@Operations.register_operation("drop_repocache_write_behind")
class DropWriteBehind(MigrateOperation):
    """The reverse of `CreateWriteBehind`."""

    def __init__(self, schema: str = "public", grant_to: Sequence[str] = ()) -> None:
        self.schema = checked("schema", schema)
        self.grant_to = checked_all("grant_to", grant_to)

    @classmethod
    def drop_repocache_write_behind(cls, operations: Operations, schema: str = "public") -> None:
        """`op.drop_repocache_write_behind()`. Dead letters are lost, and so is how far streams are
        written: what waits in them would count twice. Flush before."""
        operations.invoke(cls(schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("drop_repocache_write_behind", self.schema)

    def reverse(self) -> CreateWriteBehind:
        return CreateWriteBehind(self.schema, self.grant_to)


@Operations.register_operation("create_repocache_purges")
class CreatePurges(MigrateOperation):
    """The table of what edges have still to purge."""

    def __init__(self, schema: str = "public", grant_to: Sequence[str] = ()) -> None:
        self.schema = checked("schema", schema)
        self.grant_to = checked_all("grant_to", grant_to)

    @classmethod
    def create_repocache_purges(
        cls, operations: Operations, schema: str = "public", grant_to: Sequence[str] = ()
    ) -> None:
        """`op.create_repocache_purges()`, beside the outbox. `schema`: as in
        `Settings(outbox_schema=...)`; `grant_to`: as of the outbox."""
        operations.invoke(cls(schema, grant_to))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("create_repocache_purges", self.schema)

    def reverse(self) -> DropPurges:
        return DropPurges(self.schema, self.grant_to)


@Operations.register_operation("drop_repocache_purges")
class DropPurges(MigrateOperation):
    """The reverse of `CreatePurges`."""

    def __init__(self, schema: str = "public", grant_to: Sequence[str] = ()) -> None:
        self.schema = checked("schema", schema)
        self.grant_to = checked_all("grant_to", grant_to)

    @classmethod
    def drop_repocache_purges(cls, operations: Operations, schema: str = "public") -> None:
        """`op.drop_repocache_purges()`. What was not purged is not: purge everything once."""
        operations.invoke(cls(schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("drop_repocache_purges", self.schema)

    def reverse(self) -> CreatePurges:
        return CreatePurges(self.schema, self.grant_to)


@Operations.register_operation("create_invalidation_trigger")
class CreateInvalidationTrigger(MigrateOperation):
    """Triggers on one table that write the outbox for any write, whoever makes it."""

    def __init__(
        self,
        table: str,
        columns: Sequence[str] = (),
        schema: str = "public",
        outbox_schema: str = "public",
    ) -> None:
        self.table = checked("table", table)
        self.columns = checked_all("columns", columns)
        self.schema = checked("schema", schema)
        self.outbox_schema = checked("outbox_schema", outbox_schema)

    @classmethod
    def create_invalidation_trigger(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[str] = (),
        schema: str = "public",
        outbox_schema: str = "public",
    ) -> None:
        """`op.create_invalidation_trigger("users")`. The primary key is carried in any case;
        `columns`: others whose old and new values are."""
        operations.invoke(cls(table, columns, schema, outbox_schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("create_invalidation_trigger", self.schema, self.table, self.columns)

    def reverse(self) -> DropInvalidationTrigger:
        return DropInvalidationTrigger(self.table, self.columns, self.schema, self.outbox_schema)


@Operations.register_operation("drop_invalidation_trigger")
class DropInvalidationTrigger(MigrateOperation):
    """The reverse of `CreateInvalidationTrigger`."""

    def __init__(
        self,
        table: str,
        columns: Sequence[str] = (),
        schema: str = "public",
        outbox_schema: str = "public",
    ) -> None:
        self.table = checked("table", table)
        self.columns = checked_all("columns", columns)
        self.schema = checked("schema", schema)
        self.outbox_schema = checked("outbox_schema", outbox_schema)

    @classmethod
    def drop_invalidation_trigger(
        cls, operations: Operations, table: str, schema: str = "public"
    ) -> None:
        """`op.drop_invalidation_trigger("users")`."""
        operations.invoke(cls(table, schema=schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("drop_invalidation_trigger", self.schema, self.table, self.columns)

    def reverse(self) -> CreateInvalidationTrigger:
        return CreateInvalidationTrigger(self.table, self.columns, self.schema, self.outbox_schema)


def _run(operations: Operations, statements: Sequence[str]) -> None:
    """To the database, or, offline, into the script: as they are, for a compiled text has the
    percent signs of some drivers doubled."""
    context = operations.get_context()
    for statement in statements:
        if context.as_sql:
            context.impl.static_output(f"{statement.strip()};\n")
        else:
            # A colon in a name begins no parameter.
            operations.execute(text(statement.replace(":", "\\:")))


@Operations.implementation_for(CreateOutbox)
def _create_outbox(operations: Operations, operation: CreateOutbox) -> None:
    _run(operations, create_outbox(operation.schema, operation.grant_to, operation.owner))


@Operations.implementation_for(DropOutbox)
def _drop_outbox(operations: Operations, operation: DropOutbox) -> None:
    _run(operations, drop_outbox(operation.schema))


@Operations.implementation_for(CreateInvalidationTrigger)
def _create_trigger(operations: Operations, operation: CreateInvalidationTrigger) -> None:
    _run(
        operations,
        create_trigger(
            operation.table, operation.schema, operation.outbox_schema, operation.columns
        ),
    )


@Operations.implementation_for(DropInvalidationTrigger)
def _drop_trigger(operations: Operations, operation: DropInvalidationTrigger) -> None:
    _run(operations, drop_trigger(operation.table, operation.schema))


@Operations.implementation_for(CreateWriteBehind)
def _create_write_behind(operations: Operations, operation: CreateWriteBehind) -> None:
    _run(operations, create_write_behind(operation.schema, operation.grant_to))


@Operations.implementation_for(DropWriteBehind)
def _drop_write_behind(operations: Operations, operation: DropWriteBehind) -> None:
    _run(operations, drop_write_behind(operation.schema))


@Operations.implementation_for(CreatePurges)
def _create_purges(operations: Operations, operation: CreatePurges) -> None:
    _run(operations, create_purges(operation.schema, operation.grant_to))


@Operations.implementation_for(DropPurges)
def _drop_purges(operations: Operations, operation: DropPurges) -> None:
    _run(operations, drop_purges(operation.schema))
