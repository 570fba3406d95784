"""URLs from outside: any text is a value or a refusal that names its argument, and no password
comes out."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import URL

from repocache.engines.database_url import database_url, primary_url, without_secrets
from repocache.errors import ConfigurationError
from repocache.nodes.topology import named
from repocache.redis_link import Address
from tests.spilled import told

TOKEN = "hunter2Zq"
MARKS = st.text(st.sampled_from("/?#@:%&=,[]+; \t\n'\"\\.*ü0aé\uff12"), max_size=6)
TEXT = st.text(max_size=12)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)
HOSTS = st.one_of(
    st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{2,5})?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
PORTS = st.integers(1, 65_535)
PASSWORDS = st.builds(lambda before, after: f"{before}{TOKEN}{after}", MARKS, MARKS)

REDIS = (
    "redis://ada:{}@cache:6379/0",
    "redis://:{}@cache",
    "rediss://ada:{}@cache?ssl_check_hostname=true",
    "unix://ada:{}@/run/redis.sock",
    "redis+sentinel://ada:{}@a:1,b/main/0",
    "redis+sentinel://a/main/0?sentinel_password={}",
    "ada:{}@cache:6379",
    "http://ada:{}@cache",
)
DATABASES = (
    "postgresql+asyncpg://ada:{}@db1:5432/shop",
    "postgresql://:{}@db1/shop",
    "postgresql://ada:{}@a,b:1/shop",
    "postgresql://ada@db1/shop?password=x{}",
    "postgresql://ada@db1/shop?sslpassword=x{}",
    "postgresql://ada:{}@db1/shop?sslmode=no",
    "postgresql://ada:{}@db1/shop?statement_cache_size=no",
    "mysql://ada:{}@db1/shop",
    "host=db1 user=ada password={}",
    "ada:{}@db1/shop",
)


def shown_redis(text: object) -> str:
    address = Address.parse(text)
    return f"{address} {address!r}"


def shown_database(text: object) -> str:
    url = database_url("replicas", text)
    return f"{without_secrets(url)} {named([url])[0].name} {named([url])!r}"


PARSERS = pytest.mark.parametrize(
    "parse, argument",
    [(Address.parse, "redis"), (primary_url, "primary")],
)
SHOWN = pytest.mark.parametrize(
    "templates, shown",
    [(REDIS, shown_redis), (DATABASES, shown_database)],
    ids=["redis", "database"],
)


def refusal(parse: Callable[[object], object], text: object) -> ConfigurationError | None:
    try:
        parse(text)
    except ConfigurationError as error:
        return error
    return None


def outcome(shown: Callable[[object], str], text: object) -> str:
    """What comes out, whatever it is."""
    refused = refusal(shown, text)
    return shown(text) if refused is None else told(refused)


@PARSERS
@given(
    st.one_of(
        TEXT,
        st.builds("{}{}".format, st.sampled_from(["redis://", "postgresql://", "unix://"]), TEXT),
    )
)
@example("redis://[")
@example("redis://[x]:1")
@example("redis://a\u2100b@c")
@example("redis://h/" + "9" * 5000)
@example("redis://h:" + "9" * 5000)
@example("postgresql://h:" + "9" * 5000 + "/d")
@example("postgresql://h:0/d")
@example("postgresql://h/d?sslcert=" + "x" * 5000)
@example("postgresql://h/d?sslcert=%00")
@example("postgresql://a,b:99999999/d")
def test_any_text_is_a_value_or_a_refusal(
    parse: Callable[[object], object], argument: str, text: str
) -> None:
    refused = refusal(parse, text)
    assert refused is None or str(refused).startswith(argument)


@SHOWN
@given(PASSWORDS)
@example(f"/{TOKEN}")
@example(f"#{TOKEN}")
@example(f"?{TOKEN}")
@example(f"@{TOKEN}")
@example(f"a@b/{TOKEN}")
@example(f"a@b?{TOKEN}")
@example(f"1/{TOKEN}")
@example(f"1?db={TOKEN}")
@example(f"x&{TOKEN}=")
@example(f"x&{TOKEN}")
@example(f"1,{TOKEN}")
@example(f"{TOKEN}\u2100")
@example(f"[{TOKEN}")
@example(f"@/{TOKEN}=?")
@example(f"@/{TOKEN}=?a=b&")
def test_no_password_comes_out(
    templates: tuple[str, ...], shown: Callable[[object], str], password: str
) -> None:
    for template in templates:
        for written in (password, quote(password, safe="")):
            text = template.format(written)
            for given_as in (text, SecretStr(text)):
                assert TOKEN not in outcome(shown, given_as), text


@pytest.mark.parametrize("scheme, shown", [("redis", shown_redis), ("postgresql", shown_database)])
def test_a_login_without_a_host_is_none(scheme: str, shown: Callable[[object], str]) -> None:
    said = outcome(shown, f"{scheme}://ada:{TOKEN}")
    assert "ConfigurationError" in said
    assert TOKEN not in said


@given(NAMES, NAMES, HOSTS, PORTS, st.integers(0, 10**9 - 1))
def test_addresses_go_round(user: str, password: str, host: str, port: int, db: int) -> None:
    place = f"[{host}]" if ":" in host else host
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    address = Address(host=host, port=port, db=db, username=user, password=password)
    assert Address.parse(f"redis://{login}{place}:{port}/{db}") == address
    watched = Address.parse(f"redis+sentinel://{login}{place}:{port},{place}:1/main/{db}")
    assert [(each.host, each.port) for each in watched.sentinels] == [(host, port), (host, 1)]
    assert (watched.username, watched.password, watched.db) == (user, password, db)


@given(NAMES, NAMES, HOSTS, PORTS, NAMES)
def test_database_urls_go_round(
    user: str, password: str, host: str, port: int, database: str
) -> None:
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    place = f"[{host}]" if ":" in host else host
    name = quote(database, safe="")
    url = URL.create("postgresql+asyncpg", user, password, host, port, database)
    assert database_url("primary", f"postgresql://{login}@{place}:{port}/{name}") == url
    read = database_url("primary", f"postgresql://{login}@a:1,b/{name}")
    assert (read.username, read.password, read.database) == (user, password, database)
    assert (read.query["host"], read.query["port"]) == ("a,b", "1,5432")


@pytest.mark.parametrize("password", ["a,b", "1,2", "a/b", "a?b=c", "a#b"])
def test_a_password_may_hold_what_sqlalchemy_lets_it_hold(password: str) -> None:
    read = database_url("primary", f"postgresql://ada:{password}@db1/shop")
    assert (read.username, read.password, read.host) == ("ada", password, "db1")


@pytest.mark.parametrize("path", ["/srv/a@b.db", "/srv/a%40b.db"])
def test_a_file_may_have_an_at(path: str) -> None:
    assert database_url("primary", f"sqlite+aiosqlite:///{path}").database == "//srv/a@b.db"[1:]
    assert Address.parse(f"unix://{path}").path == "/srv/a@b.db"
