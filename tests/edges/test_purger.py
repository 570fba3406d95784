"""Edges that are told, those that are away, and what becomes of what waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from repocache.edges import TagNames, purged
from repocache.edges.cloudflare import Cloudflare
from repocache.edges.edge import Edge, EdgeLimits
from repocache.edges.exchange import AsyncClient
from repocache.edges.fastly import Fastly
from repocache.edges.header import XKEY, TagHeader
from repocache.edges.purger import MOST_AT_ONCE, Purger
from repocache.edges.varnish import Varnish
from repocache.errors import (
    ConfigurationError,
    EdgeRefused,
    EdgeUnavailable,
    NotStarted,
    OtherLoop,
    UsageError,
)
from repocache.events import (
    EdgeBacklogFolded,
    EdgeBacklogLeft,
    EdgePurged,
    EdgePurgeFailed,
    Event,
)
from repocache.invalidation.batch import Batch
from tests.edges.pages import browser, number, service
from tests.edges.playing import (
    SERVICE,
    TOKEN,
    ZONE,
    Playing,
    hanging,
    hanging_up,
    saying,
)
from tests.edges.servers import SECRET, needs_varnish, varnish
from tests.edges.speaking import speaking
from tests.shop import until

NAMES = TagNames("shop")
FAST = 10_000.0
QUICK = EdgeLimits(100, FAST, 0.05)


@dataclass
class Here:
    """`fastly`, `cloudflare`: what they took."""

    fastly: Playing
    cloudflare: Playing
    edges: list[Edge]
    seen: list[Event] = field(default_factory=list)

    def purger(self, *, most_waiting: int = 10_000, grace: float = 5.0) -> Purger:
        return Purger(self.edges, NAMES, self.seen.append, most_waiting=most_waiting, grace=grace)

    def of(self, kind: type[Event], edge: str = "") -> list[Any]:
        return [
            each
            for each in self.seen
            if isinstance(each, kind) and getattr(each, "edge", "").startswith(edge)
        ]

    def taken(self) -> list[set[str]]:
        """By each edge, all names."""
        return [
            {name for names in each.purged for name in names}
            for each in (self.fastly, self.cloudflare)
        ]


@asynccontextmanager
async def both(**fastly_s: Any) -> AsyncIterator[Here]:
    fastly, cloudflare = Playing(), Playing()
    async with speaking(fastly.fastly) as first, speaking(cloudflare.cloudflare) as second:
        edges: list[Edge] = [
            Fastly(SERVICE, TOKEN, url=first.url, requests_a_second=FAST, **fastly_s),
            Cloudflare(ZONE, TOKEN, url=second.url, requests_a_second=FAST),
        ]
        yield Here(fastly, cloudflare, edges)


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with both() as found:
        yield found
        assert TOKEN not in repr(found.seen)


ALL = {"shop.user:7", "shop.user:*"}


async def test_soon_reaches_every_edge(here: Here) -> None:
    async with here.purger() as purger:
        purger.soon(("user:7", "user:*"))
        await until(lambda: len(here.of(EdgePurged)) == 2, "both have")
        assert here.taken() == [ALL, ALL]
    assert len(here.seen) == 2
    assert {(each.edge, each.tags, each.requests, each.final) for each in here.of(EdgePurged)} == {
        (f"fastly {SERVICE}", 2, 1, False),
        (f"cloudflare {ZONE}", 2, 1, False),
    }


async def test_many_commits_are_few_requests_none_beyond_the_limits(here: Here) -> None:
    async with here.purger() as purger:
        for n in range(1_000):
            purger.soon((f"user:{n}", "user:*"))
        expected = {f"shop.user:{n}" for n in range(1_000)} | {"shop.user:*"}
        await until(
            lambda: sum(each.tags for each in here.of(EdgePurged)) == 2 * len(expected),
            "both have all",
        )
    assert here.taken() == [expected, expected]
    assert len(here.fastly.purged) == 4
    assert len(here.cloudflare.purged) == 11


async def test_an_edge_that_is_away_makes_no_other_wait_and_gets_all_when_it_is_back(
    here: Here,
) -> None:
    here.fastly.always = saying(503)
    async with here.purger() as purger:
        purger.soon(("user:7", "user:*"))
        await until(lambda: here.taken()[1] == ALL, "the other has")
        await until(lambda: len(here.of(EdgePurgeFailed)) >= 2, "it is tried again")
        purger.soon(("order:1",))
        await until(lambda: "shop.order:1" in here.taken()[1], "the other has this too")
        assert here.taken()[0] == set()
        here.fastly.always = None
        await until(lambda: here.taken()[0] == {*ALL, "shop.order:1"}, "it has all")
    failed = here.of(EdgePurgeFailed)
    assert [each.tries for each in failed] == [*range(1, len(failed) + 1)]
    assert {each.why for each in failed} == {"status 503"}
    assert here.of(EdgeBacklogLeft) == []


@pytest.mark.parametrize("trouble", [hanging_up, saying(429, retry_after="0"), saying(500)])
async def test_a_trouble_that_passes_is_tried_again(here: Here, trouble: Any) -> None:
    here.cloudflare.troubles = [trouble]
    async with here.purger() as purger:
        purger.soon(("user:7", "user:*"))
        await until(lambda: here.taken() == [ALL, ALL], "both have")
    assert [each.edge for each in here.of(EdgePurgeFailed)] == [f"cloudflare {ZONE}"]


@dataclass(frozen=True)
class OwnEdge:
    """An application's own. `fails`: what it raises, one after the other."""

    fails: list[BaseException | None] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    limits: EdgeLimits = QUICK
    name: str = "own"
    header: TagHeader = XKEY
    begun: list[str] = field(default_factory=list)

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        self.begun.extend(names)
        if self.fails:
            error = self.fails.pop(0)
            if error is None:
                await asyncio.Event().wait()
            else:
                raise error
        self.taken.extend(names)


