"""Sessions over real servers: bookmarks from other processes, from child tasks, from forgers."""

import asyncio
import sys
import time
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from repocache.bookmark import Bookmark, Refused, decode
from repocache.errors import ConfigurationError, DatabaseUnavailable
from repocache.events import BookmarkRefused
from repocache.history import cluster_of
from repocache.nodes.reading import UNTOLD
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.wal import PrimaryPosition
from repocache.routing.around import current_session
from repocache.routing.causal_session import CausalSession
from repocache.routing.routing import (
    ANYWHERE,
    LONGEST_CUT,
    ON_PRIMARY,
    Routing,
    Stickiness,
    on_replica,
)
from repocache.signing.bookmarks import BookmarkSigner
from repocache.testing import Endpoints, Servers
from tests.nodes.conftest import STILL, Watched, until, value_of, watching
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.usefixtures("item")
WINDOW = 60.0


def mark(position: PrimaryPosition, seconds: float = WINDOW) -> Bookmark:
    return Bookmark(
        position.history, position.flush, {}, covered=True, expires=time.time() + seconds
    )


async def seen(watched: Watched, routing: Routing, session: CausalSession) -> int:
    """The value, and the session is told of it."""
    look = session.reads()
    read = await watched.read(routing.need(0))
    session.saw(look, read.stamp)
    return read.value


def routing_over(watched: Watched, stickiness: Stickiness | None = None) -> Routing:
    return Routing(watched.topology, stickiness or Stickiness(), watched.events.append)


def refusals(watched: Watched) -> list[str]:
    return [event.why for event in watched.seen(BookmarkRefused)]


