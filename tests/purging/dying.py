"""A process that renames product 1, and dies at a place: `committed` right after COMMIT, `soon`
before the first purge, `later` before the second."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from repocache import Database, Settings
from repocache.edges.declared import Edges
from repocache.edges.fastly import Fastly
from repocache.publication.publisher import CommitPublisher
from repocache.runtime.edges import RunningEdges
from tests.edges.playing import SERVICE, TOKEN
from tests.responses.catalog import REPOSITORIES, Products
from tests.shop import QUICK


async def die(*_: Any) -> None:
    os._exit(9)


PLACES = {
    "committed": (CommitPublisher, "committed"),
    "soon": (RunningEdges, "_first"),
    "later": (RunningEdges, "_second"),
}


async def main(where: str, primary: str, redis: str, url: str) -> None:
    setattr(*PLACES[where], die)
    edges = Edges(Fastly(SERVICE, TOKEN, url=url), app="shop", transit=0.3)
    async with Database(
        primary,
        redis=redis,
        repositories=REPOSITORIES,
        settings=Settings(topology=QUICK),
        edges=edges,
    ) as db:
        async with db.unit_of_work() as work:
            (await work[Products].require(1)).name = "x"
            await work.commit()
        await asyncio.sleep(30)


asyncio.run(main(*sys.argv[1:]))