async def test_an_edge_that_hangs_is_left_and_tried_again() -> None:
    seen: list[Event] = []
    edge = OwnEdge([None, None])
    async with Purger([edge], NAMES, seen.append) as purger:
        purger.soon(("user:7",))
        await until(lambda: edge.taken == ["shop.user:7"], "it has")
    why = [each.why for each in seen if isinstance(each, EdgePurgeFailed)]
    assert why == ["no answer within 0.05 seconds"] * 2


async def test_an_edge_of_the_application_s_own_may_raise_anything() -> None:
    seen: list[Event] = []
    edge = OwnEdge([ValueError("a value of a row"), TimeoutError()])
    async with Purger([edge], NAMES, seen.append) as purger:
        purger.soon(("user:7",))
        await until(lambda: edge.taken == ["shop.user:7"], "it has")
    failed = [each for each in seen if isinstance(each, EdgePurgeFailed)]
    assert len(failed) == 2
    assert "a value" not in repr(seen)


async def test_a_refusal_is_not_tried_at_once(here: Here) -> None:
    here.fastly.always = saying(401)
    async with here.purger() as purger:
        purger.soon(("user:7",))
        await until(lambda: len(here.of(EdgePurgeFailed)) == 1, "it refuses")
        purger.soon(("user:8",))
        await asyncio.sleep(0.6)
        assert len(here.of(EdgePurgeFailed)) == 1
    assert len(here.of(EdgePurgeFailed)) == 2, "by the last try"
    assert here.of(EdgeBacklogLeft) == [EdgeBacklogLeft(f"fastly {SERVICE}", 2)]


async def test_what_waits_is_bounded_and_nothing_is_lost(here: Here) -> None:
    here.fastly.always = saying(503)
    async with here.purger(most_waiting=50) as purger:
        for n in range(200):
            purger.soon((f"user:{n}", "user:*", f"order:{n % 3}"))
            await asyncio.sleep(0)
        await until(lambda: len(here.of(EdgePurgeFailed)) >= 1, "it is away")
        assert here.of(EdgeBacklogFolded, "fastly")
        here.fastly.always = None
        await until(lambda: "shop.user" in here.taken()[0], "it has the owner as a whole")
    batch = purged(Batch({"user": frozenset({"user:3"})}))
    assert here.taken()[0] & {NAMES.name(tag) for tag in (*batch, "user", "*")}
    assert here.of(EdgeBacklogLeft) == []