async def test_a_session_reads_what_it_wrote_and_others_need_nothing(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        async with routing.causal_session() as session:
            session.advance(mark(await watched.write(1)))
            assert (await watched.read(routing.need(0))).value == 1
        read = await watched.read(routing.need(0))
        assert (read.value, read.node != "primary") == (0, True)


async def test_a_childs_write_sticks_its_parent(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)

        async def child() -> None:
            session = current_session()
            assert session is not None
            session.advance(mark(await watched.write(1)))

        async with routing.causal_session():
            await asyncio.gather(child(), asyncio.create_task(child()))
            assert (await watched.read(routing.need(0))).value == 1
        assert current_session() is None


ANOTHER_PROCESS = """
import asyncio
import sys
from repocache.routing.routing import Routing, Stickiness
from repocache.engines.topology_settings import TopologySettings
from repocache.routing.around import current_session
from repocache.routing.causal_session import CausalSession
from repocache.signing.bookmarks import BookmarkSigner
from repocache.nodes.topology import Topology
from tests.tcp_proxy import TcpProxy
from tests.nodes.conftest import value_of

async def main():
    secret, primary, *replicas = sys.argv[1:]
    async with Topology(primary, replicas, TopologySettings(max_lag=50.0)) as topology:
        routing = Routing(topology, Stickiness(signer=BookmarkSigner([secret])))
        print("ready", flush=True)
        incoming = await asyncio.to_thread(sys.stdin.readline)
        for text in (None, incoming.strip()):
            async with routing.causal_session(text):
                print((await topology.read(routing.need(0), value_of)).value)

asyncio.run(main())
"""


async def test_another_process_goes_on(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    secret, pipe = "a secret for this test", asyncio.subprocess.PIPE
    arguments = [
        "-W",
        "error",
        "-c",
        ANOTHER_PROCESS,
        secret,
        repocache_endpoints.primary,
        *repocache_endpoints.replicas,
    ]
    other = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=pipe, stdout=pipe
    )
    assert other.stdin is not None
    assert other.stdout is not None
    async with (
        watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched,
        asyncio.timeout(60),
    ):
        assert await other.stdout.readline() == b"ready\n"
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        routing = routing_over(watched, Stickiness(signer=BookmarkSigner([secret])))
        async with routing.causal_session() as session:
            session.advance(mark(await watched.write(7)))
            printed, _ = await other.communicate(session.encode().encode() + b"\n")
    assert (printed.split(), other.returncode) == ([b"0", b"7"], 0)


async def test_monotonic_reads_never_go_back(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """One replica has the write, the other has not: having seen it once, the session does not unsee
    it."""
    fresh, stale = repocache_controls.replicas
    await asyncio.to_thread(stale.pause_replay)
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        await asyncio.to_thread(fresh.await_position, (await watched.write(1)).flush)
        for monotonic in (True, False):
            routing = routing_over(watched, Stickiness(monotonic=monotonic))
            found: list[int] = []
            async with routing.causal_session() as session:
                found += [await seen(watched, routing, session) for _ in range(60)]
            assert (found == sorted(found)) is monotonic, found


async def test_monotonic_reads_never_go_back_while_the_primary_is_lost(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """What replicas vouch for stands still then, what they show does not: how new that is cannot be
    told, and it is not shown."""
    fresh, stale = repocache_controls.replicas
    async with (
        TcpProxy(repocache_endpoints.primary) as door,
        watching(door.url, repocache_endpoints.replicas) as watched,
        watching(repocache_endpoints.primary, ()) as other,
    ):
        await watched.all_in()
        await asyncio.to_thread(stale.pause_replay)
        door.freeze()
        await until(lambda: watched.out("primary") != "", "the primary is lost")
        await asyncio.to_thread(fresh.await_position, (await other.write(1)).flush)
        routing = routing_over(watched, Stickiness(monotonic=True))
        for _ in range(5):
            async with routing.causal_session():
                with pytest.raises(DatabaseUnavailable, match="cannot tell how new"):
                    await watched.read(routing.need(0))
                with pytest.raises(DatabaseUnavailable, match="cannot tell how new"):
                    async with routing.snapshot():
                        pytest.fail("it would show what cannot be told")
        assert (await watched.read()).node != "primary", "who is not monotonic reads on"


async def test_a_replica_that_begins_another_life_behind_a_read_says_nothing_about_it(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """1. a replica answers; 2. it crashes, and has replayed less than before; 3. it is asked how
    far it is. So the primary is read."""
    server = repocache_controls.replicas[0]
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas[:1]) as watched:
        await watched.all_in()
        [node] = watched.topology._replicas
        lives = {node.sample.process} if node.sample else set()

        async def run(connection: AsyncConnection) -> int:
            value = await value_of(connection)
            if node.sample is None or node.sample.process not in lives:
                return value
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await until(known, "its next life is known")
            return value

        def known() -> bool:
            return (
                node.sample is not None
                and node.sample.history != ""
                and node.sample.process not in lives
            )

        need = replace(ReadRequirement(watched.topology.history, 0), stamped=True)
        read = await watched.topology.read(need, run)
        assert (read.node, read.why, read.stamp.primary) == ("primary", UNTOLD, True)
        read = await watched.topology.read(need, value_of)
        assert (read.node != "primary", read.stamp.position is not None) == (True, True)


async def test_wishes(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        assert (await watched.read(routing.need(0, ON_PRIMARY))).node == "primary"
        assert (await watched.read(routing.need(0, on_replica(max_lag=4.0)))).node != "primary"


async def test_what_is_not_ours_is_refused_and_never_raises(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        position = await watched.write(1)
        good = mark(position)
        gone = f"{cluster_of(position.history)}.1.gone"
        for text, why in [
            ("", None),
            ("\udcff", "malformed"),
            ("%%%", "malformed"),
            ("A" * 5000, "too long"),
            (msgspec.structs.replace(mark(position, -1.0), position=None).encode(), "expired"),
            (msgspec.structs.replace(mark(position, -1.0), history=gone).encode(), "expired"),
            (msgspec.structs.replace(good, history="1.1.x").encode(), "foreign"),
            (msgspec.structs.replace(good, history="", position=5).encode(), "foreign"),
            (
                msgspec.structs.replace(good, position=position.insert + 10**9).encode(),
                "ahead of the primary",
            ),
            (msgspec.structs.replace(good, position=2**63 - 1).encode(), "ahead of the primary"),
        ]:
            watched.events.clear()
            async with routing.causal_session(text) as session:
                assert session.bookmark.position == 0
                assert not routing.need(0).primary
            assert refusals(watched) == ([why] if why else [])


async def test_a_primary_that_is_silent_disproves_no_bookmark(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """1. Another process commits; 2. this one loses sight of the primary; 3. the session comes
    over: what it wrote is newer than all that this process knows."""
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        known = await watched.write(1)
        ahead = msgspec.structs.replace(mark(known), position=known.insert + 8)
        await asyncio.to_thread(repocache_controls.primary.freeze)
        try:
            async with routing.causal_session(ahead.encode()) as session:
                needed = routing.need(0).position
        finally:
            await asyncio.to_thread(repocache_controls.primary.thaw)
        assert (session.bookmark.position, needed, refusals(watched)) == (
            ahead.position,
            ahead.position,
            [],
        )


async def test_a_bookmark_of_an_older_history_means_the_primary_while_it_lives(
    repocache_endpoints: Endpoints,
) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        position = await watched.write(1)
        old = Bookmark(
            f"{cluster_of(position.history)}.1.gone",
            2**62,
            {},
            covered=True,
            expires=time.time() + 1,
        )
        async with routing.causal_session(old.encode()) as session:
            assert routing.need(0).primary == "bookmark of another history"
            watched.topology._primary.clock._offset = 4e9
            assert not routing.need(0).primary
        assert session.bookmark == old


async def test_no_bookmark_is_refused_for_living_too_long(repocache_endpoints: Endpoints) -> None:
    """1. A release, or another service, gives longer lives; 2. its bookmark comes here: refused,
    its session would miss its own write."""
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        position = await watched.write(1)
        for seconds in (3 * WINDOW, 1e9, float("inf")):
            async with routing.causal_session(mark(position, seconds).encode()) as session:
                assert session.bookmark.position == position.flush
                assert session.bookmark.expires <= time.time() + LONGEST_CUT + 60
        assert refusals(watched) == []


async def test_a_position_does_not_lapse(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """However long ago: a replica that has it is easily had, and one that has not is no node to
    ask."""
    for replica in repocache_controls.replicas:
        await asyncio.to_thread(replica.pause_replay)
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        old = mark(await watched.write(1), -1e6)
        async with routing.causal_session(old.encode()):
            assert (await watched.read(routing.need(0))).value == 1
        assert refusals(watched) == []


async def test_a_bookmark_lives_by_the_primarys_clock(
    repocache_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. This machine's clock is an hour fast; 2. a session comes from another one: by it, its
    bookmark's life would be over, and the write that no position tells is missed."""
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        now = time.time()
        assert abs(watched.topology.now() - now) < 10
        monkeypatch.setattr("time.time", lambda: now + 3600)
        unknown = Bookmark("", None, {}, covered=True, expires=now + WINDOW)
        async with routing.causal_session(unknown.encode()):
            assert routing.need(0).primary == "bookmark without position"
        assert refusals(watched) == []


async def test_no_life_ends_while_the_primary_is_away(
    repocache_endpoints: Endpoints, repocache_controls: Servers
) -> None:
    """1. A session writes, and its position is not to be had; 2. the primary is lost before the
    replicas have the write; 3. the life of the bookmark ends, by the clock, and they still have it
    not."""
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        async with routing.causal_session() as session:
            session.advance(
                Bookmark("", None, {}, covered=True, expires=watched.topology.now() + WINDOW)
            )
            await asyncio.to_thread(repocache_controls.primary.freeze)
            try:
                await until(lambda: watched.out("primary") != "", "the primary is lost")
                clock = watched.topology._primary.clock
                assert clock._offset is not None
                clock._offset += 10 * WINDOW
                assert routing.need(0).primary == "bookmark without position"
                with pytest.raises(DatabaseUnavailable):
                    await watched.read(routing.need(0))
            finally:
                await asyncio.to_thread(repocache_controls.primary.thaw)
            await until(lambda: watched.out("primary") == "", "the primary is back")
            assert routing.need(0).primary, "for a whole life from now on"


async def test_a_bookmark_of_a_newer_timeline_is_answered_by_nobody_here(
    repocache_endpoints: Endpoints,
) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        routing = routing_over(watched)
        position = await watched.write(1)
        newer = Bookmark(
            f"{cluster_of(position.history)}.9.new",
            5,
            {},
            covered=True,
            expires=time.time() + WINDOW,
        )
        async with routing.causal_session(newer.encode()):
            for route in (ANYWHERE, ON_PRIMARY):
                with pytest.raises(DatabaseUnavailable, match="newer timeline"):
                    await watched.read(routing.need(0, route))
        assert (await watched.read(routing.need(0))).value in (0, 1), "others go on"
        assert refusals(watched) == []


async def test_a_bookmark_beyond_the_last_poll_is_not_foreign(
    repocache_endpoints: Endpoints,
) -> None:
    async with (
        watching(repocache_endpoints.primary, repocache_endpoints.replicas, STILL) as late,
        watching(repocache_endpoints.primary, repocache_endpoints.replicas, STILL) as early,
    ):
        routing = Routing(late.topology, Stickiness(window=7000.0), late.events.append)
        async with routing.causal_session(mark(await early.write(1)).encode()):
            assert (await late.read(routing.need(0))).value == 1
        assert refusals(late) == []


async def test_signed_bookmarks_only(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, repocache_endpoints.replicas) as watched:
        signer = BookmarkSigner(["a secret for this test"])
        routing = routing_over(watched, Stickiness(signer=signer))
        good = mark(await watched.write(1))
        for text in (good.encode(), good.encode(BookmarkSigner(["not the same secret"]))):
            async with routing.causal_session(text) as session:
                assert session.bookmark.position == 0
        assert refusals(watched) == ["signature", "signature"]
        async with routing.causal_session(good.encode(signer)) as session:
            assert session.bookmark == good


async def test_a_window_that_replicas_may_outlag_is_refused(repocache_endpoints: Endpoints) -> None:
    async with watching(repocache_endpoints.primary, ()) as watched:
        with pytest.raises(ConfigurationError, match="must outlive the lag"):
            routing_over(watched, Stickiness(window=1.0))


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1"))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
def test_no_text_raises(text: str) -> None:
    assert isinstance(decode(text, None), Bookmark | Refused)
