"""How connections are made: URLs of all kinds, drivers told more, engines and sessions of
others."""

from __future__ import annotations

import json
import logging
import shutil
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import PostgresDsn, RedisDsn, TypeAdapter
from sqlalchemy import Select, event, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from repocache import (
    ConfigurationError,
    Database,
    DatabaseUnavailable,
    EngineSettings,
    Replica,
    Settings,
)
from repocache.errors import CachedEntityRefused, UsageError
from repocache.testing import Endpoints
from tests.nodes.tls_front import make_pems, tls_front
from tests.shop import QUICK, REPOSITORIES, Seen, Shop, User, Users, in_rotation, until

SETTINGS = Settings(topology=QUICK)


def opened(
    primary: Any, replicas: Sequence[Any] = (), engine: EngineSettings | None = None
) -> Database:
    return Database(
        primary, replicas=replicas, repositories=REPOSITORIES, settings=SETTINGS, engine=engine
    )


async def shown(db: Database, setting: str) -> str:
    """On a connection for writes."""
    async with db.engine.connect() as connection:
        return str(
            (await connection.execute(text(f"SELECT current_setting('{setting}')"))).scalar_one()
        )


async def read_setting(db: Database, setting: str) -> str:
    """On a connection for reads."""
    async with db.snapshot() as connection:
        return str(
            (await connection.execute(text(f"SELECT current_setting('{setting}')"))).scalar_one()
        )


@pytest.mark.parametrize(
    "query, setting, value",
    [
        ("application_name=shop%20web", "application_name", "shop web"),
        ("options=-c%20jit%3Doff%20-c%20work_mem%3D5MB", "work_mem", "5MB"),
        ("sslmode=prefer&application_name=x", "application_name", "x"),
        (
            "statement_cache_size=0&prepared_statement_cache_size=0&application_name=y",
            "application_name",
            "y",
        ),
    ],
)
async def test_what_a_url_says_holds_for_all_connections(
    query: str, setting: str, value: str, repocache_endpoints: Endpoints
) -> None:
    primary, *replicas = (
        f"{url.replace('+asyncpg', '')}?{query}"
        for url in (repocache_endpoints.primary, *repocache_endpoints.replicas)
    )
    async with opened(primary, replicas) as db:
        await until(lambda: not any(node.out for node in db.nodes), "all are in the rotation")
        assert await shown(db, setting) == await read_setting(db, setting) == value
        assert (await db[Users].require(7)).name == "n07"


async def test_objects_of_pydantic_and_sqlalchemy(repocache_endpoints: Endpoints) -> None:
    plain = repocache_endpoints.primary.replace("+asyncpg", "")
    replica = repocache_endpoints.replicas[0]
    async with Database(
        TypeAdapter(PostgresDsn).validate_python(plain),
        replicas=[
            make_url(replica),
            Replica(TypeAdapter(PostgresDsn).validate_python(replica), name="other"),
        ],
        redis=TypeAdapter(RedisDsn).validate_python(repocache_endpoints.redis),
        repositories=REPOSITORIES,
        settings=(settings := Settings(topology=QUICK, observe=Seen())),
    ) as db:
        assert isinstance(settings.observe, Seen)
        await in_rotation(Shop(db, settings.observe))
        assert await db[Users].get(7) is not None
        assert db._started.cache.channel.server


