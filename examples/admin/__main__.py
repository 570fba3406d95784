"""`python -m examples.admin --port 8000`: with one user, who may do all and whose token is told;
for this time only."""

from __future__ import annotations

import secrets

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from examples.admin.app import PERMISSIONS, tokens
from examples.admin.models import Base, Department, Menu, Role, User
from examples.start import serve


async def prepare(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    office = Department(name="Office")
    menus = [Menu(name=each.partition(":")[0], permission=each) for each in PERMISSIONS]
    root = Role(name="root", menus=menus, departments=[office])
    async with AsyncSession(engine) as session, session.begin():
        session.add(User(id=1, name="ada", department=office, roles=[root], positions=[]))
    await engine.dispose()


if __name__ == "__main__":
    secret = secrets.token_urlsafe()
    print(f"Authorization: Bearer {tokens(secret).dumps(1)}")  # noqa: T201  # to whom starts it
    serve("admin", secret, prepare)
