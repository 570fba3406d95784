"""What is said of a configuration that works, and how events are written down. Pure."""

from __future__ import annotations

import logging
import ssl
import tracemalloc
from typing import Any

import pytest
from sqlalchemy import make_url

from repocache import EngineSettings, LoggingObserver, Settings
from repocache.engines.database_url import database_url
from repocache.events import (
    CacheFailed,
    ChannelDown,
    ChannelUp,
    Degraded,
    FlushFailed,
    HookFailed,
    NodeBack,
    NodeOut,
    RelayFailed,
    Served,
    UndeclaredWrite,
    Unguarded,
)
from repocache.events.log_limit import MOST, SECONDS
from repocache.events.observers import _WARNINGS
from repocache.events.remedies import BY_KIND, NODE_OUT
from repocache.redis_link import Address
from repocache.runtime.advice import PLAIN_DATABASE, PLAIN_REDIS, UNSIGNED, advice

SIGNED = Settings(secrets=("a secret of many bytes",))
PLAIN = EngineSettings()
CONTEXT = EngineSettings(connect_args={"ssl": ssl.create_default_context()})
UNIX = "postgresql://u@/db?host=/run/postgresql"


def test_bookmarks_that_anybody_can_make_are_told() -> None:
    lenient = Settings(secrets=SIGNED.secrets, accept_unsigned=True)
    found = [
        [each.what for each in advice({}, None, given, PLAIN)]
        for given in (Settings(), lenient, SIGNED)
    ]
    assert found == [["signed bookmarks"], ["signed bookmarks"], []]


@pytest.mark.parametrize(
    "url, engine, told",
    [
        ("postgresql://u@db1/x", PLAIN, True),
        ("postgresql://u@db1/x?sslmode=prefer", PLAIN, True),
        ("postgresql://u@db1/x?sslmode=disable", PLAIN, True),
        ("postgresql://u@10.0.0.1/x", PLAIN, True),
        ("postgresql://u@localhost,db2/x", PLAIN, True),
        ("postgresql+psycopg://u@db1/x", PLAIN, True),
        ("postgresql://u@db1/x", EngineSettings(connect_args={"ssl": False}), True),
        ("postgresql://u@db1/x?sslmode=require", PLAIN, False),
        ("postgresql://u@db1/x?ssl=verify-full", PLAIN, False),
        ("postgresql+psycopg://u@db1/x?sslmode=verify-ca", PLAIN, False),
        ("postgresql://u@db1/x", CONTEXT, False),
        ("postgresql://u@localhost/x", PLAIN, False),
        ("postgresql://u@127.0.0.2:5433/x", PLAIN, False),
        ("postgresql://u@[::1]/x", PLAIN, False),
        (UNIX, PLAIN, False),
        ("sqlite+aiosqlite:////x", PLAIN, False),
    ],
)
def test_a_way_to_a_database_that_may_be_plain_is_told(
    url: str, engine: EngineSettings, told: bool
) -> None:
    said = list(advice({"db": database_url("primary", url)}, None, SIGNED, engine))
    assert said == ([Unguarded("TLS to db", PLAIN_DATABASE)] if told else [])


@pytest.mark.parametrize(
    "url, told",
    [
        ("redis://cache/0", True),
        ("redis+sentinel://localhost,cache2/main", True),
        ("rediss://cache/0", False),
        ("redis://localhost/0", False),
        ("redis://127.0.0.1:7000", False),
        ("unix:///run/redis.sock", False),
        ("redis+sentinel://localhost,[::1]:3/main", False),
    ],
)
def test_a_way_to_redis_that_is_plain_is_told(url: str, told: bool) -> None:
    said = list(advice({"db": make_url(UNIX)}, Address.parse(url), SIGNED, PLAIN))
    assert said == ([Unguarded("TLS to Redis", PLAIN_REDIS)] if told else [])


def test_unsigned_bookmarks_are_told() -> None:
    assert list(advice({}, None, Settings(), PLAIN)) == [Unguarded("signed bookmarks", UNSIGNED)]


def test_every_trouble_has_its_remedy() -> None:
    its_own = {NodeOut, Degraded, Unguarded}
    assert {kind.__name__ for kind in _WARNINGS - its_own} == set(BY_KIND)
    for why, remedy in NODE_OUT.items():
        assert NodeOut("db2", why).remedy == NodeOut("db2", f"{why}: OSError()").remedy == remedy


def written(
    caplog: pytest.LogCaptureFixture, *events: Any, level: int = logging.WARNING
) -> list[str]:
    observe = LoggingObserver()
    caplog.clear()
    with caplog.at_level(level, "repocache"):
        for event in events:
            observe(event)
    return [f"{record.levelname} {record.message}" for record in caplog.records]


def test_troubles_are_warnings_and_the_rest_is_not_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = written(
        caplog,
        Served("user", "l2", "", "a value"),
        NodeOut("db2", "refused"),
        NodeBack("db2"),
        Degraded("outbox", "lost; make it"),
        UndeclaredWrite("CALL p()"),
    )
    assert lines == [
        f"WARNING NodeOut(node='db2', why='refused'); {NODE_OUT['refused']}",
        "WARNING Degraded(what='outbox', lost='lost; make it')",
        f"WARNING UndeclaredWrite(statement='CALL p()'); {BY_KIND['UndeclaredWrite']}",
    ]
    assert written(caplog, NodeBack("db2"), level=logging.DEBUG) == ["DEBUG NodeBack(node='db2')"]


def test_a_cache_that_goes_on_failing_is_written_once_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    get, fill, hook = (
        CacheFailed("get", "away"),
        CacheFailed("fill", "away"),
        HookFailed("h", "ValueError"),
    )
    lines = written(
        caplog, get, fill, get, fill, ChannelDown("away"), get, ChannelUp("id"), get, hook, hook
    )
    assert [line.split("(")[0] for line in lines] == [
        *["WARNING CacheFailed"] * 2,
        "WARNING ChannelDown",
        "WARNING CacheFailed",
        "WARNING HookFailed",
    ]


def test_an_outage_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    observe = LoggingObserver(clock=lambda: now[0])
    with caplog.at_level(logging.WARNING, "repocache"):
        for number in range(1_000):
            observe(RelayFailed("the table is away"))
            observe(FlushFailed("views", f"other words each time: {number}"))
    assert len(caplog.records) == 1 + MOST
    caplog.clear()
    now[0] = SECONDS
    observe(RelayFailed("the table is away"))
    [record] = caplog.records
    assert record.getMessage().endswith("(999 more of its kind were left out before it)")


def test_a_record_is_structured(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "repocache"):
        LoggingObserver()(NodeOut("db2", "refused"))
    [record] = caplog.records
    assert record.__dict__["event"] == "NodeOut"
    assert record.__dict__["fields"] == {"node": "db2", "why": "refused"}


def test_what_is_remembered_of_failures_does_not_grow_with_their_words() -> None:
    unread = logging.getLogger("nobody reads this")
    unread.disabled = True
    observe = LoggingObserver(unread)
    tracemalloc.start()
    try:
        for number in range(256):
            observe(CacheFailed("get", f"{number} " * 10_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