async def test_several_hosts_of_a_primary(repocache_endpoints: Endpoints) -> None:
    """The first is a replica: it is the primary that is found, to read from and to write to."""
    primary, replica = (
        make_url(repocache_endpoints.primary),
        make_url(repocache_endpoints.replicas[0]),
    )
    plain = primary.set(drivername="postgresql").render_as_string(hide_password=False)
    places = f"{replica.host}:{replica.port},{primary.host}:{primary.port}"
    several = plain.replace(f"{primary.host}:{primary.port}", places)
    for url in (several, f"{several}?target_session_attrs=read-write"):
        async with opened(url) as db:
            async with db.unit_of_work() as work:
                (await work[Users].require(7)).name = url[-10:]
                await work.commit()
            assert (await db[Users].on_primary().require(7)).name == url[-10:]
            assert await read_setting(db, "transaction_read_only") == "on"


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
async def test_tls_as_the_url_or_a_context_says(
    repocache_endpoints: Endpoints, tmp_path: Path
) -> None:
    plain = make_url(repocache_endpoints.primary)
    pems = make_pems(tmp_path)
    context = ssl.create_default_context(cafile=pems / "cert.pem")
    async with tls_front(plain, pems) as front:
        url = front.render_as_string(hide_password=False)
        for query in (
            "?sslmode=require",
            "?ssl=require",
            f"?sslmode=verify-full&sslrootcert={pems}/cert.pem",
        ):
            async with opened(f"{url}{query}", [Replica(f"{url}{query}", name="r")]) as db:
                assert await db[Users].get(7) is not None
        async with opened(url, engine=EngineSettings(connect_args={"ssl": context})) as db:
            assert await db[Users].get(7) is not None
        for query in ("?sslmode=disable", "?sslmode=verify-full"):
            with pytest.raises(DatabaseUnavailable):
                async with opened(f"{url}{query}"):
                    pass
    with pytest.raises(DatabaseUnavailable, match="SSL"):
        async with opened(f"{repocache_endpoints.primary}?sslmode=require"):
            pass


async def test_a_wrong_url_of_a_replica_is_refused_at_once(repocache_endpoints: Endpoints) -> None:
    for query, remedy in (("?sslmod=require", "leave it out"), ("?sslmode=on", "give one of")):
        with pytest.raises(ConfigurationError, match=f"replicas: .*{remedy}"):
            opened(repocache_endpoints.primary, [f"{repocache_endpoints.replicas[0]}{query}"])
    with pytest.raises(
        ConfigurationError, match="replicas: replica1 is sqlite, the primary postgresql"
    ):
        opened(repocache_endpoints.primary, ["sqlite+aiosqlite:////somewhere"])


async def test_tokens_by_a_creator(repocache_endpoints: Endpoints) -> None:
    """The URLs have no password: each connection is made with the token of the moment."""
    password = make_url(repocache_endpoints.primary).password
    ports: set[int] = set()

    async def create(**arguments: Any) -> asyncpg.Connection:
        ports.add(arguments["port"])
        return await asyncpg.connect(**{**arguments, "password": password})

    def bare(url: str) -> Any:
        return make_url(url)._replace(password=None)

    urls = [bare(url) for url in (repocache_endpoints.primary, *repocache_endpoints.replicas)]
    async with opened(urls[0], urls[1:], EngineSettings(async_creator=create)) as db:
        await until(lambda: not any(node.out for node in db.nodes), "all are in the rotation")
        assert await read_setting(db, "transaction_read_only") == "on"
    assert ports == {url.port for url in urls}
    async with opened(
        urls[0], engine=EngineSettings(connect_args={"password": lambda: password})
    ) as db:
        assert await db[Users].get(7) is not None


async def test_settings_of_the_server_hold_for_reads_and_writes(
    repocache_endpoints: Endpoints,
) -> None:
    engine = EngineSettings(server_settings={"application_name": "web", "statement_timeout": "7s"})
    async with opened(repocache_endpoints.primary, repocache_endpoints.replicas, engine) as db:
        for setting, value in (("application_name", "web"), ("statement_timeout", "7s")):
            assert await shown(db, setting) == await read_setting(db, setting) == value
        assert await read_setting(db, "transaction_read_only") == "on"