async def test_purge_returns_when_all_edges_have(here: Here) -> None:
    async with here.purger() as purger:
        await purger.purge(f"user:{n}" for n in range(250))
        expected = {f"shop.user:{n}" for n in range(250)}
        assert here.taken() == [expected, expected]
        assert {(each.tags, each.requests) for each in here.of(EdgePurged)} == {(250, 1), (250, 3)}
        await purger.purge_everything()
        assert here.taken() == [expected | {"shop.*"}] * 2
        await purger.purge(())
    assert len(here.of(EdgePurged)) == 4


async def test_purge_of_very_much_takes_owners_as_a_whole() -> None:
    edge = OwnEdge()
    async with Purger([edge], NAMES) as purger:
        await purger.purge([*(f"user:{n}" for n in range(MOST_AT_ONCE)), "order:1"])
    assert sorted(edge.taken) == ["shop.order:1", "shop.user"]


async def test_purge_says_who_did_not(here: Here) -> None:
    here.fastly.troubles = [saying(429, retry_after="17")]
    async with here.purger() as purger:
        with pytest.raises(EdgeUnavailable, match=f"fastly {SERVICE}: status 429") as failed:
            await purger.purge(("user:7",))
        assert failed.value.retry_after == 17
        assert here.taken() == [set(), {"shop.user:7"}], "the other has"
        here.fastly.troubles = [saying(401)]
        here.cloudflare.troubles = [saying(403)]
        with pytest.raises(EdgeRefused, match=r"fastly .*401; cloudflare .*403"):
            await purger.purge(("user:7",))
        here.fastly.troubles = [saying(401)]
        here.cloudflare.troubles = [saying(503)]
        with pytest.raises(EdgeUnavailable, match="503"):
            await purger.purge(("user:7",))
        await purger.purge(("user:7",))
    assert [each.tries for each in here.of(EdgePurgeFailed)] == [1] * 5
    assert here.of(EdgeBacklogLeft) == []


async def test_purge_that_is_cancelled_leaves_nothing_behind(here: Here) -> None:
    here.fastly.always = hanging
    async with here.purger() as purger:
        purging = asyncio.create_task(purger.purge(("user:7",)))
        await until(lambda: here.taken()[1] == {"shop.user:7"}, "the other has")
        purging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await purging
        here.fastly.always = None
        await purger.purge(("user:8",))
    assert here.taken()[0] == {"shop.user:8"}


async def test_leaving_tries_once_more_all_that_waits(here: Here) -> None:
    async with here.purger() as purger:
        purger.soon(f"user:{n}" for n in range(250))
    expected = {f"shop.user:{n}" for n in range(250)}
    assert here.taken() == [expected, expected]
    assert any(each.final for each in here.of(EdgePurged))
    assert here.of(EdgeBacklogLeft) == []


async def test_leaving_does_not_wait_for_a_pause_to_end(here: Here) -> None:
    here.fastly.troubles = [saying(503, retry_after="500")]
    async with here.purger() as purger:
        purger.soon(("user:7",))
        await until(lambda: len(here.of(EdgePurgeFailed)) == 1, "it has failed")
    assert here.taken()[0] == {"shop.user:7"}
    assert [each.final for each in here.of(EdgePurged, "fastly")] == [True]


async def test_leaving_takes_no_longer_than_its_grace_and_says_what_is_left() -> None:
    seen: list[Event] = []
    edge = OwnEdge([None] * 9, limits=EdgeLimits(100, FAST, 1_000.0))
    async with asyncio.timeout(30):
        async with Purger([edge], NAMES, seen.append, grace=0.05) as purger:
            purger.soon(("user:7", "user:8"))
            await until(lambda: edge.begun != [], "it is under way")
    assert seen == [EdgeBacklogLeft("own", 2)]
    assert edge.begun == ["shop.user:7", "shop.user:8"] * 2, "once by the task, once at the end"


