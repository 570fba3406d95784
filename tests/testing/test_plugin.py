"""The fixtures as users meet them."""

import re
from pathlib import Path

import pytest

from repocache.testing import Servers

PLUGIN = 'pytest_plugins = ["repocache.testing.plugin"]\n'
OPTIONS = (
    "-rs",
    "-p",
    "no:cacheprovider",
    "-W",
    "error",
    "-o",
    "asyncio_default_fixture_loop_scope=function",
)


@pytest.fixture
def given(repocache_servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of this run, given to another by their URLs."""
    replicas = [replica.url(user="postgres") for replica in repocache_servers.replicas]
    monkeypatch.setenv("REPOCACHE_TEST_PRIMARY_URL", repocache_servers.primary.url(user="postgres"))
    monkeypatch.setenv("REPOCACHE_TEST_REPLICA_URLS", " ".join(replicas))
    monkeypatch.setenv("REPOCACHE_TEST_REDIS_URL", repocache_servers.redis.url)
    monkeypatch.delenv("REPOCACHE_TEST_SERVERS", raising=False)


@pytest.mark.usefixtures("given")
def test_tests_that_need_controls_are_skipped_on_given_servers(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(
        """
        def test_reads(repocache_endpoints, repocache_servers):
            assert repocache_endpoints.replicas
            assert repocache_servers.redis.command("DBSIZE") == 0

        def test_kills(repocache_controls):
            repocache_controls.primary.kill()
        """
    )
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*not ours to control*"])


@pytest.mark.usefixtures("given")
def test_each_test_has_a_copy_of_the_template_to_itself(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        PLUGIN
        + """
import pytest

@pytest.fixture(scope="session")
def repocache_template(repocache_servers):
    primary = repocache_servers.primary
    primary.create_database("template_of_mine")
    primary.sql("CREATE TABLE number AS SELECT 7 AS id", "template_of_mine")
    yield "template_of_mine"
    primary.drop_database("template_of_mine")
"""
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_numbers(repocache_endpoints, repocache_servers, turn):
            database = repocache_endpoints.primary.rpartition("/")[2]
            primary, redis = repocache_servers.primary, repocache_servers.redis
            assert primary.sql("SELECT id FROM number", database) == [("7",)]
            assert redis.command("GET", "left") is None
            primary.sql("UPDATE number SET id = 8", database)
            redis.command("SET", "left", 1)
        """
    )
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=2)


def test_the_template_of_the_page_is_the_applications_own(pytester: pytest.Pytester) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [template] = [block for block in blocks if "def repocache_template" in block]
    pytester.makeconftest(f"{PLUGIN}import pytest\n\n{template}")
    pytester.makepyfile(
        """
        import asyncpg

        async def test_users(repocache_endpoints):
            connection = await asyncpg.connect(repocache_endpoints.primary.replace("+asyncpg", ""))
            assert await connection.fetchval("SELECT current_user") == "app"
            await connection.execute("INSERT INTO users VALUES (7, 'Ada')")
            await connection.execute("ALTER TABLE users ADD age int")
            assert await connection.fetchval("SELECT name FROM users") == "Ada"
            await connection.close()
        """
    )
    pytester.runpytest_inprocess(*OPTIONS, "-o", "asyncio_mode=auto").assert_outcomes(passed=1)


def test_the_layout_is_the_users_to_choose(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        PLUGIN
        + """
import pytest
from repocache.testing import Layout

@pytest.fixture(scope="session")
def repocache_layout():
    return Layout(replicas=0)
"""
    )
    pytester.makepyfile(
        """
        def test_alone(repocache_controls):
            assert repocache_controls.replicas == ()
            repocache_controls.primary.kill()

        def test_mended(repocache_endpoints, repocache_servers):
            assert repocache_endpoints.replicas == ()
        """
    )
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=2)
