"""One read under the values of scopes that count for it.

Owns what its connection is told, and what is kept of it with a row. Which values count is the
caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.driver_errors import is_outdated
from repocache.engines.outdated_plans import AGAIN
from repocache.engines.scoped import under
from repocache.scope import Scope, Scopes, schema_of, settings_of

T = TypeVar("T")


def behind_row(scope: Scope, scopes: Scopes) -> tuple[str, ...]:
    """What is kept behind the columns of a row that was read: the schema that it lies in, where
    that says whose it is."""
    return (str(scopes[scope]),) if scope.schema else ()


def within(
    scopes: Scopes, run: Callable[[AsyncConnection], Awaitable[T]]
) -> Callable[[AsyncConnection], Awaitable[T]]:
    """The same on a connection that is told these values.

    What has met a plan of before DDL is read again in a transaction of its own: within one, the
    engine sends nothing again."""
    schema = schema_of(scopes)

    async def run_within(connection: AsyncConnection) -> T:
        again = AGAIN
        if schema is not None:
            await connection.execution_options(schema_translate_map={None: schema})
        while True:
            try:
                async with under(connection, settings_of(scopes)):
                    return await run(connection)
            except DBAPIError as error:
                again -= 1
                if not again or error.orig is None or not is_outdated(error.orig):
                    raise

    return run_within
