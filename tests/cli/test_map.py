"""`repocache map`: the layering as text, Mermaid and SVG, declared and live."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from repocache.cli.live import settled
from repocache.edges.declared import Edges
from repocache.edges.fastly import Fastly
from repocache.edges.varnish import Varnish
from repocache.events import Out
from repocache.layering.drawn_tier import (
    DeclaredServers,
    DrawnEdge,
    DrawnTier,
    Holding,
    SeenServer,
    drawn_edges,
    drawn_tiers,
)
from repocache.layering.svg import as_svg
from repocache.layering.text import as_mermaid, as_text
from repocache.nodes.topology import NodeStatus
from repocache.pages.policy import PageCache
from repocache.runtime.served import RouteDescription
from repocache.testing import Endpoints, Servers
from tests.cli.edged import write_edged
from tests.cli.test_frame import run
from tests.cli.test_keys import application, database
from tests.edges.playing import SERVICE, saying
from tests.purging.conftest import playing_edge
from tests.shop import shop_template

SERVERS = DeclaredServers(
    has_redis=True,
    replicas=("db2:5432",),
    local_entries=100,
    local_bytes=2**20,
    max_lag=10,
    seen={"Redis": SeenServer(live="valkey 9", is_well=True)},
)


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


def test_every_tier_is_there_and_says_what_it_owns() -> None:
    tiers = {each.name: each for each in drawn_tiers(database().owners, SERVERS)}
    names = ["browser", "CDN", "edge", "gateway", "L1", "Redis", "replica db2:5432", "primary"]
    assert list(tiers) == names
    assert not any(tiers[each].is_configured for each in names[:4])
    held = {each.what: each.life for each in tiers["L1"].holdings}
    assert held["author +by_email +posts +post_count"] == "10 s"
    held = {each.what: each.life for each in tiers["Redis"].holdings}
    assert held["hit"] == "until it is flushed, about 1 s"
    assert tiers["Redis"].live == "valkey 9"
    assert tiers["primary"].holdings[0].what == "authors, posts, hits"


def test_a_tier_that_is_not_there_says_so() -> None:
    bare = DeclaredServers(has_redis=False, replicas=(), local_entries=1, local_bytes=1, max_lag=1)
    text = as_text(drawn_tiers(database().owners, bare))
    assert "not configured: each process caches for itself alone" in text
    assert "not configured: every miss goes to the primary" in text


def test_edges_stand_in_their_layers_and_say_which_tags_they_read() -> None:
    edges = (
        DrawnEdge("varnish v1:6081", "xkey"),
        DrawnEdge("fastly SU1", "surrogate-key"),
        DrawnEdge("varnish v2:6081", "xkey"),
    )
    seen = {"varnish v1:6081": SeenServer(live="takes no purge: status 403", is_well=False)}
    tiers = drawn_tiers(database().owners, replace(SERVERS, edges=edges, seen=seen))
    names = [each.name for each in tiers][:6]
    assert names == [
        "browser", "fastly SU1", "varnish v1:6081", "varnish v2:6081", "gateway", "L1",
    ]  # fmt: skip
    browser, fastly, first, second, *_ = tiers
    assert not browser.is_configured, "nothing is declared of it"
    assert fastly.is_configured
    assert "CDN" in fastly.about
    assert fastly.holdings[0].what == "pages, by their tags in surrogate-key"
    assert (first.is_well, second.is_well) == (False, True)
    assert "TROUBLE: takes no purge: status 403" in as_text(tiers)
    assert "varnish v1:6081" in as_mermaid(tiers)
    Xml.fromstring(as_svg(tiers, "shop"))


def test_the_edges_of_a_database() -> None:
    edges = Edges(Varnish("http://v1:6081"), Fastly("SU1", "a-token"))
    db = database(edges=edges, pages=PageCache(ttl=60, local_ttl=3))
    assert drawn_edges(db.plan) == (
        DrawnEdge("varnish v1:6081", "xkey"),
        DrawnEdge("fastly SU1", "surrogate-key"),
    )
    assert drawn_edges(database().plan) == ()
    tiers = {each.name: each for each in drawn_tiers(db.owners, SERVERS)}
    for name, life in (("L1", "3 s"), ("Redis", "60 s")):
        assert {each.what: each.life for each in tiers[name].holdings}["page +body"] == life


STRANGE = DrawnTier(
    name="a<b>&\"'",
    about="x" * 400 + " ]]> #",
    holdings=(Holding("\x1b[2J<script>", "7 s"),),
    live="lost",
    is_well=False,
)


def test_the_picture_is_well_formed_and_needs_nothing() -> None:
    picture = as_svg((*drawn_tiers(database().owners, SERVERS), STRANGE), "shop <&>")
    root = Xml.fromstring(picture)
    assert root.attrib["role"] == "img"
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "browser" in texts
    assert "prefers-color-scheme: dark" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in picture


def test_mermaid_is_quoted() -> None:
    lines = as_mermaid((STRANGE,)).splitlines()
    assert lines[0] == "flowchart TD"
    assert lines[1].count('"') == 2
    assert "a#lt;b#gt;" in lines[1]
    assert "  class l0 trouble" in lines


def test_as_a_command(tmp_path: Path) -> None:
    application(tmp_path, "EVERYTHING")
    done = run(tmp_path, "map", "shop_data:db")
    assert done.returncode == 0, done.stderr
    assert "L1\n  | in each process" in done.stdout
    told = json.loads(run(tmp_path, "map", "shop_data:db", "--json").stdout)
    assert [each["name"] for each in told["tiers"]][-1] == "primary"
    done = run(tmp_path, "map", "shop_data:db", "--svg", "map.svg")
    assert done.stdout == "wrote map.svg\n"
    assert Xml.parse(tmp_path / "map.svg").getroot().tag.endswith("svg")
    assert run(tmp_path, "map", "shop_data:db", "--mermaid", "--json").returncode == 2
    done = run(tmp_path, "map", "shop_data:db", "--live")
    assert done.returncode == 1
    assert "TROUBLE: the primary does not answer" in done.stdout


async def test_live_edges(tmp_path: Path, repocache_endpoints: Endpoints) -> None:
    ends = repocache_endpoints
    async with playing_edge() as edge:
        write_edged(tmp_path, ends, edge.url)
        done = await asyncio.to_thread(run, tmp_path, "map", "shop_data:db", "--live", "--json")
        assert done.returncode == 0, done.stderr
        live = {each["name"]: each["live"] for each in json.loads(done.stdout)["tiers"]}
        assert live[f"fastly {SERVICE}"] == "takes purges"
        edge.playing.always = saying(401)
        done = await asyncio.to_thread(run, tmp_path, "map", "shop_data:db", "--live")
        assert done.returncode == 1
        assert "TROUBLE: takes no purge: status 401" in done.stdout


async def test_live(tmp_path: Path, repocache_endpoints: Endpoints) -> None:
    ends = repocache_endpoints
    (tmp_path / "shop_data.py").write_text(
        "from repocache import Database\nfrom tests.shop import REPOSITORIES\n"
        f"db = Database({ends.primary!r}, replicas={list(ends.replicas)!r}, redis={ends.redis!r},"
        "repositories=REPOSITORIES)\n"
    )
    done = await asyncio.to_thread(run, tmp_path, "map", "shop_data:db", "--live", "--json")
    assert done.returncode == 0, done.stderr
    live = {each["name"]: each["live"] for each in json.loads(done.stdout)["tiers"]}
    assert "MB" in live["Redis"]
    assert live["primary"] == "in the rotation"
    assert sum("in the rotation, lag" in each for each in live.values()) == 2


def test_routes_are_what_the_browser_and_the_edges_own() -> None:
    routes = (
        RouteDescription(template="/products/{id}", cache_control="public, max-age=0"),
        RouteDescription(
            template="/about",
            cache_control="public, max-age=60",
            targeted="cdn-cache-control: max-age=3600",
        ),
        RouteDescription(template="/me", cache_control="private, no-cache"),
        RouteDescription(template="/secret", cache_control="no-store"),
    )
    edges = (DrawnEdge("varnish host", "xkey"),)
    drawn = drawn_tiers(database().owners, replace(SERVERS, edges=edges, routes=routes))
    tiers = {each.name: {held.what: held.life for held in each.holdings} for each in drawn}
    assert tiers["browser"] == {
        "/products/{id}": "public, max-age=0",
        "/about": "public, max-age=60",
        "/me": "private, no-cache",
    }
    assert tiers["varnish host"]["/products/{id}"] == "public, max-age=0"
    assert tiers["varnish host"]["/about"] == "cdn-cache-control: max-age=3600"
    assert "/me" not in tiers["varnish host"]


SITE = '''
from fastapi import FastAPI
from starlette.middleware import Middleware
from repocache import Database
from repocache.http import CausalMiddleware, Cookie, HttpCache, NoStore, Public

db = Database("postgresql+asyncpg://app@127.0.0.1:1/shop", redis=None, repositories=[])
other = Database("postgresql+asyncpg://app@127.0.0.1:1/shop", redis=None, repositories=[])
app = FastAPI()
app.add_middleware(HttpCache, db=db, routes={"/products/{id}": Public(max_age=60)})
app.add_middleware(CausalMiddleware, db=db, carrier=Cookie(secure=False))
positional = FastAPI(middleware=[Middleware(HttpCache, other, {"/about": Public(max_age=7)})])
class Elsewhere:
    """As a proxy of what there is during a request alone."""

    def __getattr__(self, name):
        raise RuntimeError("there is no request")

current = Elsewhere()
wrong = FastAPI()
wrong.add_middleware(HttpCache, db=other, routes={"no slash": NoStore()})
'''


async def test_a_node_that_is_not_in_the_rotation_yet_has_its_time() -> None:
    looks = iter((Out.LAGGING, Out.LAGGING, ""))

    class Starting:
        @property
        def nodes(self) -> tuple[NodeStatus, ...]:
            return (NodeStatus("db2", next(looks, ""), 0, None),)

    starting: Any = Starting()
    assert [each.out for each in await settled(starting)] == [""]


@pytest.mark.parametrize(
    "name, template, life",
    [("db", "/products/{id}", "public, max-age=60"), ("other", "/about", "public, max-age=7")],
)
def test_routes_are_there_before_the_application_starts(
    name: str, template: str, life: str, tmp_path: Path
) -> None:
    """Each database has those of its own; what is wrong with others says the application."""
    (tmp_path / "site_app.py").write_text(SITE)
    done = run(tmp_path, "map", f"site_app:{name}", "--json")
    assert done.returncode == 0, done.stderr
    tiers = {each["name"]: each for each in json.loads(done.stdout)["tiers"]}
    assert tiers["browser"]["holdings"] == [{"what": template, "life": life}]
