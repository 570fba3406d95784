"""URLs of databases: what may be given, and what a driver is told of it. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import PostgresDsn, SecretStr, TypeAdapter
from sqlalchemy import URL, make_url

from repocache.engines.connect_args import connect_args
from repocache.engines.database_url import EXAMPLE, database_url, primary_url, without_options
from repocache.engines.engine_settings import EngineSettings
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import ConfigurationError

PLAIN = EngineSettings()
LIMITS = TopologySettings(connect_timeout=1.5)
HOST = "postgresql+asyncpg://ada:s%2Fcret@db1:5433/shop"


def dsn(text: str) -> PostgresDsn:
    return TypeAdapter(PostgresDsn).validate_python(text)


@pytest.mark.parametrize(
    "given",
    [
        HOST,
        make_url(HOST),
        dsn(HOST),
        SecretStr(HOST),
        HOST.replace("+asyncpg", ""),
        HOST.replace("postgresql+asyncpg", "postgres"),
        HOST.replace("postgresql", "postgres"),
    ],
    ids=["text", "URL", "PostgresDsn", "SecretStr", "postgresql", "postgres", "postgres+asyncpg"],
)
def test_one_address_in_many_forms(given: object) -> None:
    url = database_url("primary", given)
    assert url.render_as_string(hide_password=False) == make_url(HOST).render_as_string(
        hide_password=False
    )
    assert url.password == "s/cret"


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://ada:x@a:1,b,[::1]:3/shop",
        dsn("postgresql://ada:x@a:1,b:5432,[::1]:3/shop"),
        "postgresql+asyncpg://ada:x@/shop?host=a,b,::1&port=1,5432,3",
    ],
)
def test_several_hosts(given: object) -> None:
    url = primary_url(given)
    (_, told) = without_options(url).get_dialect()().create_connect_args(without_options(url))
    assert (told["host"], told["port"]) == (["a", "b", "::1"], [1, 5432, 3])
    assert (told["user"], told["password"], told["database"]) == ("ada", "x", "shop")


ONE = "postgresql://ada@a/shop"
TWO = "postgresql://ada@a,b/shop"


@pytest.mark.parametrize(
    "given, writing, reading",
    [
        (ONE, None, None),
        (TWO, "primary", "primary"),
        (f"{TWO}?target_session_attrs=read-write", "read-write", "primary"),
        (f"{TWO}?target_session_attrs=read-only", "read-only", "standby"),
        (f"{TWO}?target_session_attrs=any", "any", "any"),
    ],
)
def test_which_of_several_hosts_is_looked_for(
    given: str, writing: str | None, reading: str | None
) -> None:
    """What is asked of a server does not depend on our own wish to read only."""
    for read_only, expected in ((False, writing), (True, reading)):
        told = connect_args(primary_url(given), LIMITS, PLAIN, read_only=read_only)
        assert told.get("target_session_attrs") == expected
    libpq = primary_url(given.replace("postgresql", "postgresql+psycopg"))
    told = {**libpq.query, **connect_args(libpq, LIMITS, PLAIN, read_only=True)}
    assert told.get("target_session_attrs") == reading


def told(
    query: str, engine: EngineSettings = PLAIN, *, driver: str = "asyncpg", read_only: bool = False
) -> Any:
    url = database_url("primary", f"postgresql+{driver}://a/b{query}")
    return connect_args(url, LIMITS, engine, read_only=read_only)


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", {}),
        ("?sslmode=require", {"dsn": "postgresql://?sslmode=require"}),
        ("?application_name=a%20b", {"dsn": "postgresql://?application_name=a+b"}),
        ("?options=-c%20jit%3Doff", {"dsn": "postgresql://?options=-c+jit%3Doff"}),
        ("?statement_cache_size=0", {"statement_cache_size": 0}),
        ("?prepared_statement_cache_size=0", {"prepared_statement_cache_size": 0}),
        ("?command_timeout=2.5&ssl=prefer", {"command_timeout": 2.5, "ssl": "prefer"}),
    ],
)
def test_options_reach_asyncpg_in_its_own_words(query: str, expected: dict[str, Any]) -> None:
    assert told(query) == {"timeout": 1.5, **expected}


def test_settings_of_the_server_come_together() -> None:
    engine = EngineSettings(server_settings={"jit": "off", "search_path": "a b"})
    on = {"default_transaction_read_only": "on"}
    assert told("", engine)["server_settings"] == {"jit": "off", "search_path": "a b"}
    assert told("", engine, read_only=True)["server_settings"] == {**engine.server_settings, **on}
    options = told("?options=-c%20x=1", engine, driver="psycopg", read_only=True)["options"]
    assert options == "-c x=1 -c jit=off -c search_path=a\\ b -c default_transaction_read_only=on"


def test_arguments_of_the_driver_count_more_than_the_url() -> None:
    async def create(**_: Any) -> None: ...

    engine = EngineSettings(
        connect_args={"statement_cache_size": 7, "ssl": False}, async_creator=create
    )
    expected = {"timeout": 1.5, "statement_cache_size": 7, "ssl": False, "async_creator_fn": create}
    assert told("?statement_cache_size=0", engine) == expected


MASKED = str(make_url("postgresql+asyncpg://ada:secret@host/db"))


@pytest.mark.parametrize(
    "given, remedy",
    [
        (MASKED, "render_as_string(hide_password=False)"),
        ([HOST], "give one URL, not a list"),
        (7, f"a int is not a URL: {EXAMPLE}"),
        (None, f"a NoneType is not a URL: {EXAMPLE}"),
        ("nonsense", EXAMPLE),
        ("postgresql://ada:secret@a:x/db", EXAMPLE),
        ("postgresql://ada:secret@a:1,b:x/db", EXAMPLE),
        ("postgresql://ada:secret@a,/db", EXAMPLE),
        (
            "postgresql://a/b?sslmode=yes",
            "sslmode=yes: give one of disable, allow, prefer, require",
        ),
        ("postgresql://a/b?ssl=true", "ssl=true: give one of disable"),
        (
            "postgresql://a/b?sslrootcert=/no/such.pem",
            "sslrootcert=/no/such.pem: there is no such file",
        ),
        ("postgresql://a/b?target_session_attrs=master", "give one of any, primary, standby"),
        ("postgresql://a/b?statement_cache_size=none", "statement_cache_size=none: give a number"),
        ("postgresql://a/b?connect_timeout=10", "TopologySettings(connect_timeout=...)"),
        ("postgresql://a/b?channel_binding=require", "asyncpg has none of this name; leave it out"),
        ("postgresql://a/b?jit=off", "EngineSettings(server_settings={'jit': ...})"),
        ("postgresql://a/b?sslmode=require&sslmode=disable", "given twice"),
        ("sqlite+aiosqlite://", "name a file"),
    ],
)
def test_what_cannot_work_is_said_with_argument_and_remedy(given: object, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(remedy)) as caught:
        database_url("replicas", given)
    assert str(caught.value).startswith("replicas")
    assert "secret" not in "".join(map(str, (caught.value, caught.value.__cause__)))


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        ({"connect_args": {"timeout": 3}}, "TopologySettings(connect_timeout=...)"),
        ({"connect_args": {"server_settings": {}}}, "EngineSettings(server_settings=...)"),
        ({"connect_args": {"async_creator_fn": 1}}, "EngineSettings(async_creator=...)"),
        ({"connect_args": {"target_session_attrs": "any"}}, "in the URL"),
        ({"connect_args": ["ssl"]}, "give a dictionary"),
        ({"server_settings": {"jit": False}}, "give texts"),
        ({"server_settings": {"default_transaction_read_only": "off"}}, "leave it out"),
        ({"async_creator": lambda: None}, "'password': token()"),
        ({"json_serializer": "orjson"}, "give a function"),
        ({"write_pool_size": 0}, "at least 1"),
        ({"pool_recycle": 0}, "more than 0, or None"),
    ],
)
def test_engine_settings_that_cannot_work_are_refused(
    arguments: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(remedy)) as caught:
        EngineSettings(**arguments)
    assert str(caught.value).startswith(f"EngineSettings({next(iter(arguments))}=")


def test_nothing_secret_is_shown_and_nothing_can_be_changed() -> None:
    given = {"password": "secret"}
    engine = EngineSettings(connect_args=given)
    given["password"] = "other"
    assert engine.connect_args == {"password": "secret"}
    assert "secret" not in repr(engine)
    with pytest.raises(TypeError):
        engine.connect_args["password"] = "other"  # type: ignore[index]


def test_sqlite_has_no_settings_of_a_server(tmp_path: Path) -> None:
    url = URL.create("sqlite+aiosqlite", database=str(tmp_path / "shop"))
    assert connect_args(url, LIMITS, PLAIN, read_only=True) == {}
    with pytest.raises(ConfigurationError, match="sqlite has none; leave it out"):
        connect_args(url, LIMITS, EngineSettings(server_settings={"jit": "off"}), read_only=True)
