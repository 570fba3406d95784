"""A user's project, as docs/testing.md shows it: models, application, conftest and tests."""

import re
from pathlib import Path

import pytest

from repocache.testing import Servers

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
FILE = re.compile(r"^<!-- file: ([\w.]+) -->\n+```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(FILE.findall(PAGE.read_text()))
PLUGIN = 'pytest_plugins = ["repocache.testing.plugin"]\n'
OPTIONS = (
    *("-p", "no:cacheprovider", "-W", "error"),
    # Starlette's TestClient would rather have httpx's successor.
    *("-W", "ignore:Using `httpx`"),
    *("-o", "asyncio_default_fixture_loop_scope=function"),
)

NO_LIFESPAN = """
from fastapi.testclient import TestClient
from shop import make_app

def test_it(repocache_database):
    TestClient(make_app(repocache_database)).get("/users/7")
"""


@pytest.fixture
def given(repocache_servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of this run, given to others by their URLs, with their superuser."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "REPOCACHE_TEST_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    primary = repocache_servers.primary
    superuser = primary.url("postgresql", user="postgres").removeprefix("postgresql://")
    monkeypatch.setenv("REPOCACHE_TEST_SUPERUSER", superuser.partition("@")[0])
    monkeypatch.setenv("REPOCACHE_TEST_PRIMARY_URL", primary.url())
    monkeypatch.setenv(
        "REPOCACHE_TEST_REPLICA_URLS", " ".join(each.url() for each in repocache_servers.replicas)
    )
    monkeypatch.setenv("REPOCACHE_TEST_REDIS_URL", repocache_servers.redis.url)


def make_project(pytester: pytest.Pytester, *names: str) -> None:
    for name in ("shop.py", "conftest.py", "pytest.ini", *names):
        (pytester.path / name).write_text(FILES[name])


def databases(servers: Servers) -> set[str]:
    rows = servers.primary.sql("SELECT datname FROM pg_database", "postgres")
    return {name for (name,) in rows}


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_the_project_of_the_page(
    pytester: pytest.Pytester, repocache_servers: Servers, options: tuple[str, ...]
) -> None:
    before = databases(repocache_servers)
    make_project(pytester, "test_shop.py", "test_memory.py")
    pytester.runpytest_subprocess(*OPTIONS, *options).assert_outcomes(passed=7)
    assert databases(repocache_servers) == before


@pytest.mark.usefixtures("given")
def test_anyio_s_plugin(pytester: pytest.Pytester) -> None:
    make_project(pytester, "test_anyio.py")
    result = pytester.runpytest_subprocess(*OPTIONS, "-o", "asyncio_mode=strict")
    result.assert_outcomes(passed=1)


def test_processes_of_xdist_start_servers_of_their_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    make_project(pytester)
    pytester.makepyfile(
        test_ports="""
        import pytest
        from pathlib import Path

        @pytest.mark.parametrize("number", range(2))
        def test_ports(repocache_database, repocache_servers, worker_id, number):
            Path(f"port_of_{worker_id}").write_text(str(repocache_servers.primary.port))
        """
    )
    layout = "\n@pytest.fixture(scope='session')\ndef repocache_layout():\n    return Layout(0)\n"
    conftest = pytester.path / "conftest.py"
    conftest.write_text(f"from repocache.testing import Layout\n{conftest.read_text()}{layout}")
    result = pytester.runpytest_subprocess(*OPTIONS, "-n", "2", "--dist", "loadscope")
    result.assert_outcomes(passed=2)


@pytest.mark.usefixtures("given")
def test_processes_of_xdist_share_given_servers(pytester: pytest.Pytester) -> None:
    make_project(pytester)
    pytester.makepyfile(
        test_shares="""
        import pytest

        def test_databases(repocache_database, repocache_endpoints, repocache_servers, worker_id):
            number = int(worker_id.removeprefix("gw"))
            assert repocache_endpoints.redis.endswith(f"/{number}")
            repocache_servers.redis.command("SET", "mine", worker_id)
            assert repocache_servers.redis.command("DBSIZE") == 1
        """
    )
    result = pytester.runpytest_subprocess(*OPTIONS, "-n", "2", "--dist", "each")
    result.assert_outcomes(passed=2)


@pytest.mark.usefixtures("given")
def test_a_redis_without_a_database_for_a_process_says_so(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw99")
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("def test_it(repocache_servers): ...")
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*gw99 of pytest-xdist has its database 99*run fewer processes*"])


@pytest.mark.usefixtures("given")
def test_an_application_that_is_a_global_gets_the_database_by_its_lifespan(
    pytester: pytest.Pytester,
) -> None:
    [fixture] = [
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "def client(" in block
    ]
    make_project(pytester)
    application = pytester.path / "shop.py"
    application.write_text(
        application.read_text().replace("    app.add_middleware(CausalMiddleware, db=db)\n", "")
        + "\napp = make_app(Database('postgresql://app@nowhere/shop', repositories=[Users]))\n"
    )
    pytester.makepyfile(
        test_global=f"""
import pytest
from fastapi.testclient import TestClient
from repocache.fastapi import lifespan
from shop import app

{fixture}

@pytest.mark.parametrize("turn", [1, 2])
def test_over_http(client, turn):
    assert client.post("/users", params={{"name": "Ada"}}).json() == 1
"""
    )
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=2)


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    "conftest, test, told",
    [
        (
            PLUGIN,
            "def test_it(repocache_database): ...",
            "*override the fixture repocache_repositories, as in*Users*",
        ),
        (
            FILES["conftest.py"].replace("Base.metadata", "None"),
            "def test_it(repocache_database): ...",
            "*the tables users are not there*override the fixture repocache_tables*",
        ),
        (
            FILES["conftest.py"],
            "async def test_it(repocache_database): await repocache_database.__aenter__()",
            "*the test has left its Database open*async with repocache_database*",
        ),
        (
            FILES["conftest.py"],
            NO_LIFESPAN,
            "*NotStarted: *",
        ),
    ],
    ids=["no repositories", "no tables", "left open", "no lifespan"],
)
def test_what_was_forgotten_is_told(
    pytester: pytest.Pytester, conftest: str, test: str, told: str
) -> None:
    make_project(pytester)
    (pytester.path / "conftest.py").write_text(conftest)
    pytester.makepyfile(test_forgotten=test)
    # What is left open is not what this test is about.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines([told])
    assert result.ret != 0
