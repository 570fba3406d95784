"""Fixtures for pytest: `pytest_plugins = ["repocache.testing.plugin"]` in your top `conftest.py`.

`repocache_layout`, `repocache_tables`, `repocache_template`, `repocache_repositories` and
`repocache_settings` are there to be overridden. None is async, and none has a loop: tests of every
plugin for async tests, and those without one, may use all.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import MetaData

from repocache.database import Database
from repocache.runtime.given import Declared
from repocache.settings import Settings
from repocache.testing.copies import Copies
from repocache.testing.embedded import embedded_servers
from repocache.testing.errors import NotOurs
from repocache.testing.given import VARIABLES, are_given, given_servers
from repocache.testing.leftovers import is_open, missing_tables
from repocache.testing.templates import MakeTables, template_database
from repocache.testing.topology import Endpoints, Layout, Servers

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
def repocache_tables() -> MetaData | MakeTables | None:
    """The tables that each test finds: your metadata, or a function that makes tables and rows at a
    URL; see `template_database`. Override it."""
    return None


@pytest.fixture(scope="session")
def repocache_template(
    repocache_servers: Servers, repocache_tables: MetaData | MakeTables | None
) -> Iterator[str]:
    """The database that each test gets a copy of: with `repocache_tables`, made once a run."""
    if repocache_tables is None:
        yield "template1"
    else:
        with template_database(repocache_servers, repocache_tables) as name:
            yield name


@pytest.fixture(scope="session")
def repocache_copies(repocache_servers: Servers) -> Iterator[Copies]:
    """The databases that tests get, to be put back and used again."""
    copies = Copies(repocache_servers)
    yield copies
    copies.close()


@pytest.fixture
def repocache_endpoints(repocache_copies: Copies, repocache_template: str) -> Iterator[Endpoints]:
    """Addresses of a database as the template, on all servers already, and of an empty Redis."""
    with repocache_copies.endpoints(repocache_template) as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def repocache_repositories() -> Sequence[Declared]:
    """Those of `repocache_database`. Override it."""
    pytest.fail(
        "repocache_database has no repositories yet: in the conftest.py, override the fixture "
        "repocache_repositories, as in `return [Users]`",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def repocache_settings() -> Settings:
    """Those of `repocache_database`, which gives each test an `app` of its own."""
    return Settings()


@pytest.fixture
def repocache_database(
    repocache_endpoints: Endpoints,
    repocache_copies: Copies,
    repocache_template: str,
    repocache_repositories: Sequence[Declared],
    repocache_settings: Settings,
) -> Iterator[Database]:
    """A `Database` of this test alone on `repocache_endpoints`, not entered: `async with
    repocache_database as db:` in the test's loop, or in the lifespan of an application.

    Fails if a repository's table is not there, or if the test leaves it open.
    """
    if missing := missing_tables(
        repocache_repositories, repocache_copies.tables(repocache_template)
    ):
        pytest.fail(
            f"the tables {', '.join(missing)} are not there: in the conftest.py, override the "
            "fixture repocache_tables, as in `return Base.metadata`",
            pytrace=False,
        )
    database = Database(
        repocache_endpoints.primary,
        replicas=repocache_endpoints.replicas,
        redis=repocache_endpoints.redis,
        repositories=repocache_repositories,
        settings=replace(repocache_settings, app=f"test_{secrets.token_hex(6)}"),
    )
    yield database
    if is_open(database):
        pytest.fail(
            "the test has left its Database open, with tasks and connections: enter it by "
            "`async with repocache_database as db:`, and a TestClient by `with`",
            pytrace=False,
        )


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
