"""`python -m examples.conduit --port 8000`: Conduit without users, for this time only."""

from __future__ import annotations

import secrets

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from examples.conduit.models import SITE, Base, Site
from examples.start import serve


async def prepare(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Site), {"id": SITE})
    await engine.dispose()


if __name__ == "__main__":
    serve("conduit", secrets.token_urlsafe(), prepare)
