from __future__ import annotations

import asyncio
import gc
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from repocache.testing import RedisServer
from repocache.testing.binaries import find_redis, place_redis
from repocache.testing.folder import RunFolder
from repocache.testing.local_machine import LocalMachine
from repocache.testing.process import Account
from repocache.testing.redis import RedisLogin
from repocache.testing.redis_folder import RedisFolder, RedisSite

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
try:
    from uvloop import new_event_loop
except ImportError:
    pass  # it does not exist everywhere
else:
    LOOPS["uvloop"] = new_event_loop
SLOW_SERVERS = ("test_identity.py", "test_sentinels.py")
PASSWORD = "pass/@:1"
StartRedis: TypeAlias = Callable[..., RedisServer]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test of this folder runs on each loop there is, but for those whose time
    is the servers'."""
    return {"asyncio": LOOPS["asyncio"]} if item.path.name in SLOW_SERVERS else LOOPS


def starting(stack: ExitStack) -> StartRedis:
    """A function that starts a server with more lines of configuration; the stack stops it."""
    account = Account.unprivileged()
    folder = stack.enter_context(RunFolder(account))
    program = place_redis(find_redis(os.environ), folder, account)

    def start(name: str = "redis", *settings: str) -> RedisServer:
        site = RedisSite(program, folder, account, PASSWORD, settings)
        machine = LocalMachine(name, RedisFolder(site, name), account)
        stack.callback(machine.kill)
        machine.start()
        return RedisServer(name, machine, RedisLogin(PASSWORD))

    return start


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with ExitStack() as stack:
        yield starting(stack)()


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """For tests that leave it as it was."""
    shared_redis.clear()
    return shared_redis


@pytest.fixture
def start_redis() -> Iterator[StartRedis]:
    with ExitStack() as stack:
        yield starting(stack)


@pytest.fixture
def own_redis(start_redis: StartRedis) -> RedisServer:
    """For tests that kill, freeze or change it."""
    return start_redis()


@pytest.fixture
async def clean_loop() -> AsyncIterator[None]:
    """Nothing may reach the loop's exception handler, and no task may be left."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cert.pem and key.pem, signed by themselves, for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("pems")
    made = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis"
    )
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *made.split(), *more], cwd=folder, check=True, capture_output=True)
    return folder
