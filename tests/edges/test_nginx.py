"""nginx itself, with the configuration that is shipped, by its files and by URLs."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from repocache.edges import CACHE_GROUPS, XKEY
from repocache.edges.cache_file import FIRST, may_have
from repocache.edges.exchange import new_client
from repocache.edges.nginx import NginxFiles, NginxPurge
from repocache.errors import ConfigurationError, EdgeRefused, EdgeUnavailable
from tests.edges.pages import NAMES, Pages, browser, number, service
from tests.edges.servers import RunningEdge, needs_nginx, needs_purge_module, nginx
from tests.edges.speaking import Asked, Said, speaking
from tests.shop import until

HEAD = struct.pack("=Q", 5) + b"\0" * 300 + b"\nKEY: httplocalhost/7\n"


@dataclass
class Here:
    pages: Pages
    running: RunningEdge
    client: httpx.AsyncClient

    @property
    def edge(self) -> NginxFiles:
        return NginxFiles(str(self.running.folder / "cache"))

    @property
    def files(self) -> list[Path]:
        return [path for path in Path(self.edge.folder).rglob("*") if path.is_file()]

    async def get(self, path: str, **headers: str) -> int:
        return await number(self.client, path, **headers)

    async def kept(self, path: str, *tags: str, **headers: str) -> None:
        """A page that was asked for, and whose file is there: nginx writes it after it has
        answered."""
        self.pages.put(path, *tags, **headers)
        before = len(self.files)
        assert await self.get(path) == 1
        await until(lambda: len(self.files) > before, "the page's file is there")


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with (
        service() as pages,
        nginx(pages.port, ("# ~^/public/", "~^/public/")) as running,
        browser(running.url) as client,
    ):
        yield Here(pages, running, client)


async def purge(edge: NginxFiles | NginxPurge, *tags: str) -> None:
    async with new_client() as client:
        await edge.purge(client, [NAMES.name(tag) for tag in tags])


@needs_nginx
async def test_files_of_a_tag_are_unlinked_and_others_stay(here: Here) -> None:
    await here.kept("/7", "user:7", "user", "*")
    await here.kept("/70", "user:70", "user", "*")
    await purge(here.edge, "user:7", "user:*")
    assert [await here.get(path) for path in ("/7", "/70")] == [2, 1]
    assert len(here.files) == 2
    await purge(here.edge, "user")
    assert here.files == []
    assert [await here.get(path) for path in ("/7", "/70")] == [3, 2]


@needs_nginx
async def test_a_long_line_of_tags_is_read(here: Here) -> None:
    tags = [f"user:{n:0>80}" for n in range(80)]
    await here.kept("/7", *tags)
    await purge(here.edge, tags[-1])
    assert await here.get("/7") == 2


@needs_nginx
async def test_pages_that_vary_are_files_of_their_own(here: Here) -> None:
    headers = {"cache_control": "max-age=600", "vary": "accept-language"}
    here.pages.put("/7", "user:7", **headers)
    found = [await here.get("/7", accept_language=each) for each in ("de", "en", "de", "en")]
    assert found == [1, 2, 1, 2]
    await until(lambda: len(here.files) == 2, "the files are there")
    await purge(here.edge, "user:7")
    assert [await here.get("/7", accept_language=each) for each in ("de", "en")] == [3, 4]


@needs_nginx
@pytest.mark.parametrize(
    "headers",
    [
        {"cache_control": "private, max-age=600"},
        {"cache_control": "no-store"},
        {"cache_control": "max-age=600", "set_cookie": "a=b"},
        {},
    ],
)
async def test_what_is_not_kept(here: Here, headers: dict[str, str]) -> None:
    here.pages.headers["/7"] = {name.replace("_", "-"): each for name, each in headers.items()}
    assert [await here.get("/7"), await here.get("/7")] == [1, 2]


@needs_nginx
@pytest.mark.parametrize(
    "headers",
    [
        {"bookmark": "abc"},
        {"authorization": "Bearer a"},
        {"cookie": "a=b; repocache-fresh=1"},
        {"cookie": "session=1"},
    ],
)
async def test_who_may_not_have_it_is_passed(here: Here, headers: dict[str, str]) -> None:
    await here.kept("/7", "user:7")
    response = await here.client.get("/7", headers=headers)
    assert response.text == "/7 2"
    assert response.headers["cache-status"] == "nginx; fwd=bypass"
    assert await here.get("/7") == 1, "his is not kept for others"


@needs_nginx
async def test_cookies_do_not_count_where_that_was_said(here: Here) -> None:
    await here.kept("/public/7", "user:7")
    assert await here.get("/public/7", cookie="session=2") == 1
    assert await here.get("/public/7", cookie="session=2; repocache-fresh=1") == 2


@needs_nginx
async def test_tags_do_not_reach_the_client(here: Here) -> None:
    hidden = {"cache-tag": "a", "surrogate-key": "b", "surrogate-control": "max-age=1"}
    here.pages.put("/7", "user:7")
    here.pages.headers["/7"] = {**here.pages.headers["/7"], **hidden, "cache-groups": '"c"'}
    seen = [await here.client.get("/7") for _ in range(2)]
    assert [each.headers["cache-status"] for each in seen] == ["nginx; fwd=miss", "nginx; hit"]
    for each in seen:
        assert not {*hidden, "xkey", "cache-groups"} & {*each.headers}


@needs_purge_module
async def test_urls_are_purged_one_by_one(here: Here) -> None:
    def urls(tag: str) -> list[str]:
        return [f"/users/{tag.partition(':')[2]}", "/users"] if tag.startswith("user:") else []

    for path in ("/users/7", "/users/8", "/users", "/users/a%20b"):
        await here.kept(path, "user")
    edge = NginxPurge(f"{here.running.url}/purge", urls)
    await purge(edge, "user:7", "user:9", "user:a%20b", "order:7")
    found = [await here.get(path) for path in ("/users/7", "/users/8", "/users", "/users/a%20b")]
    assert found == [2, 1, 2, 2]


async def test_the_function_is_given_tags_and_digests_and_may_give_whole_urls() -> None:
    given: list[str] = []

    def urls(tag: str) -> list[str]:
        given.append(tag)
        return ["https://shop.example/a?b=1", "c"]

    async def answer(asked: Asked) -> Said:
        return Said(404 if asked.path == "/c" else 204)

    async with speaking(answer) as server:
        await purge(NginxPurge(server.url, urls), "user:7", "user:é")
        assert [(each.method, each.path) for each in server.asked] == [
            ("PURGE", "/a?b=1"),
            ("PURGE", "/c"),
        ]
        assert server.asked[0].headers["host"] == "shop.example"
    assert given == ["user:7", NAMES.name("user:é")]


async def test_who_may_not_purge_is_told() -> None:
    async def answer(asked: Asked) -> Said:
        return Said(403)

    async with speaking(answer) as server:
        with pytest.raises(EdgeRefused, match="403"):
            await purge(NginxPurge(server.url, lambda tag: ["/"]), "user:7")


@pytest.mark.parametrize(
    "first, had",
    [
        (HEAD + b"HTTP/1.1 200 OK\r\nxkey: a b\r\n\r\nbody", True),
        (HEAD + b"HTTP/1.1 200 OK\r\nXKey:b\r\n\r\n", True),
        (HEAD + b"HTTP/1.1 200 OK\r\nxkey: a\r\nA: b\r\nxkey: b\r\n\r\n", True),
        (HEAD + b"HTTP/1.1 200 OK\r\nxkey: bb\r\n\r\n", False),
        (HEAD + b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nxkey: b\r\n\r\n", False),
        (HEAD + b"HTTP/1.1 200 OK\r\nA: 1\r\n" + b"x" * FIRST, True),
        (HEAD, False),
        (b"another file\r\nxkey: b\r\n\r\n", False),
        (b"", False),
    ],
)
def test_a_file_s_tags(first: bytes, had: bool) -> None:
    assert may_have(first[:FIRST], XKEY, {"b"}) == had


def test_a_file_s_groups() -> None:
    first = HEAD + b'HTTP/1.1 200 OK\r\nCache-Groups: "shop.a", "shop.b"\r\n\r\n'
    assert may_have(first, CACHE_GROUPS, {"shop.b"})
    assert not may_have(first, CACHE_GROUPS, {"shop"})


def page(folder: Path, number: int, tag: str) -> Path:
    path = folder / f"{number:032x}"
    path.write_bytes(HEAD + f"HTTP/1.1 200 OK\r\nxkey: {NAMES.name(tag)}\r\n\r\n".encode())
    return path


async def test_files_that_are_no_pages_are_left_alone(tmp_path: Path) -> None:
    below = tmp_path / "a" / "0b"
    below.mkdir(parents=True)
    mine = page(below, 1, "user:7")
    written = mine.with_name(f"{mine.name}.0000000001")
    written.write_bytes(mine.read_bytes())
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    other = page(outside, 2, "user:7")
    (tmp_path / "link").symlink_to(outside)
    await purge(NginxFiles(str(tmp_path)), "user:7")
    assert not mine.exists()
    assert written.exists()
    assert other.exists()


async def test_files_may_vanish_meanwhile(tmp_path: Path) -> None:
    """nginx drops them for room. A link that leads nowhere is as one that is gone when it is
    opened."""
    for n in range(0, 6, 2):
        (tmp_path / f"{n:032x}").symlink_to("nowhere")
    kept = [page(tmp_path, n, "user:7") for n in range(1, 6, 2)]
    await purge(NginxFiles(str(tmp_path)), "user:7")
    assert [path for path in kept if path.exists()] == []


def held(fifo: Path) -> int | None:
    """A way to write to who is opening it to read: he waits. None: nobody is."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


