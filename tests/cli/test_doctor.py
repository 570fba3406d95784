"""`repocache doctor` as a command, and that the page has every command and option as it is."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from repocache.cli.commands import COMMANDS, app
from repocache.testing import Endpoints, Servers
from tests.cli.test_frame import run
from tests.cli.test_relay import write_application
from tests.outbox.conftest import outbox_template

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
OTHERS = "".join(
    (Path(__file__).parents[2] / name).read_text()
    for name in ("README.md", "docs/outbox.md", "docs/verification.md")
)


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return outbox_template(repocache_servers)


async def test_as_a_command(repocache_endpoints: Endpoints, tmp_path: Path) -> None:
    write_application(tmp_path, repocache_endpoints)
    done = await asyncio.to_thread(run, tmp_path, "doctor", "shop_data:db", "--json")
    assert done.returncode == 0, done.stdout
    told = {each["what"]: each for each in json.loads(done.stdout)["findings"]}
    assert told["not guarded: signed bookmarks"]["severity"] == "warning"
    done = await asyncio.to_thread(run, tmp_path, "doctor", "shop_data:db", "--processes", "50")
    assert done.returncode == 1
    assert done.stdout.startswith("error: the pools are larger than the primary allows\n  seen: 50")
    done = await asyncio.to_thread(run, tmp_path, "doctor", "shop_data:db", "--checklist", "--json")
    verdicts = {each["verdict"] for each in json.loads(done.stdout)["points"]}
    assert verdicts == {"pass", "fail", "unknown"}
    assert done.returncode == 1


def test_nothing_answers(tmp_path: Path) -> None:
    nowhere = Endpoints("postgresql+asyncpg://app@127.0.0.1:1/shop", (), "redis://127.0.0.1:1")
    write_application(tmp_path, nowhere)
    done = run(tmp_path, "doctor", "shop_data:db")
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.count("does not answer") == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_the_command(name: str) -> None:
    assert f"`{name}`" in PAGE
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.help
    options = {each for one in command.params for each in one.opts if each.startswith("--")}
    assert "--json" in options
    for option in options - {"--json"}:
        assert option in PAGE + OTHERS, f"{name} {option}"


def test_the_page_has_no_other_options() -> None:
    group = get_command(app)
    known = {
        each
        for command in group.commands.values()  # type: ignore[attr-defined]
        for one in (*command.params, *group.params)
        for each in (*one.opts, *one.secondary_opts)
    }
    assert set(re.findall(r"--[a-z][a-z-]*", PAGE)) <= known