async def test_leaving_that_is_cancelled_ends_all_the_same() -> None:
    seen: list[Event] = []
    edge = OwnEdge([None] * 9, limits=EdgeLimits(100, FAST, 1_000.0))
    before = asyncio.all_tasks()

    async def leaves() -> None:
        async with Purger([edge], NAMES, seen.append, grace=1_000.0) as purger:
            purger.soon(("user:7",))
            await until(lambda: len(edge.begun) == 1, "it is under way")

    leaving = asyncio.create_task(leaves())
    await until(lambda: len(edge.begun) == 2, "the last try is under way")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert seen == [EdgeBacklogLeft("own", 1)]
    assert asyncio.all_tasks() == before


async def test_it_lives_in_one_loop_while_it_is_entered(here: Here) -> None:
    purger = here.purger()
    for call in (lambda: purger.soon(("a",)), lambda: asyncio.run(purger.purge(("a",)))):
        with pytest.raises(NotStarted, match="async with purger"):
            await asyncio.to_thread(call)
    async with purger:
        with pytest.raises(UsageError, match="give several"):
            purger.soon("user:7")
        with pytest.raises(UsageError, match="give several"):
            await purger.purge("user:7")
        with pytest.raises(UsageError, match="already started"):
            await purger.__aenter__()
        with pytest.raises(OtherLoop):
            await asyncio.to_thread(purger.soon, ("user:7",))
        with pytest.raises(OtherLoop):
            await asyncio.to_thread(lambda: asyncio.run(purger.purge(("a",))))
        purger.soon(("user:7",))
    with pytest.raises(NotStarted):
        purger.soon(("user:7",))
    async with purger:
        await purger.purge(("user:8",))
    assert here.taken()[0] == {"shop.user:7", "shop.user:8"}


async def test_without_edges_nothing_is_done() -> None:
    async with Purger([], NAMES) as purger:
        purger.soon(("user:7",))
        await purger.purge(("user:7",))
    assert purger.edges == ()


async def test_the_rate_is_kept() -> None:
    """That requests wait for their turn, not for how long."""
    edge = OwnEdge(limits=EdgeLimits(1, 20.0))
    async with Purger([edge], NAMES) as purger:
        began = asyncio.get_running_loop().time()
        await purger.purge(f"user:{n}" for n in range(26))
        assert asyncio.get_running_loop().time() - began >= 0.25
    assert len(edge.taken) == 26


@pytest.mark.parametrize("given", [
    {"edges": "varnish"}, {"edges": [7]}, {"edges": [OwnEdge(), OwnEdge()]}, {"names": "shop"},
    {"observe": 7}, {"most_waiting": 0}, {"grace": -1.0}, {"grace": float("nan")},
])  # fmt: skip
def test_what_cannot_work_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"Purger\("):
        Purger(**{"edges": [OwnEdge()], "names": NAMES, **given})


@needs_varnish
async def test_a_commit_purges_varnish_itself() -> None:
    seen: list[Event] = []
    async with (
        service() as pages,
        varnish(pages.port) as running,
        browser(running.url) as client,
        Purger([Varnish(running.url, secret=SECRET)], NAMES, seen.append) as purger,
    ):
        pages.put("/7", "user:7", "user", "*")
        pages.put("/8", "user:8", "user", "*")
        assert [await number(client, path) for path in ("/7", "/8")] == [1, 1]
        purger.soon(purged(Batch({"user": frozenset({"user:7"})})))
        await until(lambda: len(seen) == 1, "it has purged")
        assert [await number(client, path) for path in ("/7", "/8")] == [2, 1]
        await purger.purge_everything()
        assert [await number(client, path) for path in ("/7", "/8")] == [3, 2]