async def test_a_look_that_nobody_waits_for_ends_at_the_next_file(tmp_path: Path) -> None:
    fifos = [tmp_path / f"{n:032x}" for n in range(2)]
    for fifo in fifos:
        os.mkfifo(fifo)
    looking = asyncio.create_task(purge(NginxFiles(str(tmp_path)), "user:7"))
    ways: list[int] = []

    def is_read() -> bool:
        ways.extend(way for fifo in fifos if (way := held(fifo)) is not None)
        return bool(ways)

    await until(is_read, "one of them is read")
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    os.close(ways.pop())
    assert ways == []
    await asyncio.sleep(0.2)
    try:
        assert not is_read(), "it did not go on to the other"
    finally:
        for way in ways:
            os.close(way)


async def test_a_folder_that_is_not_there_makes_the_edge_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EdgeUnavailable, match="FileNotFoundError"):
        await purge(NginxFiles(str(tmp_path / "none")), "user:7")


@pytest.mark.parametrize("folder", ["", "cache", None, b"/cache"])
def test_a_folder_that_is_none_is_refused(folder: str) -> None:
    with pytest.raises(ConfigurationError, match="NginxFiles"):
        NginxFiles(folder)
    with pytest.raises(ConfigurationError, match="a function of a tag"):
        NginxPurge("http://nginx", folder)  # type: ignore[arg-type]
