"""The schema of a scope's value when a process uses it first: the database is asked whether it is
there, with its tables, and what else a write to them changes.

Owns the asking, and the verdict on the tables. What is known of a schema is `tracking`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import TextClause
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.errors import DatabaseUnavailable, MappingRefused, UsageError
from repocache.events import Degraded, Observer
from repocache.mapping.relation import Relation, relations_statement
from repocache.mapping.unique import check_unique, unique_columns, unique_statement
from repocache.nodes.topology import Topology
from repocache.repository.matches import LookupBinding
from repocache.repository.table_checks import ASKED
from repocache.routing.around import scoped
from repocache.scope import Scopes, schema_of
from repocache.tracking.catalog import catalog_statement
from repocache.tracking.schema_tables import SchemaTables

UNKNOWN = (
    "the primary could not be asked about it: reads go on, and until it is, a write there tells "
    "all values of the scope"
)
_TABLE, _PERMANENT = "r", "p"


@dataclass(frozen=True, slots=True)
class SchemaAnswer:
    """What the primary says of one schema. `unique`: of each lookup's table, as of
    `unique_statement`; `catalog`: of all tables, as of `catalog_statement`."""

    relations: Sequence[Relation]
    unique: Sequence[str | None]
    catalog: str


@dataclass(frozen=True, slots=True)
class SchemaQuestions:
    """About one schema: `SchemaAnswer`'s."""

    relations: TextClause
    unique: Sequence[TextClause]
    catalog: TextClause

    @classmethod
    def about(
        cls,
        schema: str,
        tables: SchemaTables,
        lookups: Iterable[LookupBinding],
        dialect: Dialect,
    ) -> SchemaQuestions:
        return cls(
            relations_statement(tables.required, dialect, schema),
            [unique_statement(each.plan.table, dialect, schema) for each in lookups],
            catalog_statement(tables.tables, schema),
        )

    async def ask(self, connection: AsyncConnection) -> SchemaAnswer:
        relations = [Relation(*row) for row in await connection.execute(self.relations)]
        unique = [(await connection.execute(each)).scalar_one_or_none() for each in self.unique]
        catalog = (await connection.execute(self.catalog)).scalar_one()
        return SchemaAnswer(relations, unique, catalog)


class UsedSchemas:
    """Those that this process has used, in one event loop. `tables`: where what is known of them
    goes. `lookups`: of their tables."""

    def __init__(
        self,
        topology: Topology,
        tables: SchemaTables,
        lookups: Sequence[LookupBinding],
        observe: Observer,
    ) -> None:
        self._topology = topology
        self._tables = tables
        self._lookups = lookups
        self._observe = observe
        self._turns: dict[str, asyncio.Lock] = {}

    async def require(self, scope: str, schema: str) -> None:
        """`scope`: its name, for messages. Raises UsageError for a schema that is not there, or
        lacks tables, MappingRefused for tables that cannot be cached. A primary that is away is no
        error: nothing is known of the schema then."""
        if self._tables.knows(schema):
            return
        turn = self._turns.setdefault(schema, asyncio.Lock())
        try:
            async with turn:
                if not self._tables.knows(schema):
                    await self._look(scope, schema)
        finally:
            if not turn.locked():
                self._turns.pop(schema, None)

    async def _look(self, scope: str, schema: str) -> None:
        dialect = self._topology.write_engine.dialect
        questions = SchemaQuestions.about(schema, self._tables, self._lookups, dialect)
        try:
            answer = (await self._topology.read(ASKED, questions.ask)).value
        except DatabaseUnavailable:
            self._observe(Degraded(f"schema {schema!r}", UNKNOWN))
            return
        check_relations(scope, schema, answer.relations)
        for each, unique in zip(self._lookups, answer.unique, strict=True):
            check_unique(
                f"{each.name} in {schema}", each.plan.columns, unique_columns(unique or "[]")
            )
        self._tables.learn(schema, answer.catalog)


def check_relations(scope: str, schema: str, relations: Sequence[Relation]) -> None:
    """`relations`: of the tables that each schema has to have. Raises UsageError where one is
    missing, and MappingRefused for one that is no ordinary table, whose rows all readers see."""
    missing = [each.name for each in relations if each.kind is None]
    if missing:
        raise UsageError(
            f"scoped({scope}={schema!r}): the database has no {', '.join(missing)}: give the name "
            "of a schema that is there, with its tables; who makes one does so before it is used"
        )
    for each in relations:
        if each.kind != _TABLE or each.persistence != _PERMANENT or each.place is None:
            raise MappingRefused(
                f"{each.name}: in the schemas of a scope rows are cached of ordinary tables alone, "
                "not of views, partitioned, foreign, unlogged or temporary ones: make it an "
                "ordinary table"
            )
        if each.secured:
            raise MappingRefused(
                f"{each.name} has row-level security, so that readers of one schema see different "
                "rows: ALTER TABLE ... DISABLE ROW LEVEL SECURITY, or keep the rows by a setting: "
                'Scope("tenant", setting="app.tenant")'
            )


@asynccontextmanager
async def entered(scopes: Scopes, used: UsedSchemas) -> AsyncIterator[None]:
    """As `scoped`, once it is known that there is the schema that these values say. Raises as
    `UsedSchemas.require`."""
    schema = schema_of(scopes)
    if schema is not None:
        await used.require(next(each.name for each in scopes if each.schema), schema)
    async with scoped(scopes):
        yield
