"""Papers: rows among which some cannot be read, by the driver, by a column's type or by the
server."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import JSON, Enum
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from repocache import CacheAside, Database, KeyOwner, MappingOptions, Repository, Settings
from repocache.cache.policies import Policy
from repocache.testing import Endpoints
from tests.shop import QUICK, Seen

MAKE = (
    "DROP TABLE IF EXISTS papers",
    "DROP TYPE IF EXISTS paper_state",
    "CREATE TYPE paper_state AS ENUM ('draft', 'signed', 'newer')",
    """CREATE TABLE papers (
        id text PRIMARY KEY, title varchar(40) NOT NULL DEFAULT 't',
        state paper_state NOT NULL DEFAULT 'draft', day date NOT NULL DEFAULT '2020-02-02',
        body json NOT NULL DEFAULT '{}', pages int NOT NULL DEFAULT 1
    )""",
    "INSERT INTO papers (id) SELECT 'p' || n FROM generate_series(0, 99) AS n",
    "INSERT INTO papers (id, state) VALUES ('label', 'newer')",
    "INSERT INTO papers (id, day) VALUES ('far', '20000-01-01'), ('before', '0044-03-15 BC')",
    (
        "INSERT INTO papers (id, body) VALUES ('digits', CAST('[' || repeat('9', 5000) || ']' AS "
        "json))"
    ),
    (
        "INSERT INTO papers (id, body) SELECT 'deep', CAST(repeat('[', 12000) || repeat(']', "
        "12000) AS json)"
    ),
    "INSERT INTO papers (id, pages) VALUES ('server', 0)",
)
UNREADABLE = {
    "label": "LookupError: 'newer' is not among the defined enum values",
    "far": "ValueError: year 20000 is out of range",
    "before": "ValueError: ordinal must be >= 1",
    "digits": "ValueError: Exceeds the limit",
    "deep": "RecursionError: maximum recursion depth exceeded",
    "server": "division by zero",
}


class Base(DeclarativeBase):
    pass


class Paper(Base):
    __tablename__ = "papers"
    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    state: Mapped[str] = mapped_column(Enum("draft", "signed", name="paper_state"))
    day: Mapped[datetime.date]
    body: Mapped[Any] = mapped_column(JSON)
    pages: Mapped[int]


Paper.each = column_property(100 / Paper.pages)


class Papers(Repository[Paper, str]):
    owner = KeyOwner("paper")
    policy = CacheAside(ttl=60, local_ttl=0)
    mapping = MappingOptions(derived=("each",))


def under(policy: Policy, *, computed: bool = True) -> type[Papers]:
    """The papers under this policy. `computed`: with what the server computes of each."""
    mapping = Papers.mapping if computed else MappingOptions(not_loaded=("each",))
    return type("Papers", (Papers,), {"policy": policy, "mapping": mapping, "__module__": __name__})


@dataclasses.dataclass
class Desk:
    """A running database with the papers, and what it told."""

    db: Database
    seen: Seen
    papers: Papers


@asynccontextmanager
async def open_desk(endpoints: Endpoints, repository: type[Papers] = Papers) -> AsyncIterator[Desk]:
    seen = Seen()
    async with Database(
        endpoints.primary,
        replicas=endpoints.replicas,
        redis=endpoints.redis or None,
        repositories=[repository],
        settings=Settings(topology=QUICK, observe=seen),
    ) as db:
        yield Desk(db, seen, db[repository])


async def run(endpoints: Endpoints, *statements: str) -> None:
    """As the application's role, past the library."""
    engine = create_async_engine(endpoints.primary)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()
