"""`repocache outbox` as a command: what it lists, tries again and deletes, and its exit
statuses."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from repocache.cli.outbox import NoRow, Wanted, line_of, run_outbox
from repocache.invalidation.held import HeldRow
from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints, Servers
from tests.cli.test_relay import write_application
from tests.outbox.conftest import Sql, engine, left, outbox_template, sql, until_empty
from tests.shop import open_shop

__all__ = ["engine", "sql"]

ROOT = Path(__file__).parents[2]
ASIDE = (
    f"INSERT INTO {TABLE} (notices, due, tries, why) VALUES (%s, 'infinity', 10, %s) RETURNING id"
)
REFUSED = ASIDE % ("'[7]'", "'no notice'")
GOOD = ASIDE % ("""'[{"k": ["user:7"], "o": []}]'""", "'Redis: ERR'")

AGAIN = "let be tried again, see `repocache outbox`"


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return outbox_template(repocache_servers)


@pytest.fixture
def application(repocache_endpoints: Endpoints, tmp_path: Path) -> Path:
    write_application(tmp_path, repocache_endpoints)
    return tmp_path


async def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "repocache", "outbox", "shop_data:db", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_nothing_is_put_aside(application: Path, sql: Sql) -> None:
    done = await run(application)
    assert (done.returncode, done.stdout) == (0, "0 waiting, 0 put aside\n"), done.stderr


async def test_it_lists_tries_again_and_deletes(application: Path, sql: Sql) -> None:
    [(refused,)], [(good,)] = await sql(REFUSED), await sql(GOOD)
    [(waits,)] = await sql(
        f"INSERT INTO {TABLE} (source, notices) VALUES ('public.strange', '[]') RETURNING id"
    )
    since = dict(map(tuple, await sql(f"SELECT id, since\\:\\:text FROM {TABLE}")))
    done = await run(application)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        f"{refused} put aside since {since[refused]}, tries 10: no notice; [7]",
        (
            f'{good} put aside since {since[good]}, tries 10: Redis: ERR; [{{"k": ["user:7"], "o": '
            f"[]}}]"
        ),
        f"{waits} waiting since {since[waits]}, tries 0; public.strange []",
        "1 waiting, 2 put aside",
    ]
    done = await run(application, "--discard", str(refused), "--replay", str(good))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [f"{AGAIN}: {good}", f"discarded: {refused}"]


async def test_all_are_tried_again_and_delivered(
    sql: Sql, repocache_endpoints: Endpoints, application: Path
) -> None:
    ids = [id for _ in range(3) for (id,) in await sql(GOOD)]
    async with open_shop(repocache_endpoints):
        done = await run(application, "--replay", "all")
        assert done.stdout.splitlines()[0] == f"{AGAIN}: {', '.join(map(str, ids))}", done.stderr
        await until_empty(sql)


async def test_rows_that_are_not_there(sql: Sql, repocache_endpoints: Endpoints) -> None:
    [(id,)] = await sql(REFUSED)
    async with open_shop(repocache_endpoints) as shop:
        db = shop.db
    for wanted in (Wanted(["77"], []), Wanted([], ["77", str(id)])):
        assert "no row 77 in the outbox" in (await run_outbox(db, wanted)).missing
    assert await left(sql) == 0, "the other is deleted"


@pytest.mark.parametrize(
    "given", ["", "x", "7.5", "9" * 30, "9223372036854775808", "²", "--7", "all,7"]
)
async def test_what_is_no_id(given: str, repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        db = shop.db
    with pytest.raises(NoRow, match="give the id of a row"):
        await run_outbox(db, Wanted([], [given]))


async def test_as_a_document(application: Path, sql: Sql) -> None:
    [(good,)] = await sql(GOOD)
    done = await run(application, "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["waiting"], told["aside"]) == (0, 1)
    assert [(row["id"], row["is_aside"]) for row in told["rows"]] == [(good, True)]
    done = await run(application, "--json", "--discard", str(good), "--discard", "77")
    assert done.returncode == 2
    assert "no row 77" in json.loads(done.stdout)["error"]
    done = await run(application, "--json", "--replay", "all")
    assert json.loads(done.stdout)["replayed"] == []


async def test_without_an_outbox(application: Path, sql: Sql) -> None:
    await sql(f"DROP TABLE {TABLE}")
    done = await run(application)
    assert done.returncode == 2
    assert "op.create_repocache_outbox() makes one" in done.stderr


def test_a_line_moves_no_cursor() -> None:
    line = line_of(HeldRow(7, "now", 1, False, "\x1b[2J", "a\nb\x9b\u202e", "[]"))
    assert line == "7 waiting since now, tries 1: \\x1b[2J; a\\nb\\x9b\\u202e []"


async def test_a_row_may_hold_anything(application: Path, sql: Sql) -> None:
    await sql(
        f"INSERT INTO {TABLE} (id, source, notices, due, since, tries, why) OVERRIDING SYSTEM "
        f"VALUE VALUES ({-(2**63)}, repeat('s', 2000), to_jsonb(repeat('n', 9000000)), 'infinity', "
        f"'290000-01-01', {-(2**31)}, repeat(E'\\u001b', 5000000))"
    )
    done = await run(application)
    assert (done.returncode, done.stdout.count("\n")) == (1, 2), done.stderr
    assert done.stdout.startswith(f"{-(2**63)} put aside since 290000-01-01")
    assert len(done.stdout) < 2000
    done = await run(application, "--discard", str(-(2**63)))
    assert done.stdout == f"discarded: {-(2**63)}\n0 waiting, 0 put aside\n"
