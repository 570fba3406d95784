"""Edges and their purges: what is wrong is found, and a set-up that is well has nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from repocache import OutboxMode
from repocache.doctor.checklist import PointVerdict, checklist_of
from repocache.doctor.edge_facts import NOBODYS
from repocache.doctor.finding import Severity
from repocache.edges.declared import Edges
from repocache.edges.names import TagNames
from repocache.edges.nginx import NginxFiles, NginxPurge
from repocache.edges.varnish import Varnish
from repocache.testing.ports import free_port
from tests.doctor.conftest import Ground
from tests.edges.pages import browser, number, service
from tests.edges.playing import SERVICE, saying
from tests.edges.servers import SECRET, needs_varnish, varnish
from tests.purging.conftest import PlayedEdge, playing_edge

ERROR, WARNING = Severity.ERROR, Severity.WARNING
PUT = "INSERT INTO repocache_purges (notices, due, since) VALUES ('[]', %s, %s)"


@pytest.fixture
async def edge(ground: Ground) -> AsyncIterator[PlayedEdge]:
    async with playing_edge() as edge:
        ground.edges = edge.edges
        yield edge


async def test_a_healthy_one(ground: Ground, edge: PlayedEdge) -> None:
    assert await ground.findings() == ()
    [[name]] = edge.playing.purged
    assert name.startswith("shop.~"), "a tag that no owner can have"


def test_no_page_can_have_what_is_purged() -> None:
    assert TagNames("shop").name(NOBODYS).startswith("shop.~")


async def test_without_edges_nobody_asks_for_their_table(ground: Ground) -> None:
    ground.sql("DROP TABLE repocache_purges")
    assert await ground.findings() == ()


async def test_the_table_is_missing(ground: Ground, edge: PlayedEdge) -> None:
    ground.sql("DROP TABLE repocache_purges")
    assert await ground.found() == {"there is no table of purges": WARNING}
    ground.settings = replace(ground.settings, outbox=OutboxMode.REQUIRED)
    assert await ground.found() == {"there is no table of purges": ERROR}
    ground.settings = replace(ground.settings, outbox=OutboxMode.OFF)
    assert await ground.found() == {}, "that is what was wanted"


async def test_without_an_outbox_that_is_the_finding(ground: Ground, edge: PlayedEdge) -> None:
    ground.sql("DROP TABLE repocache_outbox, repocache_purges CASCADE")
    ground.sql("DROP FUNCTION repocache_notice() CASCADE")
    assert await ground.found() == {"there is no outbox": WARNING}


@pytest.mark.parametrize(
    "change, told",
    [
        ("ALTER TABLE repocache_purges DROP COLUMN why", "lacks columns of this release: why"),
        ("REVOKE DELETE ON repocache_purges FROM app", "the role must be allowed to"),
        ("ALTER TABLE repocache_purges ENABLE ROW LEVEL SECURITY", "has rules or row security"),
    ],
)
async def test_the_table_cannot_be_used(
    change: str, told: str, ground: Ground, edge: PlayedEdge
) -> None:
    ground.sql(change)
    [finding] = await ground.findings()
    assert (finding.what, finding.severity) == ("the table of purges cannot be used", ERROR)
    assert told in f"{finding.evidence}: {finding.remedy}"
    assert "create_repocache_purges" in finding.remedy + finding.evidence


async def test_rows_are_put_aside(ground: Ground, edge: PlayedEdge) -> None:
    ground.sql(PUT % ("'infinity'", "now()"))
    [finding] = await ground.findings()
    assert (finding.what, finding.severity) == ("rows of purges are put aside", WARNING)
    assert "repocache purges" in finding.remedy


async def test_rows_wait_for_long(ground: Ground, edge: PlayedEdge) -> None:
    ground.sql(PUT % ("now()", "now() - interval '5 s'"))
    assert await ground.found() == {}, "each commit's does so"
    ground.sql("UPDATE repocache_purges SET since = now() - interval '1 hour'")
    [finding] = await ground.findings()
    assert (finding.what, finding.severity) == ("purges wait for long", WARNING)
    assert finding.evidence.startswith("1 of them, the oldest for 36")


async def test_an_edge_that_refuses(ground: Ground, edge: PlayedEdge) -> None:
    edge.playing.always = saying(401)
    [finding] = await ground.findings()
    assert (finding.what, finding.severity) == (f"fastly {SERVICE} refuses our purges", ERROR)
    assert finding.evidence == "status 401"
    assert "token" in finding.remedy


async def test_an_edge_that_is_not_there(ground: Ground) -> None:
    port = free_port()
    ground.edges = Edges(Varnish(f"http://127.0.0.1:{port}", secret=SECRET), app="shop")
    [finding] = await ground.findings()
    assert finding.what == f"varnish 127.0.0.1:{port} does not take purges"
    assert finding.evidence.startswith("no answer: ")


async def test_each_edge_is_asked(ground: Ground, edge: PlayedEdge) -> None:
    """One that is away hides no other."""
    assert ground.edges is not None
    port = free_port()

    def paths(_: str) -> list[str]:
        raise RuntimeError("no paths today")

    away = (
        Varnish(f"http://127.0.0.1:{port}"),
        NginxPurge("http://127.0.0.1:1", paths),
        NginxFiles("/no/such/folder"),
    )
    ground.edges = Edges(*ground.edges.edges, *away, app="shop")
    found = {each.what: each.evidence for each in await ground.findings()}
    assert set(found) == {f"{each.name} does not take purges" for each in away}
    assert found["nginx 127.0.0.1:1 does not take purges"].startswith("RuntimeError at ")
    assert len(edge.playing.purged) == 1


async def test_without_redis_processes_do_not_hear_of_commits(
    ground: Ground, edge: PlayedEdge
) -> None:
    ground.at(redis="")
    ground.repositories = [each for each in ground.repositories if each.owner.prefix != "hit"]
    found = await ground.found()
    assert found["edges may keep what a process rendered that had not heard of a commit"] is WARNING


@needs_varnish
async def test_varnish_itself(ground: Ground) -> None:
    async with service() as pages, varnish(pages.port) as running, browser(running.url) as client:
        pages.put("/7", "user:7", "user", "*")
        assert await number(client, "/7") == 1
        ground.edges = Edges(Varnish(running.url, secret=SECRET), app="shop")
        assert await ground.findings() == ()
        assert await number(client, "/7") == 1, "no page went"
        ground.edges = Edges(Varnish(running.url, secret="another-secret-of-many"), app="shop")
        [finding] = await ground.findings()
        assert finding.what.endswith("refuses our purges")
        assert finding.evidence == "status 403"


async def test_points_of_the_checklist(ground: Ground, edge: PlayedEdge) -> None:
    async def asked() -> dict[str, tuple[PointVerdict, str]]:
        setup = await ground.setup()
        return {each.what: (each.verdict, each.evidence) for each in checklist_of(setup, ())}

    purged, tagged = "CDN and edges drop what a commit changes", "edge pages are tagged"
    points = await asked()
    assert points[purged] == (PointVerdict.PASS, f"a purge is taken by fastly {SERVICE}")
    verdict, told = points[tagged]
    assert verdict is PointVerdict.UNKNOWN, "no response is looked at"
    assert told.endswith("it should have surrogate-key")
    edge.playing.always = saying(401)
    assert (await asked())[purged][0] is PointVerdict.FAIL
    ground.edges = None
    points = await asked()
    assert {points[purged][0], points[tagged][0]} == {PointVerdict.UNKNOWN}
