"""A Redis under a test's hands."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, repeat
from pathlib import Path

import pytest

from repocache.testing import Layout, RedisServer, ServerError, Servers
from repocache.testing.embedded import start_redis
from repocache.testing.folder import RunFolder
from repocache.testing.ports import free_port
from repocache.testing.process import Account


@pytest.fixture
def redis(repocache_controls: Servers) -> RedisServer:
    repocache_controls.redis.command("SET", "key", "value")
    return repocache_controls.redis


def password_of(redis: RedisServer) -> str:
    return redis.url.split(":")[2].partition("@")[0]


@pytest.fixture
def second(redis: RedisServer) -> Iterator[RedisServer]:
    """Another server with the first one's password, by a line of its configuration."""
    password = password_of(redis)
    account = Account.unprivileged()
    with ExitStack() as stack:
        folder: Path = stack.enter_context(RunFolder(account))
        yield start_redis(stack, folder, account, Layout(redis=(f"masterauth {password}",)))


def test_a_restart_forgets_all_on_the_same_port(redis: RedisServer) -> None:
    url, pid = redis.url, redis.pid
    redis.restart()
    assert redis.command("GET", "key") is None
    assert redis.url == url
    assert redis.pid != pid


def test_a_snapshot_comes_back_after_a_crash(redis: RedisServer) -> None:
    redis.snapshot()
    redis.command("SET", "key", "later")
    redis.kill()
    with pytest.raises(OSError, match="refused"):
        redis.command("PING")
    redis.start()
    assert redis.command("GET", "key") == "value"


def test_a_frozen_server_is_silent_and_keeps_its_connections(redis: RedisServer) -> None:
    with socket.create_connection((redis.host, redis.port), timeout=0.1) as connection:
        redis.freeze()
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(100)
        redis.thaw()
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"-NOAUTH")


def test_nobody_gets_in_without_the_password(redis: RedisServer) -> None:
    with socket.create_connection((redis.host, redis.port), timeout=10) as connection:
        connection.sendall(b"GET key\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")


def test_another_that_answers_is_not_taken_for_the_one_that_starts(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, plan = password_of(redis), chain([redis.port], repeat(0))
    monkeypatch.setattr("secrets.token_urlsafe", lambda _: password)
    monkeypatch.setattr(
        "repocache.testing.local_machine.free_port", lambda: next(plan) or free_port()
    )
    account = Account.unprivileged()
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(account))
        assert start_redis(stack, folder, account, Layout()).port != redis.port


def test_an_error_reply_is_an_error(redis: RedisServer) -> None:
    with pytest.raises(ServerError, match="LPUSH was refused: WRONGTYPE"):
        redis.command("LPUSH", "key", 1)


def test_a_replica_follows_until_it_is_promoted(redis: RedisServer, second: RedisServer) -> None:
    second.replica_of(redis)
    assert second.command("GET", "key") == "value"
    redis.kill()
    second.promote()
    assert second.command("SET", "key", "of its own") == "OK"


def test_a_line_of_the_configuration_is_heard(second: RedisServer) -> None:
    assert second.command("CONFIG", "GET", "masterauth") != ["masterauth", ""]


def test_clearing_forgets_keys(redis: RedisServer) -> None:
    redis.clear()
    assert redis.command("DBSIZE") == 0
