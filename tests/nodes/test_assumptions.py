"""What is assumed of clocks and settings, each just inside and just outside
(docs/assumptions.md)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from repocache.bookmark import Bookmark
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import ConfigurationError
from repocache.events import ClockJumped, Event
from repocache.nodes.clock import ALLOWED
from repocache.nodes.primary import Primary
from repocache.nodes.topology import Topology
from repocache.redis_link import Limits, LinkSettings
from repocache.routing.routing import LONGEST_CUT, Routing, Stickiness, on_replica
from repocache.settings import Settings
from tests.nodes.conftest import QUICK, watching

NOWHERE = "postgresql+asyncpg://a@127.0.0.1:1/b"
LIFE = 60.0


def primary(events: list[Event]) -> Primary:
    """One that was heard a moment ago, and asked by nobody."""
    found = Topology(NOWHERE, observe=events.append)._primary
    found.life = LIFE
    found.clock.told(1000.0, 0.0, 0.0)
    found._heard_at = 1000.0
    return found


@pytest.mark.parametrize("jump", [ALLOWED - 0.01, -ALLOWED + 0.01])
async def test_a_clock_that_keeps_its_course_ends_lives_as_it_says(jump: float) -> None:
    events: list[Event] = []
    heard = primary(events)
    heard._tell_time(1001.0 + jump, 1.0, 1.0)
    assert events == []
    assert heard.outages.counts_until(1000.5, LIFE) == 1000.5


@pytest.mark.parametrize("jump", [ALLOWED + 0.01, 3600.0, -ALLOWED - 0.01])
async def test_a_clock_that_jumps_is_told_and_ends_no_life(jump: float) -> None:
    """Whoever was alive before it counts for a whole life more; who had ended has ended."""
    events: list[Event] = []
    heard = primary(events)
    heard._tell_time(1001.0 + jump, 1.0, 1.0)
    [told] = events
    assert isinstance(told, ClockJumped)
    assert told.seconds == pytest.approx(jump)
    assert heard.outages.counts_until(1000.5, LIFE) >= heard.clock.now() + LIFE - 0.1
    assert heard.outages.counts_until(999.5, LIFE) == 999.5


def test_a_window_is_longer_than_what_a_replica_may_lag() -> None:
    topology = TopologySettings(max_lag=2.0, sample_every=0.5, probe_timeout=1.0)
    link = LinkSettings(limits=Limits(reply_timeout=0.1, pulse=0.1))
    assert topology.staleness == 3.5
    assert Settings(window=3.51, topology=topology, link=link).window == 3.51
    with pytest.raises(ConfigurationError, match=r"window=3.5.*probe_timeout = 3.5"):
        Settings(window=3.5, topology=topology, link=link)


def test_a_window_is_longer_than_a_link_may_be_silent() -> None:
    topology = TopologySettings(max_lag=0.2, sample_every=0.05, probe_timeout=0.1)
    link = LinkSettings(limits=Limits(reply_timeout=2.0, pulse=1.0))
    assert link.limits.silence == 3.5
    assert Settings(window=3.51, topology=topology, link=link).window == 3.51
    with pytest.raises(ConfigurationError, match=r"window=3.5.*silence = 3.5"):
        Settings(window=3.5, topology=topology, link=link)


@pytest.mark.parametrize("uncovered", [-1.0, float("inf"), float("nan")])
def test_lives_are_seconds(uncovered: float) -> None:
    with pytest.raises(ConfigurationError, match="uncovered"):
        Settings(uncovered=uncovered)


@pytest.mark.parametrize("position", [0, None])
async def test_a_wish_for_lag_is_cut_where_a_session_names_no_position(
    repocache_endpoints: Any, position: int | None
) -> None:
    """What it wrote may be forgotten by the time that a replica as far behind as that has it."""
    settings = TopologySettings(max_lag=2.0, sample_every=0.5, probe_timeout=0.5)
    async with watching(repocache_endpoints.primary, (), settings) as watched:
        routing = Routing(watched.topology, Stickiness(window=10.0))
        assert routing.need(0, on_replica(max_lag=3600)).max_lag == 3600
        async with routing.causal_session() as session:
            if position is None:
                session.advance(mark(watched.topology, None))
            assert routing.need(0, on_replica(max_lag=8.9)).max_lag == 8.9
            assert routing.need(0, on_replica(max_lag=3600)).max_lag == 9.0
            session.begin_with(mark(watched.topology, 1))
            assert routing.need(0, on_replica(max_lag=3600)).max_lag == 3600


async def test_a_life_is_cut_to_a_day_and_goes_on_by_its_position(repocache_endpoints: Any) -> None:
    async with watching(repocache_endpoints.primary, (), QUICK) as watched:
        routing = Routing(watched.topology, Stickiness(window=60.0))
        for expires, cut in ((LONGEST_CUT - 60, False), (LONGEST_CUT + 60, True)):
            given = mark(watched.topology, 1, expires=watched.topology.now() + expires)
            taken = await routing.accepted(given.encode())
            assert taken is not None
            assert taken.position == 1
            assert (taken.expires < given.expires) is cut


def mark(topology: Topology, position: int | None, expires: float | None = None) -> Bookmark:
    ends = topology.now() + 60 if expires is None else expires
    return Bookmark(topology.history, position, {}, covered=True, expires=ends, made=time.time())