async def test_json_by_other_functions(repocache_endpoints: Endpoints) -> None:
    """Written, read past the cache, and read from it."""

    def dumps(value: Any) -> str:
        return json.dumps({"by": "ours", **value})

    def loads(data: str) -> Any:
        return json.loads(data, parse_int=lambda digits: int(digits) + 1)

    engine = EngineSettings(json_serializer=dumps, json_deserializer=loads)
    async with opened(repocache_endpoints.primary, engine=engine) as db:
        async with db.unit_of_work() as work:
            (await work[Users].require(7)).settings = {"n": 1}
            await work.commit()
        for _ in range(2):
            assert (await db[Users].require(7)).settings == {"by": "ours", "n": 2}
    async with opened(repocache_endpoints.primary) as db:
        assert (await db[Users].require(7)).settings == {"by": "ours", "n": 1}


async def test_pools_echo_and_recycling(
    repocache_endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    engine = EngineSettings(write_pool_size=2, pool_recycle=60, echo=True)
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        async with opened(repocache_endpoints.primary, engine=engine) as db:
            pool = db.engine.sync_engine.pool
            assert (pool.size(), pool._recycle) == (2, 60)  # type: ignore[attr-defined]
            assert await db[Users].get(7) is not None
    assert any("FROM users" in record.message for record in caplog.records)


async def test_the_engine_can_be_instrumented(repocache_endpoints: Endpoints) -> None:
    db = opened(repocache_endpoints.primary)
    statements: list[str] = []

    @event.listens_for(db.engine.sync_engine, "before_cursor_execute")
    def heard(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    async with db:
        async with db.unit_of_work() as work:
            (await work[Users].require(7)).name = "Ada"
            await work.commit()
        assert any(statement.startswith("UPDATE users") for statement in statements)


async def test_what_is_committed_on_the_engine_invalidates(repocache_endpoints: Endpoints) -> None:
    async with opened(repocache_endpoints.primary) as db:
        assert (await db[Users].require(7)).name == "n07"
        async with db.engine.begin() as connection:
            await connection.execute(User.__table__.update().where(User.id == 7).values(name="Ada"))  # type: ignore[attr-defined]
        assert (await db[Users].require(7)).name == "Ada"


class OtherSync(Session):
    """As SQLModel's: it has a method that its async twin calls."""

    def exec(self, statement: Select[Any]) -> Any:
        return self.execute(statement).scalars()


class Other(AsyncSession):
    sync_session_class = OtherSync
    sync_session: OtherSync

    async def exec(self, statement: Select[Any]) -> Any:
        return await greenlet_spawn(self.sync_session.exec, statement)


async def test_sessions_of_another_class(repocache_endpoints: Endpoints) -> None:
    async with opened(repocache_endpoints.primary) as db:
        cached = await db[Users].require(7)
        sessions = db.sessionmaker(class_=Other)
        async with sessions.begin() as session:
            assert isinstance(session, Other)
            (found,) = await session.exec(select(User).where(User.id == 7))
            found.name = "Ada"
            with pytest.raises(CachedEntityRefused):
                session.add(cached)
        assert (await db[Users].require(7)).name == "Ada"
        assert found.name == "Ada", "it can be read after the commit"
        async with db.sessionmaker() as plain:
            assert not isinstance(plain, Other)


async def test_sessions_with_another_sync_class(repocache_endpoints: Endpoints) -> None:
    async with opened(repocache_endpoints.primary) as db:
        cached = await db[Users].require(7)
        for sessions in (
            db.sessionmaker(sync_session_class=OtherSync, autoflush=False),
            db.sessionmaker(class_=AsyncSession, sync_session_class=OtherSync, autoflush=False),
        ):
            async with sessions() as session:
                assert isinstance(session.sync_session, OtherSync)
                assert not session.sync_session.autoflush
                with pytest.raises(CachedEntityRefused):
                    await session.merge(cached)


@pytest.mark.parametrize(
    "arguments", [{"class_": Session}, {"class_": "Other"}, {"sync_session_class": AsyncSession}]
)
async def test_what_is_no_session_is_refused(arguments: dict[str, Any], still: Shop) -> None:
    with pytest.raises(UsageError, match="derives from SQLAlchemy's"):
        still.db.sessionmaker(**arguments)
