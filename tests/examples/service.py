"""An example's application over a database, a client of it, and the SQL statements of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase

from repocache import Database, Repository, Settings
from repocache.events import ignore
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, until

SECRET = "of the tests"  # it signs nothing of worth
Make = Callable[[Database, str], FastAPI]
Answer = tuple[int, Any]
Path = tuple[str, str | None]
"""A path, and the token of who asks for it."""


@dataclass
class Visitor:
    """A client of one process of the application, with its bookmark."""

    client: httpx.AsyncClient
    bookmark: str | None = None

    async def ask(self, method: str, path: str, token: str | None = None, **body: Any) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if self.bookmark is not None:
            headers["Bookmark"] = self.bookmark
        answer = await self.client.request(method, path, headers=headers, **body)
        self.bookmark = answer.headers.get("Bookmark", self.bookmark)
        return answer.status_code, answer.json() if answer.content else None

    async def all(self, paths: Mapping[str, Path]) -> dict[str, Answer]:
        answers = {name: await self.ask("GET", *path) for name, path in paths.items()}
        for _, body in answers.values():
            body.get("user", {}).pop("token", None)  # new in each answer
        return answers


@dataclass
class Service(Visitor):
    """The same, of an application in this process. `sent`: the statements of its last request."""

    db: Database = field(kw_only=True)
    sent: list[str] = field(default_factory=list)

    async def ask(self, method: str, path: str, token: str | None = None, **body: Any) -> Answer:
        self.sent.clear()
        return await super().ask(method, path, token, **body)

    async def statements(self, paths: Mapping[str, Path]) -> dict[str, int]:
        """How many each of these reads takes."""
        counted = {}
        for name, path in paths.items():
            await self.ask("GET", *path)
            counted[name] = len(self.sent)
        return counted

    async def warm(self, paths: Mapping[str, Path]) -> dict[str, Answer]:
        """What these answer once none of them takes a statement any more."""
        answers: dict[str, Answer] = {}

        async def none_sent() -> bool:
            answers.clear()
            for name, path in paths.items():
                answers.update(await self.all({name: path}))
                if self.sent:
                    return False
            return True

        await until(none_sent, "no statement is sent any more")
        return answers


@contextmanager
def listening(sent: list[str]) -> Iterator[None]:
    """Every statement of every engine of this process, of the primary and of replicas. What the
    library asks in the background takes another way."""

    def note(*arguments: Any) -> None:
        sent.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    yield
    event.remove(Engine, "before_cursor_execute", note)


@asynccontextmanager
async def serving(
    ends: Endpoints, repositories: Iterable[type[Repository[Any, Any]]], make: Make
) -> AsyncIterator[Service]:
    """All nodes are in the rotation."""
    db = Database(
        ends.primary,
        replicas=ends.replicas,
        redis=ends.redis or None,
        repositories=repositories,
        settings=Settings(topology=QUICK, observe=ignore),
    )
    app = make(db, SECRET)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://example") as client,
    ):
        await until(lambda: not any(node.out for node in db.nodes), "all nodes are in the rotation")
        service = Service(client, db=db)
        with listening(service.sent):
            yield service


async def make_tables(url: str, base: type[DeclarativeBase], rows: Mapping[Any, Any]) -> None:
    """`rows`: by their tables or classes, in an order in which they can be inserted."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(base.metadata.create_all)
        for table, some in rows.items():
            await connection.execute(getattr(table, "__table__", table).insert(), list(some))
        for table in base.metadata.sorted_tables:
            if "id" in table.c:
                last = f"SELECT setval('{table.name}_id_seq', 1000)"
                await connection.exec_driver_sql(last)
    await engine.dispose()


def plain(ends: Endpoints) -> Endpoints:
    """The primary alone, with no cache beside."""
    return Endpoints(ends.primary, (), "")


async def truth(service: Service, paths: Mapping[str, Path]) -> dict[str, Answer]:
    """What the primary has: of a service without replicas, past all caches."""
    with service.db.bypass():
        return await service.all(paths)


@contextmanager
def paused_replicas(servers: Servers) -> Iterator[None]:
    """What is committed in the block no replica has."""
    for each in servers.replicas:
        each.pause_replay()
    yield
    for each in servers.replicas:
        each.resume_replay()
