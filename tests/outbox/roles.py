"""Roles of their own on the real server: who migrates, who writes knowing nothing of the outbox,
and who is hostile."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from repocache.testing import PostgresServer


class Roles(NamedTuple):
    """Their names, which are also their passwords. `keeper`: owns functions, and may not log in."""

    migrator: str
    service: str
    clerk: str
    mallory: str
    keeper: str


@contextmanager
def roles_on(server: PostgresServer) -> Iterator[Roles]:
    """Until all databases that hold something of theirs are dropped."""
    end = secrets.token_hex(3)
    roles = Roles(*(f"{name}_{end}" for name in Roles._fields))
    for role in roles:
        server.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    server.sql(f"ALTER ROLE {roles.keeper} NOLOGIN")
    try:
        yield roles
    finally:
        server.sql(";".join(f"DROP ROLE {role}" for role in roles))


def url_of(url: str, role: str) -> str:
    """The same database, as this role."""
    return make_url(url).set(username=role, password=role).render_as_string(hide_password=False)


async def run_as(url: str, role: str, *statements: str) -> list[Any]:
    """One transaction of the role's; the rows of the last statement."""
    engine = create_async_engine(url_of(url, role), poolclass=NullPool)
    rows: list[Any] = []
    try:
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement.replace(":", "\\:")))
                rows = list(result) if result.returns_rows else []
    finally:
        await engine.dispose()
    return rows
