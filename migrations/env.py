"""Alembic environment for the library's own tables:
`alembic -x url=postgresql+asyncpg://... upgrade head`.

An application with migrations of its own needs none of this: it writes the same operations into one
of them.
"""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from repocache.alembic_ops import declare

metadata = MetaData()
declare(metadata)
VERSIONS = "repocache_version"


def configured_url() -> str:
    """From the command line, or the configuration."""
    url = context.get_x_argument(as_dictionary=True).get("url") or context.config.get_main_option(
        "sqlalchemy.url"
    )
    if not url:
        raise SystemExit("which database? alembic -x url=postgresql+asyncpg://user@host/name ...")
    return url


def run(connection: Connection) -> None:
    """Upgrade or downgrade, or look for differences."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSIONS,
        include_name=lambda *_: False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_online() -> None:
    """Connected to the database."""
    engine = create_async_engine(configured_url(), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(url=configured_url(), literal_binds=True, version_table=VERSIONS)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(run_online())
