"""Fixtures for pytest: `pytest_plugins = ["repocache.testing.plugin"]` in your top `conftest.py`.

`repocache_layout` and `repocache_template` are there to be overridden. None is async; async tests
may use all.
"""

import os
from collections.abc import Iterator

import pytest

from repocache.testing.embedded import embedded_servers
from repocache.testing.errors import NotOurs
from repocache.testing.given import VARIABLES, are_given, given_servers
from repocache.testing.topology import Endpoints, Layout, Servers, fresh_endpoints

KIND_VARIABLE = "REPOCACHE_TEST_SERVERS"
KINDS = ("embedded", "containers")


def pytest_configure(config: pytest.Config) -> None:
    """Let containers stand in where they are asked for: their plugin has a `repocache_servers` of
    its own."""
    kind = os.environ.get(KIND_VARIABLE, KINDS[0])
    if kind not in KINDS:
        raise pytest.UsageError(f"{KIND_VARIABLE}={kind} is none of {', '.join(KINDS)}")
    if kind == "containers":
        if are_given(os.environ):
            raise pytest.UsageError(
                f"{KIND_VARIABLE}=containers starts servers, and {' '.join(VARIABLES)} name some "
                "that run already: unset the one or the others"
            )
        config.pluginmanager.import_plugin("repocache.testing.containers")


@pytest.fixture(scope="session")
def repocache_layout() -> Layout:
    """What `repocache_servers` starts: two replicas, PostgreSQL without fsync."""
    return Layout()


@pytest.fixture(scope="session")
def repocache_servers(repocache_layout: Layout) -> Iterator[Servers]:
    """The servers of the whole run: those that `REPOCACHE_TEST_*_URL` name, else our own.

    Leave them as they are; a test that is to control them asks for `repocache_controls`.
    """
    if are_given(os.environ):
        yield given_servers(os.environ)
    else:
        with embedded_servers(repocache_layout) as servers:
            yield servers


@pytest.fixture(scope="session")
def repocache_template() -> str:
    """The database that each test gets a copy of: empty. Override it to make your tables once a
    run."""
    return "template1"


@pytest.fixture
def repocache_endpoints(repocache_servers: Servers, repocache_template: str) -> Iterator[Endpoints]:
    """Addresses of a fresh database, on all servers already, and of an empty Redis."""
    with fresh_endpoints(repocache_servers, repocache_template) as endpoints:
        yield endpoints


@pytest.fixture
def repocache_controls(repocache_servers: Servers) -> Iterator[Servers]:
    """The servers of the run, to be killed, frozen, paused, promoted; mended afterwards.

    Skips the test if the servers are not ours.
    """
    try:
        _ = repocache_servers.primary.pid
    except NotOurs as error:
        pytest.skip(str(error))
    yield repocache_servers
    repocache_servers.mend()
