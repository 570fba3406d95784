"""Settings of one transaction, as row-level security compares them with rows: nobody else who uses
the connection meets them.

Owns how a connection gets them, and how it is rid of them. Which they are is the callers'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.engines.lent import LENT, POOLED, lend


def settings_statement(settings: Mapping[str, str]) -> Select[Any]:
    """Sets them until the transaction ends."""
    return select(
        *(func.pg_catalog.set_config(name, value, True) for name, value in settings.items())
    )


@asynccontextmanager
async def under(connection: AsyncConnection, settings: Mapping[str, str]) -> AsyncIterator[None]:
    """A transaction of its own in the block, on a connection whose statements are each their own
    otherwise, or in one already where a pooler answers. None where there are no settings.

    Whatever ends the block early, the connection is reset as it comes back, as one that was lent.
    """
    if not settings:
        yield
        return
    info = (await connection.get_raw_connection()).info
    if POOLED in info:
        await connection.execute(settings_statement(settings))
        yield
        return
    was_lent = LENT in info
    await lend(connection)
    await connection.exec_driver_sql("BEGIN READ ONLY")
    await connection.execute(settings_statement(settings))
    try:
        yield
    except Exception:
        with suppress(DBAPIError):  # the caller hears of what was first
            await connection.exec_driver_sql("ROLLBACK")
        raise
    await connection.exec_driver_sql("ROLLBACK")
    if not was_lent:
        del info[LENT]
