"""A service behind an edge, whose pages say how often they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from repocache.edges import XKEY, TagNames
from tests.edges.speaking import Asked, Said, speaking

NAMES = TagNames("shop")
FRESH = {"cache-control": "max-age=600"}


@dataclass
class Pages:
    """`headers`: what is said with the page of a path. `made`: how often each was."""

    port: int = 0
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    asked: list[Asked] = field(default_factory=list)

    def put(self, path: str, *tags: str, **headers: str) -> None:
        """A page of these tags. `headers`: with `_` for `-`."""
        said = {name.replace("_", "-"): value for name, value in headers.items()} or dict(FRESH)
        [(name, value)] = XKEY.lines(map(NAMES.name, tags))
        self.headers[path] = said | {name.decode(): value.decode()}

    async def answer(self, asked: Asked) -> Said:
        path = asked.path.partition("?")[0]
        self.asked.append(asked)
        self.made[path] += 1
        return Said(
            self.statuses.get(path, 200),
            self.headers.get(path, {}),
            f"{path} {self.made[path]}".encode(),
        )


@asynccontextmanager
async def service() -> AsyncIterator[Pages]:
    pages = Pages()
    async with speaking(pages.answer) as server:
        pages.port = server.port
        yield pages


@asynccontextmanager
async def browser(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False) as client:
        yield client


async def number(client: httpx.AsyncClient, path: str, **headers: str) -> int:
    """Which making of the page comes, to somebody new."""
    client.cookies.clear()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await client.get(path, headers=sent)
    return int(response.text.rpartition(" ")[2])
