"""The page: who is let in, what it shows, and that texts stay texts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from prometheus_client import make_asgi_app
from starlette.applications import Starlette
from starlette.routing import Mount

from repocache import CacheMode, ConfigurationError, Database, LoggingObserver, Settings
from repocache.events import Event, Observer, Observers, ignore
from repocache.http import Scope, StatusPage
from repocache.http.status_page.markup import escaped, seconds, size
from repocache.http.status_page.page import seconds_of
from repocache.observers import LiveFigures
from repocache.testing import Endpoints
from tests.edges.playing import SERVICE
from tests.observers.status_pages import HOSTILE, looking, page_of, tell_hostile, visited
from tests.observers.watched import watched
from tests.purging.conftest import playing_edge
from tests.shop import Users, in_rotation, until

VOID = {"meta", "link", "br", "img", "input"}


class Tree(HTMLParser):
    """Elements in their order, with what they are in."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes, _ in self.found if each == tag]


async def test_it_shows_how_things_stand(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here, looking(page_of(here)) as client:
        found: dict[str, Any] = (await client.get("/?format=json")).json()
        assert {each["name"] for each in found["nodes"]} == {each.name for each in here.db.nodes}
        assert all(each["out"] == "" for each in found["nodes"])
        [user] = [each for each in found["owners"] if each["owner"] == "user"]
        assert (user["pattern"], user["mode"]) == ("cache-aside", "shared")
        assert user["reads"]["l1"] >= 100
        assert user["reads"]["database"] >= 1
        assert found["channel"]["up"] is True
        assert found["channel"]["publication"] > 0
        assert found["outbox"]["aside"] == 0
        assert found["outbox"]["waiting"] <= 1
        assert [each["owner"] for each in found["backlog"]] == ["pageview"]
        assert found["invalidations"][0]["owners"] == ["user"]
        assert found["invalidations"][0]["keys"] == []
        assert found["verdicts"]["wrong"] == 0
        assert found["redis"]["memory"] > 100_000
        assert found["max_lag"] == 5.0
        page = (await client.get("/")).text
        for text in (
            "in the rotation, lag",
            "cache-aside",
            "shared",
            "Joined another",
            "this process",
            "Outbox",
        ):
            assert text in page
        assert "user:7" not in page
        assert "user:7" not in str(found)


async def test_edges_and_what_they_have_still_to_purge(repocache_endpoints: Endpoints) -> None:
    async with (
        playing_edge() as edge,
        watched(repocache_endpoints, edges=edge.edges) as here,
        looking(page_of(here)) as client,
    ):
        await in_rotation(here)
        await here.db.measure()
        [row] = (await client.get("/?format=json")).json()["edges"]
        assert (row["edge"], row["purged"], row["at"]) == (f"fastly {SERVICE}", 0, None)
        await here.rename(7, "Ada")
        await until(lambda: edge.times("user:7") >= 1, "it is purged")
        await until(lambda: bool(here.figures.purged), "and told")
        await here.db.measure()
        found = (await client.get("/?format=json")).json()
        [row] = found["edges"]
        assert row["purged"] >= 2
        assert row["at"] > 1_700_000_000
        assert row["seconds"] is not None
        assert row["failures"] == 0
        assert found["purges"]["waiting"] == 1
        page = (await client.get("/")).text
    assert "Caches in front of the service" in page
    assert " tags purged, " in page, "in the map too"
    assert "Edges: there are none" not in page


async def test_a_database_without_redis(repocache_endpoints: Endpoints) -> None:
    async with (
        watched(replace(repocache_endpoints, redis="", replicas=())) as here,
        looking(page_of(here)) as client,
    ):
        await here.db.measure()
        page = (await client.get("/")).text
        found = (await client.get("/?format=json")).json()
    assert "no Redis: the process caches for itself alone" in page
    assert "every miss goes to the primary" in page
    assert (found["channel"], found["redis"]) == (None, None)
    assert (found["edges"], found["purges"]) == ([], None)
    assert "Edges: there are none" in page


async def test_who_switched_for_all(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here, looking(page_of(here)) as client:
        await here.db.switch_everywhere(Users, CacheMode.OFF, seconds=60, by=HOSTILE)
        page = (await client.get("/")).text
        [user] = [
            each
            for each in (await client.get("/?format=json")).json()["owners"]
            if each["owner"] == "user"
        ]
    assert (user["mode"], user["switch"]["by"]) == ("off", HOSTILE)
    assert "off, by &lt;script&gt;" in page


async def test_keys_are_shown_if_the_application_says_so(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here:
        async with looking(page_of(here, show_keys=True)) as client:
            page = (await client.get("/")).text
        assert "user:7" in page


async def test_hit_rates_since_the_last_look(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here, looking(page_of(here)) as client:
        first = (await client.get("/?format=json")).json()
        assert {each["lately"] for each in first["owners"]} == {None}
        for _ in range(4):
            await here.db[Users].get(3)
        await here.db.measure()
        second = (await client.get("/?format=json")).json()
        [user] = [each for each in second["owners"] if each["owner"] == "user"]
        assert user["lately"] == 1.0


@pytest.mark.parametrize("show_keys", [False, True])
async def test_hostile_texts_stay_texts(repocache_endpoints: Endpoints, *, show_keys: bool) -> None:
    async with visited(repocache_endpoints) as here:
        tell_hostile(here)
        page = StatusPage(
            here.db, here.figures, allow=lambda _: True, show_keys=show_keys, title=HOSTILE
        )
        async with looking(page) as client:
            answer = await client.get("/", params={"refresh": HOSTILE})
    assert answer.status_code == 200
    tree = Tree(answer.text)
    assert tree.all("script") + tree.all("img") == []
    assert not [name for _, each, _ in tree.found for name in each if name.startswith("on")]
    assert "\x00" not in answer.text
    assert "<script>alert(1)</script>" in "".join(tree.texts)


async def test_it_is_closed_to_others(repocache_endpoints: Endpoints) -> None:
    def operator(scope: Scope) -> bool:
        return (b"x-operator", b"yes") in scope["headers"]

    async with visited(repocache_endpoints) as here:
        page = StatusPage(here.db, here.figures, allow=operator)
        async with looking(page) as client:
            for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/?format=json")):
                answer = await client.request(method, path)
                assert (answer.status_code, answer.text) == (404, "Not Found")
        async with looking(page, **{"x-operator": "yes"}) as client:
            assert (await client.get("/")).status_code == 200
            assert (await client.get("/elsewhere")).status_code == 404
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                answer = await client.request(method, "/")
                assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("given", [1, "yes", object(), None, [True]])
async def test_only_true_lets_in(repocache_endpoints: Endpoints, given: Any) -> None:
    async with visited(repocache_endpoints) as here:
        page = StatusPage(here.db, here.figures, allow=lambda _: given)
        async with looking(page) as client:
            assert (await client.get("/")).status_code == 404


async def coroutine(_: Scope) -> bool:
    return False


class Asynchronous:
    async def __call__(self, _: Scope) -> bool:
        return False


@pytest.mark.parametrize("given", [None, True, "operators", coroutine, Asynchronous()])
def test_without_who_may_see_it_there_is_none(given: Any) -> None:
    db = Database("postgresql+asyncpg://app@nowhere/shop", repositories=[Users])
    with pytest.raises(ConfigurationError, match="returns True for those who may see the page"):
        StatusPage(db, LiveFigures(), allow=given)
    with pytest.raises(TypeError, match="allow"):
        StatusPage(db, LiveFigures())  # type: ignore[call-arg]


def test_what_is_no_database_and_what_are_no_figures() -> None:
    db: Any = Database("postgresql+asyncpg://app@nowhere/shop", repositories=[Users])
    wrong: Any = object()
    with pytest.raises(ConfigurationError, match="LiveFigures"):
        StatusPage(db, wrong, allow=lambda _: True)
    with pytest.raises(ConfigurationError, match="Database"):
        StatusPage(wrong, LiveFigures(), allow=lambda _: True)


def database_with(observe: Observer) -> Database:
    settings = Settings(observe=observe)
    url = "postgresql+asyncpg://app@nowhere/shop"
    return Database(url, repositories=[Users], settings=settings)


def test_figures_that_hear_nothing_of_the_database_are_refused() -> None:
    figures = LiveFigures()

    class Own:
        """What the application has written may hand events on to anybody."""

        def __call__(self, event: Event) -> None:
            figures(event)

    deaf: list[Observer] = [LoggingObserver(), Observers([LiveFigures()]), ignore]
    for observe in deaf:
        with pytest.raises(ConfigurationError, match="hear nothing of this database"):
            StatusPage(database_with(observe), figures, allow=lambda _: True)
    hearing: list[Observer] = [figures, Observers([Observers([figures])]), Own(), lambda _: None]
    for observe in hearing:
        StatusPage(database_with(observe), figures, allow=lambda _: True)


async def test_a_database_that_has_not_begun() -> None:
    figures = LiveFigures()
    page = StatusPage(database_with(figures), figures, allow=lambda _: True)
    async with looking(page) as client:
        answer = await client.get("/")
    assert answer.status_code == 503
    assert "async with" in answer.text


async def test_headers(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here, looking(page_of(here)) as client:
        page, head = await client.get("/"), await client.head("/")
        json = await client.get("/", headers={"accept": "application/json"})
        browser = await client.get("/", headers={"accept": "text/html,application/json;q=0.9"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert browser.headers["content-type"] == page.headers["content-type"]
    assert json.headers["content-type"] == "application/json"
    assert head.text == ""
    for answer in (page, head, json):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["vary"] == "accept"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


async def test_it_can_be_mounted(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here:
        routes = [Mount("/inside/status", page_of(here)), Mount("/metrics", make_asgi_app())]
        async with looking(Starlette(routes=routes)) as client:
            assert (await client.get("/inside/status/")).status_code == 200
            assert (await client.get("/inside/status/more")).status_code == 404


async def test_who_listens_and_who_needs_no_eyes(repocache_endpoints: Endpoints) -> None:
    """What a screen reader and a keyboard need of the markup."""
    async with visited(repocache_endpoints) as here:
        tell_hostile(here)
        async with looking(page_of(here, show_keys=True)) as client:
            page = (await client.get("/")).text
    tree = Tree(page)
    assert tree.all("html") == [{"lang": "en"}]
    assert len(tree.all("h1")) == len(tree.all("main")) == 1
    tables = len(tree.all("table"))
    assert tables >= 8
    assert len(tree.all("caption")) == tables
    assert {each.get("scope") for each in tree.all("th")} == {"row", "col"}
    around = [each for tag, each, inside in tree.found if tag == "div" and "wide" in str(each)]
    assert len(around) == tables + 1, "and the map"
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in around)
    ids = [each["id"] for _, each, _ in tree.found if "id" in each]
    assert len(set(ids)) == len(ids)
    links = [str(each["href"]) for each in tree.all("a")]
    assert links[0] == "#main"
    assert {each.removeprefix("#") for each in links if each.startswith("#")} <= set(ids)
    assert not [each for _, each, _ in tree.found if {"src", "srcset", "data"} & each.keys()]
    named = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(", named), "nothing comes from elsewhere"
    assert not [each for _, each, _ in tree.found if "style" in each]
    for heads in re.findall(r"<thead>(.*?)</thead>", page):
        assert "></th>" not in heads, "each column has a name"


async def test_it_loads_itself_for_those_who_ask(repocache_endpoints: Endpoints) -> None:
    async with visited(repocache_endpoints) as here, looking(page_of(here)) as client:
        assert "http-equiv" not in (await client.get("/")).text
        again = (await client.get("/?refresh=10")).text
    assert '<meta http-equiv="refresh" content="10">' in again
    assert '<a href="?">stop</a>' in again


@pytest.mark.parametrize(
    "text, expected",
    [
        ("10", 10),
        ("0", 0),
        ("1", 2),
        ("999999", 3_600),
        ("-5", 0),
        ("x", 0),
        ("٣", 0),
        ("9" * 99, 0),
    ],
)
def test_seconds_to_the_next_look(text: str, expected: int) -> None:
    assert seconds_of(text) == expected


def test_figures_as_people_read_them() -> None:
    assert (seconds(0.0123), seconds(7), seconds(600), seconds(None)) == (
        "12.3 ms", "7.0 s", "10 min", "–",  # noqa: RUF001  # a dash
    )  # fmt: skip
    assert (size(5), size(2048), size(3 * 1024**3)) == ("5 B", "2.0 KiB", "3.0 GiB")
    assert len(escaped("x" * 10_000)) <= 201
    assert escaped("\ud800") == "?"
