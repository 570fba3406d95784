"""The first example: which statements its reads take, and that they are right after each write."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.conduit.app import make_app
from examples.conduit.repositories import REPOSITORIES, Users
from repocache import Repository
from repocache.testing import Endpoints, Servers
from tests.examples.conduit import ADA, BOB, NOT_YET, READS, make_conduit
from tests.examples.service import Service, paused_replicas, plain, serving, truth
from tests.shop import template, until

PATHS = READS | NOT_YET
TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "conduit_template", make_conduit)


@pytest.fixture
async def service(repocache_endpoints: Endpoints) -> AsyncIterator[Service]:
    async with serving(repocache_endpoints, REPOSITORIES, make_app) as service:
        yield service


@pytest.fixture
async def other(repocache_endpoints: Endpoints, service: Service) -> AsyncIterator[Service]:
    """Another process of the same application."""
    async with serving(repocache_endpoints, REPOSITORIES, make_app) as other:
        yield other


@pytest.fixture
async def oracle(repocache_endpoints: Endpoints) -> AsyncIterator[Service]:
    async with serving(plain(repocache_endpoints), REPOSITORIES, make_app) as oracle:
        yield oracle


async def empty_caches(service: Service) -> None:
    """As if every row had been written."""
    owners: tuple[type[Repository[Any, Any]], ...] = REPOSITORIES
    async with service.db.unit_of_work() as work:
        for each in owners:
            work.changes(each)
        await work.commit()


async def test_twelve_reads_take_no_statement_when_warm(service: Service, other: Service) -> None:
    """The tutorial has what is counted here."""
    assert len(READS) == 12
    empty: dict[str, int] = {}
    for name, path in READS.items():
        await empty_caches(service)
        empty |= await service.statements({name: path})
    await service.warm(READS)
    warm = await service.statements(READS)
    assert warm == dict.fromkeys(READS, 0)
    assert await other.statements(READS) == warm, "what the one has read the other has in Redis"
    rows = re.findall(
        r"^\| (.+): `GET .+` \| (\d+) \| (\d+) \|$", TUTORIAL.read_text(), re.MULTILINE
    )
    assert [(name, int(cold), int(hot)) for name, cold, hot in rows] == [
        (name, empty[name], warm[name]) for name in READS
    ]


@dataclass(frozen=True)
class Write:
    """`changes`: the reads that answer otherwise afterwards."""

    method: str
    path: str
    changes: set[str]
    body: Any = None
    token: str = ADA


def written(title: str, tags: str) -> Any:
    return {"article": {"title": title, "description": "d", "body": "b", "tagList": tags.split()}}


ONE = {"article", "article, signed in"}
LISTED = {"articles", "by tag", "feed"}
"""Where Bob's article is."""

WRITES = {
    "another bio": Write(
        "PUT",
        "/user",
        {"current user", "articles", "by tag", "by author", "comments"},
        {"user": {"bio": "first"}},
    ),
    "follow": Write("POST", "/profiles/cyd/follow", {"articles", "favourited by", "feed"}),
    "unfollow": Write(
        "DELETE",
        "/profiles/bob/follow",
        {"profile, signed in", "article, signed in", "comments", *LISTED},
    ),
    "follow again": Write(
        "POST",
        "/profiles/bob/follow",
        {"profile, signed in", "article, signed in", "comments", *LISTED},
    ),
    "a favourite": Write("POST", "/articles/first/favorite", {*ONE, *LISTED, "favourited by"}),
    "no favourite": Write(
        "DELETE", "/articles/third/favorite", {"articles", "feed", "favourited by"}
    ),
    "a comment": Write(
        "POST", "/articles/first/comments", {"comments"}, {"comment": {"body": "new"}}
    ),
    "a comment goes": Write("DELETE", "/articles/first/comments/2", {"comments"}),
    "an article": Write(
        "POST",
        "/articles",
        {"articles", "by tag", "by author", "tags", "Ada's next"},
        written("Fourth", "x z"),
    ),
    "an article of whom she follows": Write(
        "POST", "/articles", {*LISTED}, written("Fifth!", "x z"), BOB
    ),
    "another text": Write(
        "PUT",
        "/articles/first",
        {*ONE, *LISTED, "favourited by"},
        {"article": {"body": "new"}},
        BOB,
    ),
    "an article goes": Write("DELETE", "/articles/fifth", {*LISTED}, token=BOB),
    "another title": Write(
        "PUT",
        "/articles/first",
        {*ONE, *LISTED, "favourited by", "comments", "Bob's other"},
        {"article": {"title": "Other"}},
        BOB,
    ),
    "another name": Write(
        "PUT",
        "/user",
        {
            *{"current user", "articles", "by tag", "by author", "favourited by"},
            *{"Ada's next", "Lovelace"},
        },
        {"user": {"username": "lovelace"}},
    ),
}
"""One after the other."""


