"""The path of containers, up to Docker itself, for which a stand-in runs the same scripts on this
machine."""

from pathlib import Path

import pytest

from repocache.testing.given import VARIABLES

OPTIONS = (
    "-p",
    "no:cacheprovider",
    "-W",
    "error",
    "-o",
    "asyncio_default_fixture_loop_scope=function",
)
PLUGIN = 'pytest_plugins = ["repocache.testing.plugin"]\n'


def test_servers_in_containers_have_the_same_controls(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REPOCACHE_TEST_SERVERS", "containers")
    pytester.syspathinsert(Path(__file__).parent / "stand_in")
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(
        """
        import pytest
        from repocache.testing import ServerError
        from repocache.testing.containers import ContainerMachine

        def test_replicates(repocache_endpoints, repocache_servers):
            assert len(repocache_endpoints.replicas) == 2
            assert repocache_servers.redis.command("PING") == "PONG"

        def test_fails_over(repocache_controls):
            primary, (first, second), redis = (
                repocache_controls.primary, repocache_controls.replicas, repocache_controls.redis
            )
            redis.command("SET", "key", "value")
            redis.snapshot()
            redis.kill()
            redis.start()
            assert redis.command("GET", "key") == "value"
            second.freeze()
            second.thaw()
            primary.kill()
            with pytest.raises(ServerError, match="does not run"):
                primary.pid
            first.promote()
            second.restart()
            second.follow(first)
            repocache_controls.rebuild(primary, first)

        def test_is_mended(repocache_servers):
            servers = [repocache_servers.primary, *repocache_servers.replicas]
            assert [server.in_recovery for server in servers] == [False, True, True]

        def test_tells_why_a_container_has_ended(repocache_servers):
            machine = ContainerMachine("broken", "postgres:18", "secret")
            with pytest.raises(ServerError, match="broken has ended:\\nno such luck"):
                machine.make("echo no such luck; exit 1",
                    lambda: repocache_servers.redis.command("NO"))
            machine.remove()
        """
    )
    pytester.runpytest_inprocess(*OPTIONS, "--durations=8").assert_outcomes(passed=4)


def test_another_word_is_refused(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOCACHE_TEST_SERVERS", "podman")
    pytester.makeconftest(PLUGIN)
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.stderr.fnmatch_lines(["*REPOCACHE_TEST_SERVERS=podman is none of embedded, containers*"])


def test_containers_are_refused_beside_servers_that_are_given(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOCACHE_TEST_SERVERS", "containers")
    monkeypatch.setenv("REPOCACHE_TEST_REPLICA_URLS", "postgresql://app@localhost/app")
    pytester.makeconftest(PLUGIN)
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.stderr.fnmatch_lines(["*REPOCACHE_TEST_SERVERS=containers starts servers, and *"])
