"""What the database is asked of a repository's tables before anything is read from them: whether
lookups are unique, and what row-level security shows.

Owns the asking. The verdicts are `mapping.unique`'s and `mapping.policies`'.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.mapping.policies import Secured, check_policies, policies_statement
from repocache.mapping.unique import check_unique, declared_unique, unique_columns, unique_statement
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.repository.binding import Binding

ASKED = ReadRequirement(primary="asked", asked=True)
"""Of the primary alone."""


async def check_lookups(topology: Topology, binding: Binding[Any]) -> None:
    """Raises MappingRefused for a lookup whose columns are not unique, as the database has them."""
    dialect = topology.write_engine.dialect
    for each in binding.lookups.values():
        table = each.plan.table
        if dialect.name != "postgresql":
            check_unique(each.name, each.plan.columns, declared_unique(table))
            continue
        statement = unique_statement(table, dialect)

        async def run(connection: AsyncConnection, statement: TextClause = statement) -> str | None:
            answer: str | None = (await connection.execute(statement)).scalar_one_or_none()
            return answer

        answer = (await topology.read(ASKED, run)).value
        if answer is not None:  # else reading the table will say that it is not there
            check_unique(each.name, each.plan.columns, unique_columns(answer))


async def check_secured(topology: Topology, name: str, binding: Binding[Any]) -> None:
    """`name`: of the repository. Raises MappingRefused where row-level security shows others than
    the rows of one value."""
    owner = binding.scope
    if owner is None or owner.column is None:
        return
    statement = policies_statement(owner.column.table, topology.write_engine.dialect)

    async def run(connection: AsyncConnection) -> Secured | None:
        row = (await connection.execute(statement)).one_or_none()
        return None if row is None else Secured(*row)

    secured = (await topology.read(ASKED, run)).value
    if secured is not None:  # else reading the table will say that it is not there
        check_policies(name, owner.column.column, owner.scope.setting, secured)