@pytest.mark.parametrize("paused", [False, True], ids=["replicas as they are", "paused"])
async def test_reads_are_right_after_each_write(
    paused: bool, service: Service, other: Service, oracle: Service, repocache_controls: Servers
) -> None:
    """In the session that wrote, in both processes; each write's session is a new one."""
    before = await truth(oracle, PATHS)
    for name, write in WRITES.items():
        service.bookmark = other.bookmark = None
        assert await service.warm(PATHS) == await other.warm(PATHS) == before, name
        with paused_replicas(repocache_controls) if paused else nullcontext():
            path = f"/api{write.path}"
            status, _ = await service.ask(write.method, path, write.token, json=write.body)
            assert status in (200, 201, 204), name
            after = await truth(oracle, PATHS)
            assert {read for read in PATHS if after[read] != before[read]} == write.changes, name
            other.bookmark = service.bookmark
            assert await service.all(PATHS) == after, name
            assert await other.all(PATHS) == after, name
        if not paused:
            await service.warm(PATHS)  # in this session too
        before = after


async def test_lists_have_pages_and_filters(service: Service) -> None:
    for number in range(4, 9):
        await service.ask("POST", "/api/articles", ADA, json=written(f"N {number}", "n"))
    service.bookmark = None

    async def slugs(query: str, token: str | None = None) -> list[str]:
        _, body = await service.ask("GET", f"/api/articles{query}", token)
        return [each["slug"] for each in body["articles"]]

    async def eight() -> bool:
        return len(await slugs("")) == 8

    await until(eight, "the replicas have them")
    assert await slugs("?limit=3") == ["n-8", "n-7", "n-6"]
    assert await slugs("?offset=6") == ["second", "first"]
    assert await slugs("?tag=n&author=ada&limit=1&offset=1") == ["n-7"]
    assert await slugs("?author=ada&favorited=cyd") == []
    assert await slugs("?tag=nothing") == await slugs("?author=nobody") == []
    assert await slugs("/feed?limit=1", ADA) == ["first"]


async def test_somebody_new(service: Service) -> None:
    eve = {"username": "eve", "email": "eve@x.org", "password": "a secret"}
    status, body = await service.ask("POST", "/api/users", json={"user": eve})
    assert (status, body["user"]["username"]) == (201, "eve")
    status, body = await service.ask("POST", "/api/users/login", json={"user": eve})
    token = body["user"]["token"]
    assert (await service.ask("GET", "/api/user", token))[1]["user"]["email"] == "eve@x.org"
    changed = {"password": "another", "image": "https://x.org/eve.png"}
    await service.ask("PUT", "/api/user", token, json={"user": changed})
    assert (await service.ask("POST", "/api/users/login", json={"user": eve}))[0] == 401
    right = {"user": {**eve, "password": "another"}}
    assert (await service.ask("POST", "/api/users/login", json=right))[0] == 200


REFUSED = [
    ("GET", "/user", None, None, 401),
    ("GET", "/user", "forged", None, 401),
    ("GET", "/profiles/nobody", None, None, 404),
    ("GET", "/articles/nothing", None, None, 404),
    ("GET", "/articles?limit=0", None, None, 422),
    ("GET", "/articles/feed?offset=-1", ADA, None, 422),
    ("POST", "/articles", ADA, {"article": {"title": "no body"}}, 422),
    ("POST", "/articles", ADA, written("First", ""), 422),
    ("POST", "/users", None, {"user": {"username": "ada", "email": "", "password": ""}}, 422),
    ("PUT", "/user", ADA, {"user": {"username": "bob"}}, 422),
    ("PUT", "/articles/first", ADA, {"article": {"body": "mine"}}, 403),
    ("DELETE", "/articles/first", ADA, None, 403),
    ("DELETE", "/articles/first/comments/1", ADA, None, 403),
]


async def test_what_is_refused_changes_nothing(service: Service, oracle: Service) -> None:
    before = await truth(oracle, READS)
    for method, path, token, body, expected in REFUSED:
        status, _ = await service.ask(method, f"/api{path}", token, json=body)
        assert status == expected, (method, path)
    assert await truth(oracle, READS) == before


async def test_a_password_s_hash_is_in_no_cache(service: Service) -> None:
    eve = {"username": "eve", "email": "eve@x.org", "password": "a secret"}
    _, body = await service.ask("POST", "/api/users", json={"user": eve})
    await service.warm({"eve": ("/api/user", body["user"]["token"])})
    user = await service.db[Users].by_username.require("eve")
    assert "password_hash" not in vars(user)
