"""The four operations, each with its reverse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alembic.operations import MigrateOperation, Operations

from repocache.alembic_ops.ddl import create_outbox, create_trigger, drop_outbox, drop_trigger
from repocache.errors import ConfigurationError


def names(argument: str, given: Iterable[str]) -> tuple[str, ...]:
    """Several names. Raises ConfigurationError for one text, whose letters would be taken for them."""
    if isinstance(given, str):
        raise ConfigurationError(f"{argument}={given!r}: give a list of names: {argument}=[{given!r}]")
    return tuple(given)


@Operations.register_operation("create_repocache_outbox")
class CreateOutbox(MigrateOperation):
    """The outbox: its table and functions."""

    def __init__(self, schema: str = "public", grant_to: Sequence[str] = ()) -> None:
        self.schema = schema
        self.grant_to = names("grant_to", grant_to)

    @classmethod
    def create_repocache_outbox(
        cls, operations: Operations, schema: str = "public", grant_to: Sequence[str] = ()
    ) -> None:
        """`op.create_repocache_outbox()`. `schema`: one in the search_path of the roles that write; `grant_to`: those
        roles, where they are not the one that migrates."""
        operations.invoke(cls(schema, grant_to))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("create_repocache_outbox", self.schema)

    def reverse(self) -> DropOutbox:
        return DropOutbox(self.schema, self.grant_to)


@Operations.register_operation("drop_repocache_outbox")
class DropOutbox(MigrateOperation):
    """The reverse of `CreateOutbox`."""

    def __init__(self, schema: str = "public", grant_to: Sequence[str] = ()) -> None:
        self.schema = schema
        self.grant_to = names("grant_to", grant_to)

    @classmethod
    def drop_repocache_outbox(cls, operations: Operations, schema: str = "public") -> None:
        """`op.drop_repocache_outbox()`. What was not delivered is lost. Fails while a table still has its triggers."""
        operations.invoke(cls(schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("drop_repocache_outbox", self.schema)

    def reverse(self) -> CreateOutbox:
        return CreateOutbox(self.schema, self.grant_to)


@Operations.register_operation("create_invalidation_trigger")
class CreateInvalidationTrigger(MigrateOperation):
    """Triggers on one table that write the outbox for any write, whoever makes it."""

    def __init__(
        self, table: str, columns: Sequence[str] = (), schema: str = "public", outbox_schema: str = "public"
    ) -> None:
        self.table = table
        self.columns = names("columns", columns)
        self.schema = schema
        self.outbox_schema = outbox_schema

    @classmethod
    def create_invalidation_trigger(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[str] = (),
        schema: str = "public",
        outbox_schema: str = "public",
    ) -> None:
        """`op.create_invalidation_trigger("users")`. The primary key is carried in any case; `columns`: others whose
        old and new values are."""
        operations.invoke(cls(table, columns, schema, outbox_schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("create_invalidation_trigger", self.schema, self.table, self.columns)

    def reverse(self) -> DropInvalidationTrigger:
        return DropInvalidationTrigger(self.table, self.columns, self.schema, self.outbox_schema)


@Operations.register_operation("drop_invalidation_trigger")
class DropInvalidationTrigger(MigrateOperation):
    """The reverse of `CreateInvalidationTrigger`."""

    def __init__(
        self, table: str, columns: Sequence[str] = (), schema: str = "public", outbox_schema: str = "public"
    ) -> None:
        self.table = table
        self.columns = names("columns", columns)
        self.schema = schema
        self.outbox_schema = outbox_schema

    @classmethod
    def drop_invalidation_trigger(cls, operations: Operations, table: str, schema: str = "public") -> None:
        """`op.drop_invalidation_trigger("users")`."""
        operations.invoke(cls(table, schema=schema))

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("drop_invalidation_trigger", self.schema, self.table, self.columns)

    def reverse(self) -> CreateInvalidationTrigger:
        return CreateInvalidationTrigger(self.table, self.columns, self.schema, self.outbox_schema)


def _run(operations: Operations, statements: Sequence[str]) -> None:
    for statement in statements:
        operations.execute(statement)


@Operations.implementation_for(CreateOutbox)
def _create_outbox(operations: Operations, operation: CreateOutbox) -> None:
    _run(operations, create_outbox(operation.schema, operation.grant_to))


@Operations.implementation_for(DropOutbox)
def _drop_outbox(operations: Operations, operation: DropOutbox) -> None:
    _run(operations, drop_outbox(operation.schema))


@Operations.implementation_for(CreateInvalidationTrigger)
def _create_trigger(operations: Operations, operation: CreateInvalidationTrigger) -> None:
    _run(operations, create_trigger(operation.table, operation.schema, operation.outbox_schema, operation.columns))


@Operations.implementation_for(DropInvalidationTrigger)
def _drop_trigger(operations: Operations, operation: DropInvalidationTrigger) -> None:
    _run(operations, drop_trigger(operation.table, operation.schema))
