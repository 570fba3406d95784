"""`repocache purges`: what edges have still to purge, listed, tried again and deleted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from repocache.cli.outbox import PURGES, NoRow, Wanted, run_outbox
from repocache.errors import ConfigurationError
from repocache.testing import Endpoints
from tests.cli.edged import write_edged
from tests.cli.test_frame import run
from tests.edges.playing import saying
from tests.purging.conftest import PlayedEdge, Sql, behind, rows_left
from tests.shop import open_shop, until

ASIDE = (
    "INSERT INTO repocache_purges (notices, due, tries, why) "
    "VALUES ('%s', 'infinity', 10, 'no notice') RETURNING id"
)
GOOD = '[{"k": ["product:7"], "o": []}]'


async def command(folder: Path, *words: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(run, folder, "purges", "shop_data:db", *words)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def application(repocache_endpoints: Endpoints, edge: PlayedEdge, tmp_path: Path) -> Path:
    write_edged(tmp_path, repocache_endpoints, edge.url)
    return tmp_path


async def test_nothing_waits(application: Path) -> None:
    assert await command(application) == (0, "0 waiting, 0 put aside\n", "")


async def test_it_lists_and_deletes(application: Path, sql: Sql) -> None:
    [(refused,)] = await sql(ASIDE % "[7]")
    status, said, error = await command(application)
    assert status == 1, error
    first, last = said.splitlines()
    assert first.startswith(f"{refused} put aside since ")
    assert "tries 10: no notice" in first
    assert last == "0 waiting, 1 put aside"
    status, said, _ = await command(application, "--discard", str(refused), "--json")
    assert status == 0
    assert json.loads(said)["discarded"] == [refused]
    assert await rows_left(sql) == 0


async def test_what_was_aside_is_purged(
    application: Path, repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql
) -> None:
    [(id,)] = await sql(ASIDE % GOOD)
    async with behind(repocache_endpoints, edge):
        status, said, _ = await command(application, "--replay", "all")
        assert status == 0
        assert said.startswith(f"let be tried again, see `repocache purges`: {id}\n")
        await until(lambda: edge.times("product:7") >= 1, "a relay has it purged")


async def test_no_such_row_is_named_by_its_table(
    repocache_endpoints: Endpoints, edge: PlayedEdge
) -> None:
    async with behind(repocache_endpoints, edge) as shop:
        db = shop.db
    found = await run_outbox(db, Wanted(["77"], []), PURGES)
    assert "no row 77 in purges" in found.missing
    with pytest.raises(NoRow, match="as `repocache purges module:db` lists it"):
        await run_outbox(db, Wanted([], ["x"]), PURGES)


async def test_what_an_edge_does_not_take_is_listed(
    application: Path, edge: PlayedEdge, sql: Sql
) -> None:
    edge.playing.always = saying(503)
    await sql(f"INSERT INTO repocache_purges (notices) VALUES ('{GOOD}')")
    status, said, _ = await command(application)
    assert (status, said.splitlines()[-1]) == (0, "1 waiting, 0 put aside")


async def test_without_edges_or_their_table(
    repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql
) -> None:
    async with open_shop(repocache_endpoints) as shop:
        with pytest.raises(ConfigurationError, match="it needs Database"):
            _ = shop.db.purges
    await sql("DROP TABLE repocache_purges")
    async with behind(repocache_endpoints, edge) as shop:
        with pytest.raises(ConfigurationError, match=r"op\.create_repocache_purges"):
            _ = shop.db.purges
