"""The demo as a command: it measures, it judges by its exit status, and it leaves nothing
behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from repocache.testing import Servers
from repocache.testing.given import VARIABLES
from repocache.testing.process import GONE, await_condition, processes, state

ROOT = Path(__file__).parents[2]
# The judge is given the textbook's history as if it were the library's.
BROKEN = """
import repocache.demo.run as run
from repocache.cli.commands import app
run.OURS = run.TEXTBOOK
app(["demo", "--seconds", "6", "--json"])
"""
WITHOUT = """
import repocache.cli as cli
cli.find_spec = lambda name: None
cli.main()
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@contextmanager
def running(*arguments: str, **given: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python with these arguments, killed in any case. `given`: variables that name servers."""
    ours = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    process = subprocess.Popen(
        [sys.executable, *arguments], env=ours | given,
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def demo(*arguments: str) -> tuple[str, ...]:
    return "-m", "repocache", "demo", *arguments


def descendants(pid: int) -> set[int]:
    found = {pid}
    known = list(processes())
    while more := {child for child, parent in known if parent in found} - found:
        found |= more
    return found - {pid}


def services(pid: int) -> list[int]:
    """Ids of the service processes."""
    return [child for child in descendants(pid) if "repocache.demo.worker" in command(child)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def await_services(pid: int) -> None:
    await_condition(lambda: len(services(pid)) == 4, "the services run", 60)


def await_end(pids: set[int]) -> None:
    await_condition(
        lambda: all(state(pid) in GONE for pid in pids), "all its processes are gone", 30
    )


def test_a_run_measures_both_and_finds_the_promises_kept(tmp_path: Path) -> None:
    picture = str(tmp_path / "demo.svg")
    given = ("--seconds", "6", "--seed", "7", "--picture", picture, "--json")
    with running(*demo(*given)) as process:
        out, err = process.communicate(timeout=110)
    assert (process.returncode, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    assert (document["seed"], document["airports"], document["broken"]) == (7, 28_298, [])
    assert (len(document["faults"]), document["given"]) == (6, False)
    textbook, ours = document["contestants"]
    assert [each["contestant"] for each in (textbook, ours)] == ["textbook", "repocache"]
    for each in (textbook, ours):
        assert each["reads"] == sum(each["reads_by"].values()) > 300
        assert each["writes"] > 10
        assert each["own_reads"] > each["writes"]
        assert 0 < each["read_p50"] <= each["read_p99"]
        assert sum(each["errors"].values()) < each["reads"] / 50
    assert set(textbook["reads_by"]) == {"L2", "replica1", "replica2"}
    assert (
        {"L1", "L2", "primary"}
        <= set(ours["reads_by"])
        <= {"L1", "L2", "replica1", "replica2", "primary", "unknown"}
    )
    assert (ours["own_writes_missed"], ours["outdated_reads"], ours["examples"]) == (0, 0, [])
    assert ours["guarded_reads"] > 10
    root = ElementTree.parse(picture).getroot()  # our own
    assert root.tag.endswith("svg")
    for line in document["timelines"]:
        assert sum(step["reads"] for step in line["steps"]) > 300


@pytest.mark.parametrize("name, why", [("demo.png", "ends in .svg"), ("no/demo.svg", "no folder")])
def test_a_picture_that_could_not_be_drawn_is_refused_before_the_run(name: str, why: str) -> None:
    with running(*demo("--picture", name)) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert why in err


def test_servers_that_are_given_get_no_faults_and_are_left_as_they_were(
    repocache_servers: Servers,
) -> None:
    databases = "SELECT datname FROM pg_database ORDER BY 1"
    before = repocache_servers.primary.sql(databases)
    variables = {
        "REPOCACHE_TEST_PRIMARY_URL": repocache_servers.primary.url(user="postgres"),
        "REPOCACHE_TEST_REPLICA_URLS": " ".join(
            replica.url(user="postgres") for replica in repocache_servers.replicas
        ),
        "REPOCACHE_TEST_REDIS_URL": repocache_servers.redis.url,
    }
    with running(*demo("--seconds", "6", "--json"), **variables) as process:
        await_services(process.pid)
        assert len(repocache_servers.primary.sql(databases)) == len(before) + 1
        out, err = process.communicate(timeout=110)
    assert (process.returncode, err) == (0, "")
    document = json.loads(out)
    assert (document["given"], document["broken"]) == (True, [])
    killed, replaced = document["faults"]
    assert killed.endswith("service2 is killed")
    assert replaced.endswith("service2b has taken its place")
    assert "replica1" in document["contestants"][0]["reads_by"]
    assert repocache_servers.primary.sql(databases) == before


def test_a_cache_that_breaks_the_promises_ends_the_command_with_1() -> None:
    with running("-c", BROKEN) as process:
        out, err = process.communicate(timeout=110)
    assert (process.returncode, err) == (1, "")
    document = json.loads(out)
    assert document["contestants"][1]["own_writes_missed"] > 0
    assert "missed a write of their own session" in document["broken"][0]


@pytest.fixture(params=["foreground", "background"])
def started_in(request: pytest.FixtureRequest) -> Iterator[None]:
    """A shell without job control ignores SIGINT for what it starts in the background."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(
        signal.SIGINT,
        signal.default_int_handler if request.param == "foreground" else signal.SIG_IGN,
    )
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("started_in")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_end_it_ends_everything(sent: signal.Signals) -> None:
    with running(*demo("--seconds", "60")) as process:
        await_services(process.pid)
        started = descendants(process.pid)
        os.kill(process.pid, sent)
        process.communicate(timeout=60)
        assert process.returncode == 130
        await_end(started)


def test_a_kill_of_the_command_ends_everything() -> None:
    with running(*demo("--seconds", "60")) as process:
        await_services(process.pid)
        started = descendants(process.pid)
        process.kill()
        process.wait()
        await_end(started)


def test_a_service_that_dies_by_itself_is_an_error() -> None:
    with running(*demo("--seconds", "60", "--json")) as process:
        await_services(process.pid)
        os.kill(services(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, list(json.loads(out))) == (2, ["error"])
    assert err.startswith("repocache: service")


def test_a_missing_extra_is_named() -> None:
    with running("-c", WITHOUT) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "repocache: typer, rich not found: pip install 'sqlalchemy-repocache[cli]'\n"
