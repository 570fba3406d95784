"""`repocache purge` as a command: edges drop the pages of tags, or all; what it refuses, and its
exit statuses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from repocache.cli.frame import CommandRefused
from repocache.cli.purge import prefixes_of, wanted_tags
from repocache.testing import Endpoints, Servers
from tests.cli.edged import write_behind_varnish, write_edged
from tests.cli.test_frame import run
from tests.cli.test_keys import database
from tests.cli.test_relay import write_application
from tests.edges.pages import browser, number, service
from tests.edges.playing import SERVICE, saying
from tests.edges.servers import SECRET, needs_varnish, varnish
from tests.purging.conftest import playing_edge
from tests.shop import shop_template

NOWHERE = Endpoints("postgresql+asyncpg://app@127.0.0.1:1/shop", (), "redis://127.0.0.1:1")
EDGE = f"fastly {SERVICE}"


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


async def purge(folder: Path, *words: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(run, folder, "purge", "shop_data:db", *words)
    return done.returncode, done.stdout, done.stderr


async def test_a_key_an_owner_and_everything(tmp_path: Path) -> None:
    """No server is asked but the edge."""
    async with playing_edge() as edge:
        write_edged(tmp_path, NOWHERE, edge.url)
        status, said, _ = await purge(tmp_path, "user:7", "order")
        assert (status, said) == (0, f"purged at {EDGE}: user:7, user:*, order\n")
        assert edge.names == {"user:7", "user:*", "order"}
        edge.playing.purged.clear()
        status, said, _ = await purge(tmp_path, "--everything", "--json")
        assert status == 0
        assert json.loads(said) == {"edges": [EDGE], "tags": ["*"]}
        assert edge.playing.purged == [["shop.*"]]


async def test_an_edge_that_does_not_take_it(tmp_path: Path) -> None:
    async with playing_edge() as edge:
        edge.playing.always = saying(401)
        write_edged(tmp_path, NOWHERE, edge.url)
        status, said, error = await purge(tmp_path, "user", "--json")
        assert status == 2
        assert json.loads(said) == {"error": f"{EDGE}: status 401"}
        assert error == f"repocache: {EDGE}: status 401\n"
    status, _, error = await purge(tmp_path, "user")
    assert status == 2
    assert f"{EDGE}: no answer" in error


@pytest.mark.parametrize(
    "words, told",
    [
        ((), "give tags, as user:7 or user, or --everything"),
        (("user", "--everything"), "give tags, as user:7 or user, or --everything"),
        (("usr:7",), "'usr:7': 'usr' is no such owner here; did you mean 'user'"),
        (("user:*",), "'user:*': give user for all pages of it"),
        (("*",), "'*' is no such owner here; see `repocache keys`"),
    ],
)
async def test_what_is_refused(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    async with playing_edge() as edge:
        write_edged(tmp_path, NOWHERE, edge.url)
        status, _, error = await purge(tmp_path, *words)
        assert status == 2
        assert told in error
        assert edge.playing.purged == []


async def test_without_edges(tmp_path: Path) -> None:
    write_application(tmp_path, NOWHERE)
    status, _, error = await purge(tmp_path, "user")
    assert status == 2
    assert "this database has no edges" in error


def test_a_class_is_all_that_pages_may_show_of_it() -> None:
    known = prefixes_of(database().owners)
    found = wanted_tags(["Authors"], known)
    assert {"author", "author-by_email", "author-posts", "tag--authors"} <= set(found)
    assert not {"post", "tag--posts"} & set(found)
    assert wanted_tags(["author"], known) == ("author",), "an owner is itself"
    assert wanted_tags(["Authors:7"], known) == ("author:7", "author:*")


def test_a_key_of_an_owner_that_is_purged_as_a_whole_is_not_named() -> None:
    known = prefixes_of(database().owners)
    assert wanted_tags(["author:7", "author", "post:1"], known) == ("post:1", "post:*", "author")


def test_a_name_that_no_owner_has_is_refused() -> None:
    with pytest.raises(CommandRefused, match="is no such owner here"):
        wanted_tags([""], prefixes_of(database().owners))


@needs_varnish
async def test_varnish_drops_the_page(tmp_path: Path) -> None:
    async with service() as pages, varnish(pages.port) as edge, browser(edge.url) as client:
        pages.put("/7", "user:7", "user", "*")
        pages.put("/many", "user:*", "user", "*")
        pages.put("/8", "user:8", "user", "*")

        async def made() -> list[int]:
            return [await number(client, path) for path in ("/7", "/many", "/8")]

        assert await made() == await made() == [1, 1, 1]
        write_behind_varnish(tmp_path, NOWHERE, edge.url, SECRET)
        assert (await purge(tmp_path, "user:7"))[0] == 0
        assert await made() == [2, 2, 1], "with what has too many keys to say each"
        assert (await purge(tmp_path, "--everything"))[0] == 0
        assert await made() == [3, 3, 2]
        write_behind_varnish(tmp_path, NOWHERE, edge.url, "another-secret-of-many")
        status, _, error = await purge(tmp_path, "user")
        assert (status, "status 403" in error) == (2, True)
        assert await made() == [3, 3, 2]


@pytest.mark.parametrize(
    "words, tag",
    [(("invalidate", "Users", "7"), "user:7"), (("clear", "Users"), "user")],
    ids=["invalidate", "clear"],
)
async def test_what_is_forgotten_is_purged_too(
    words: tuple[str, ...], tag: str, tmp_path: Path, repocache_endpoints: Endpoints
) -> None:
    async with playing_edge() as edge:
        write_edged(tmp_path, repocache_endpoints, edge.url)
        name, *rest = words
        done = await asyncio.to_thread(run, tmp_path, name, "shop_data:db", *rest)
        assert done.returncode == 0, done.stderr
        assert edge.times(tag) >= 1
