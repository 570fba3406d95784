"""Servers of our own: all that was started is stopped, however far the start has come, whoever
starts them."""

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import asyncpg
import hiredis
import pytest
import sqlalchemy

from repocache.testing import Layout, ServerError, Servers, embedded_servers
from repocache.testing.binaries import TOOLS, find_postgres
from repocache.testing.folder import servers_inside
from repocache.testing.ports import free_port
from repocache.testing.process import processes


@pytest.fixture
def children() -> Iterator[None]:
    """This program has no more children at the end of the test than before it."""
    before = {pid for pid, parent in processes() if parent == os.getpid()}
    yield
    assert {pid for pid, parent in processes() if parent == os.getpid()} <= before


def failing_programs(folder: Path, tool: str, failing_for: str) -> Path:
    """PostgreSQL's programs, of which one fails where its arguments name a certain server."""
    real = find_postgres(os.environ)
    folder.mkdir()
    for name in TOOLS:
        fails = (
            f"case $* in *{failing_for}*) echo it breaks here >&2; exit 1;; esac\n"
            if name == tool
            else ""
        )
        (folder / name).write_text(f'#!/bin/sh\n{fails}exec {real / name} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    "tool, failing_for",
    [
        ("initdb", "primary"),
        ("postgres", "primary"),
        ("pg_basebackup", "replica2"),
        ("postgres", "replica2"),
    ],
)
@pytest.mark.usefixtures("children")
def test_nothing_is_left_of_a_start_that_fails_half_way(
    place: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    failing_for: str,
) -> None:
    programs = failing_programs(tmp_path_factory.mktemp("programs") / "bin", tool, failing_for)
    monkeypatch.setenv("REPOCACHE_TEST_PG_BIN", str(programs))
    # Without the last resort of the folder, which ends whatever it finds inside.
    monkeypatch.setattr("repocache.testing.folder.servers_inside", lambda _: [])
    with pytest.raises(ServerError, match="it breaks here"), embedded_servers():
        pass
    assert not list(place.iterdir())
    assert not servers_inside(place)


@pytest.mark.usefixtures("children")
def test_nothing_is_left_of_a_block_that_fails(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt), embedded_servers(Layout(replicas=1)) as servers:  # noqa: PT012
        assert servers_inside(place)
        servers.replicas[0].freeze()
        servers.redis.freeze()
        servers.primary.kill()
        raise KeyboardInterrupt
    assert not list(place.iterdir())
    assert not servers_inside(place)


def test_a_port_that_somebody_takes_is_given_up(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        taken = other.getsockname()[1]
        # Both servers choose the taken port first.
        plan = chain([taken, 0, taken], repeat(0))
        monkeypatch.setattr(
            "repocache.testing.local_machine.free_port", lambda: next(plan) or free_port()
        )
        with embedded_servers(Layout(replicas=0)) as servers:
            assert taken not in {servers.redis.port, servers.primary.port}


def test_a_port_that_others_know_is_not_given_up(repocache_controls: Servers) -> None:
    redis, primary = repocache_controls.redis, repocache_controls.primary
    redis.stop()
    primary.stop()
    for server in (redis, primary):
        with (
            socket.create_server(("127.0.0.1", server.port)),
            pytest.raises(ServerError, match="Address already in use"),
        ):
            server.start()


@pytest.mark.usefixtures("place")
def test_a_layout_is_followed() -> None:
    layout = Layout(
        replicas=1, postgres={"fsync": "on", "work_mem": "8MB"}, redis=("maxmemory 20mb",)
    )
    with embedded_servers(layout) as servers:
        (replica,) = servers.replicas
        for server in (servers.primary, replica):
            assert server.sql("SHOW fsync; SHOW work_mem") == [("on",), ("8MB",)]
        assert servers.redis.command("CONFIG", "GET", "maxmemory") == ["maxmemory", "20971520"]


def test_servers_listen_on_this_machine_alone_and_below_the_ephemeral_ports(
    repocache_servers: Servers,
) -> None:
    postgres = [repocache_servers.primary, *repocache_servers.replicas]
    assert {server.host for server in postgres} == {repocache_servers.redis.host} == {"127.0.0.1"}
    assert max(*(server.port for server in postgres), repocache_servers.redis.port) < 32768
    assert repocache_servers.primary.sql("SHOW listen_addresses") == [("127.0.0.1",)]
    assert repocache_servers.redis.command("CONFIG", "GET", "bind") == ["bind", "127.0.0.1"]


def readable_python(path: str) -> str:
    """A Python of this version that everybody can run, with the packages in the path: ours may be
    in a closed folder, and redis-py needs one more package before 3.11.3."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            subprocess.run(
                [python, "-c", "import redis.asyncio"],
                env={"PYTHONPATH": path},
                cwd="/",
                user="nobody",
                group=pwd.getpwnam("nobody").pw_gid,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("no Python that nobody can run")


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test shows it")
def test_an_ordinary_user_can_start_them(place: Path) -> None:
    place.chmod(0o777)
    packages = (asyncpg, hiredis, sqlalchemy)
    paths = {str(Path(str(package.__file__)).parents[1]) for package in packages}
    path = os.pathsep.join([str(Path(__file__).parents[2]), *paths])
    python = readable_python(path)
    done = subprocess.run(
        [python, "-c", AS_NOBODY],
        env={
            "PATH": os.defpath,
            "PYTHONPATH": path,
            "TMPDIR": str(place),
        },
        cwd="/",
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["7", "7", "PONG"], "")
    assert not list(place.iterdir())


AS_NOBODY = """
from repocache.testing import Layout, embedded_servers
with embedded_servers(Layout(replicas=1)) as servers:
    servers.primary.sql("CREATE TABLE number AS SELECT 7 AS id")
    servers.catch_up()
    for server in (servers.primary, *servers.replicas):
        print(server.sql("SELECT id FROM number")[0][0])
    print(servers.redis.command("PING"))
"""
