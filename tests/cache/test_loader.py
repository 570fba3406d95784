"""Misses of one moment are one load; whatever fails, everybody who waits is told, and no lease is
left lying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repocache.bookmark import Seen
from repocache.cache.entry import CachedRow, CacheSettings, Row
from repocache.cache.inflight import InflightLoad
from repocache.cache.loader import ANY_NODE, Loader
from repocache.cache.policies import WriteThrough
from repocache.cache.switch import Gate
from repocache.cache.values import Values
from repocache.errors import DatabaseUnavailable, NotStarted
from repocache.events import CacheFailed, Filled
from repocache.keys import bucket_of, owner_bucket
from repocache.records import CallerHistory, Intent, Lease, OpenReply, OpenRequest
from tests.cache.one_process import USERS, Process, neighbours, process, row, turns, until

PATIENT = CacheSettings(patience=30, lease=60)
STRICT = WriteThrough(ttl=300, negative_ttl=30, jitter=0, strict=True)


@dataclass
class Harbour:
    """Where the flights come down."""

    landed: dict[int, tuple[Row | None, str]] = field(default_factory=dict)
    kept: dict[int, bool] = field(default_factory=dict)
    failures: dict[int, BaseException] = field(default_factory=dict)
    distrusts: int = 0
    distrusted: Callable[[InflightLoad], object] = id

    def opened(self, flight: InflightLoad, answer: OpenReply) -> bool:
        flight.began = (
            Seen(answer.incarnation, answer.seq),
            Seen(answer.owner.incarnation, answer.owner.seq),
        )
        self.distrusts -= 1
        if self.distrusts < 0:
            return True
        self.distrusted(flight)
        return False

    def answered(self, flight: InflightLoad, cell: CachedRow, tier: str) -> None:
        assert flight.key[1] not in self.landed
        self.landed[flight.key[1]] = (cell.row, tier)
        flight.resolve(cell)

    def ended(self, flight: InflightLoad, keep: bool) -> None:
        self.kept[flight.key[1]] = keep

    def failed(self, flight: InflightLoad, error: BaseException) -> None:
        self.failures[flight.key[1]] = error


class Watched(Loader):
    """Tells what becomes of each load, and nobody else."""

    harbour: Harbour

    def _answer(self, load: InflightLoad, cached: CachedRow, tier: str) -> None:
        self.harbour.answered(load, cached, tier)

    def _end(self, load: InflightLoad, *, landed: bool) -> None:
        self.harbour.ended(load, landed)

    def _fail(self, loads: Sequence[InflightLoad], error: BaseException) -> None:
        for load in loads:
            self.harbour.failed(load, error)


@dataclass
class Port:
    """A loader at work in a process, and what came of it."""

    here: Process
    harbour: Harbour
    loader: Loader

    def load(self, *ids: int, **how: Any) -> None:
        for id in ids:
            text, own = USERS.text(id), owner_bucket("user")
            flight = InflightLoad(("user", id), text, bucket_of(text), own, None)
            for name, value in how.items():
                setattr(flight, name, value)
            self.loader._enqueue(flight)

    async def done(self, *ids: int) -> None:
        await until(
            lambda: all(id in self.harbour.kept or id in self.harbour.failures for id in ids)
        )

    async def lies_there(self, id: int) -> str:
        """What the records answer to somebody who asks for it now."""
        return (
            await self.here.records.real.open(ask_for(id), CallerHistory(self.here.primary.history))
        ).kind


def ask_for(id: int) -> OpenRequest:
    text = USERS.text(id)
    return OpenRequest(bucket_of(text), owner_bucket("user"), "user", "f1", text, 60.0)


def lease_of(ask: OpenRequest, opened: OpenReply) -> Lease:
    return Lease(ask, opened.incarnation, opened.generation, opened.nonce)


def port(here: Process) -> Port:
    harbour = Harbour()
    values = Values(here.source, here.shared.settings.max_value, here.seen)
    loader = Watched(here.source, here.shared, values, Gate())
    loader.harbour = harbour
    loader._leases._opened = harbour.opened  # type: ignore[method-assign,assignment]
    return Port(here, harbour, loader)


@pytest.fixture
async def at() -> AsyncIterator[Port]:
    async with process(PATIENT) as here:
        yield port(here)


async def test_misses_of_one_moment_are_one_load(at: Port) -> None:
    at.load(1, 2)
    at.load(3)
    call = await at.here.call(0)
    assert call.ids == [1, 2, 3]
    call.brings(1, 3)
    await at.done(1, 2, 3)
    assert at.harbour.landed == {
        1: (row(1), "database"),
        2: (None, "database"),
        3: (row(3), "database"),
    }
    assert at.harbour.kept == dict.fromkeys((1, 2, 3), True)
    assert [event.landed for event in at.here.seen.of(Filled)] == [True] * 3
    assert await at.lies_there(1) == "value"
    assert len(at.here.loads.calls) == 1


async def test_two_loads_are_under_way_and_what_comes_meanwhile_travels_together(at: Port) -> None:
    at.load(1)
    first = await at.here.call(0)
    at.load(2)
    second = await at.here.call(1)
    for id in (3, 4, 5):
        at.load(id)
        await turns()
    assert len(at.here.loads.calls) == 2
    second.brings(2)
    assert (await at.here.call(2)).ids == [3, 4, 5]
    at.load(6)
    await turns()
    assert len(at.here.loads.calls) == 3
    first.brings(1)
    assert (await at.here.call(3)).ids == [6]


async def settled(at: Port, count: int) -> list[int]:
    """Ids in one bucket whose floor is known, so that a replica may fill them."""
    first, *ids = neighbours(count + 1)
    at.load(first)
    (await at.here.call(len(at.here.loads.calls))).brings()
    await until(lambda: "settle" in at.here.records.sent)
    await at.done(first)
    await turns()
    for told in (at.here.loads.calls, at.here.records.sent, at.harbour.landed, at.harbour.kept):
        told.clear()
    return ids


def elsewhere(count: int) -> list[int]:
    """Ids in buckets of their own, whose floors are not known, so that only the primary may fill
    them."""
    found: dict[int, int] = {bucket_of(USERS.text(id)): id for id in range(99, 0, -1)}
    del found[bucket_of(USERS.text(1))]
    return list(found.values())[:count]


async def test_so_are_two_loads_of_replicas(at: Port) -> None:
    one, two, *rest = await settled(at, 6)
    at.load(one)
    first = await at.here.call(0)
    at.load(two)
    await at.here.call(1)
    for id in rest:
        at.load(id)
        await turns()
    assert len(at.here.loads.calls) == 2
    first.brings(one)
    call = await at.here.call(2)
    assert call.ids == rest
    assert {(want.floor, want.fills, want.primary) for want in call.wanted} == {(100, True, False)}


async def test_loads_that_are_stuck_at_the_primary_hold_up_nobody(at: Port) -> None:
    """The primary takes connections and says nothing: what a replica may answer is answered."""
    ids = await settled(at, 4)
    stuck = elsewhere(4)
    for id in stuck:
        at.load(id)
        await turns()
    calls = at.here.loads.calls
    assert [call.ids for call in calls] == [[id] for id in stuck[:2]], "no more of it wait there"
    for number, id in enumerate(ids, start=2):
        at.load(id)
        (await at.here.call(number)).brings(id)
        await at.done(id)
    assert {id: at.harbour.kept[id] for id in ids} == dict.fromkeys(ids, True)
    calls[0].brings(stuck[0])
    calls[1].answer.set_exception(ValueError("why"))
    await at.done(*stuck[:2])
    assert list(at.harbour.failures) == [stuck[1]]
    at.here.loads.rows = {}
    (await at.here.call(6)).brings(*stuck[2:])
    await at.done(*stuck)


async def test_of_one_batch_those_of_the_primary_wait_there_and_the_others_do_not(at: Port) -> None:
    [replicas] = await settled(at, 1)
    stuck = elsewhere(3)
    for id in stuck[:2]:
        at.load(id)
        await turns()
    at.load(stuck[2], replicas)
    assert (await at.here.call(2)).ids == [replicas]
    at.here.loads.calls[2].brings(replicas)
    await at.done(replicas)
    assert (at.harbour.landed, at.harbour.kept) == (
        {replicas: (row(replicas), "database")},
        {replicas: True},
    )


async def test_who_waits_for_the_primary_is_told_when_it_is_left() -> None:
    async with process(PATIENT) as here:
        at = port(here)
        stuck = elsewhere(4)
        for id in stuck:
            at.load(id)
            await turns()
        assert len(here.loads.calls) == 2
    await at.done(*stuck)
    assert [type(at.harbour.failures[id]) for id in stuck] == [DatabaseUnavailable] * 2 + [
        NotStarted
    ] * 2


async def test_a_session_and_who_has_none_are_asked_for_apart(at: Port) -> None:
    """What the session asks for may be more than any replica has."""
    with_one, without = await settled(at, 2)
    at.load(with_one, bookmark=at.here.bookmark(500))
    at.load(without)
    calls = {call.ids[0]: call for call in (await at.here.call(0), await at.here.call(1))}
    calls[with_one].answer.set_exception(ValueError("nobody has it"))
    calls[without].brings(without)
    await at.done(with_one, without)
    assert list(at.harbour.failures) == [with_one]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 7))
async def test_each_key_is_loaded_once_in_batches_no_larger_than_allowed(
    moments: list[int], size: int
) -> None:
    async with process(replace(PATIENT, batch=size)) as here:
        at = port(here)
        here.loads.rows = {}
        ids = iter(range(1, 99))
        for count in moments:
            at.load(*(next(ids) for _ in range(count)))
            await asyncio.sleep(0)
        wanted = list(range(1, sum(moments) + 1))
        await at.done(*wanted)
        assert sorted(id for call in here.loads.calls for id in call.ids) == wanted
        assert max(len(call.ids) for call in here.loads.calls) <= size
        assert sorted(at.harbour.landed) == wanted


async def test_the_leases_come_before_the_rows_and_the_answer_before_the_fill(at: Port) -> None:
    at.here.records.held.add("open")
    at.load(1)
    await turns()
    assert (at.here.records.sent, at.here.loads.calls) == (["open"], [])
    at.here.records.let_go()
    at.here.records.held.add("fill")
    (await at.here.call(0)).brings(1)
    await until(lambda: at.harbour.landed)
    await turns()
    assert at.harbour.kept == {}
    at.here.records.let_go()
    await at.done(1)


async def test_a_fill_whose_lease_was_voided_is_not_kept(at: Port) -> None:
    at.load(1)
    call = await at.here.call(0)
    await at.here.change(1)
    call.brings(1)
    await at.done(1)
    assert at.harbour.landed == {1: (row(1), "database")}
    assert at.harbour.kept == {1: False}
    assert await at.lies_there(1) == "lease"


async def test_the_floor_of_each_is_the_records(at: Port) -> None:
    one, other = neighbours(2)
    at.load(one)
    (await at.here.call(0)).brings()
    await until(lambda: "settle" in at.here.records.sent)
    await turns()
    at.load(other)
    assert [(want.floor, want.history) for call in at.here.loads.calls for want in call.wanted] == [
        (None, "h1")
    ]
    assert [(want.floor, want.history) for want in (await at.here.call(1)).wanted] == [(100, "h1")]


async def test_a_load_that_fails_is_everybodys_who_waits_for_it_and_leaves_no_lease(
    at: Port,
) -> None:
    at.load(1, 2)
    (await at.here.call(0)).answer.set_exception(ValueError("why"))
    await at.done(1, 2)
    assert [str(error) for error in at.harbour.failures.values()] == ["why", "why"]
    assert at.harbour.landed == {}
    assert await at.lies_there(1) == "lease"
    at.load(3)
    assert (await at.here.call(1)).ids == [3]


async def test_without_the_primary_any_node_answers_and_nothing_is_filled(at: Port) -> None:
    at.load(1)
    (await at.here.call(0)).answer.set_exception(DatabaseUnavailable("the primary is away"))
    again = await at.here.call(1)
    assert [want.floor for want in again.wanted] == [ANY_NODE]
    again.brings(1)
    await at.done(1)
    assert at.harbour.landed == {1: (row(1), "database")}
    assert at.harbour.kept == {1: False}
    assert await at.lies_there(1) == "lease"


async def test_a_replica_that_may_not_fill_answers_all_the_same(at: Port) -> None:
    """The primary was not heard for so long that nobody knows how far behind a replica is: it
    answers, and what it says is not stored."""
    [id] = await settled(at, 1)
    at.load(id)
    call = await at.here.call(0)
    assert [want.fills for want in call.wanted] == [True]
    call.answer.set_exception(DatabaseUnavailable("no replica is known to be within max_lag"))
    again = await at.here.call(1)
    assert [(want.floor, want.fills) for want in again.wanted] == [(ANY_NODE, False)]
    again.brings(id)
    await at.done(id)
    assert (at.harbour.landed, at.harbour.kept) == ({id: (row(id), "database")}, {id: False})
    assert await at.lies_there(id) == "lease"


async def test_a_bookmark_holds_where_nothing_is_filled(at: Port) -> None:
    [id] = await settled(at, 1)
    mark = at.here.bookmark(500)
    at.load(id, bookmark=mark)
    (await at.here.call(0)).answer.set_exception(DatabaseUnavailable("away"))
    again = await at.here.call(1)
    assert [(want.floor, want.bookmark) for want in again.wanted] == [(ANY_NODE, mark)]
    again.answer.set_exception(DatabaseUnavailable("away"))
    await at.done(id)
    assert len(at.here.loads.calls) == 2, "nobody may answer: that is not asked for ever"


async def test_who_needs_the_primary_takes_nobody_along(at: Port) -> None:
    settled, other = neighbours(2)
    unknown = next(
        id for id in range(1, 99) if bucket_of(USERS.text(id)) != bucket_of(USERS.text(settled))
    )
    at.load(settled)
    (await at.here.call(0)).brings()
    await until(lambda: "settle" in at.here.records.sent)
    await turns()
    at.load(other, unknown)
    calls = {call.ids[0]: call for call in (await at.here.call(1), await at.here.call(2))}
    calls[unknown].answer.set_exception(ValueError("the primary's"))
    calls[other].brings(other)
    await at.done(other, unknown)
    assert list(at.harbour.failures) == [unknown]
    assert at.harbour.landed[other] == (row(other), "database")


async def test_nobody_may_answer_is_not_asked_twice(at: Port) -> None:
    at.load(1, direct=True)
    call = await at.here.call(0)
    assert [want.floor for want in call.wanted] == [ANY_NODE]
    call.answer.set_exception(DatabaseUnavailable("all away"))
    await at.done(1)
    assert (len(at.here.loads.calls), at.here.records.sent) == (1, [])


async def test_past_the_cache_no_record_is_asked_and_nothing_is_kept(at: Port) -> None:
    at.load(1, direct=True)
    (await at.here.call(0)).brings(1)
    await at.done(1)
    assert (at.harbour.kept, at.here.records.sent) == ({1: False}, [])


@pytest.mark.parametrize("how", ["refuses", "loses"])
@pytest.mark.parametrize("what", ["open", "fill"])
async def test_a_redis_that_is_away_costs_no_answer(at: Port, what: str, how: str) -> None:
    getattr(at.here.records, how).add(what)
    at.here.loads.rows = {1: row(1)}
    at.load(1, 2)
    await at.done(1, 2)
    assert at.harbour.landed == {1: (row(1), "database"), 2: (None, "database")}
    assert at.harbour.kept == {1: False, 2: False}
    assert [event.what for event in at.here.seen.of(CacheFailed)] == [what]


async def test_leaving_fails_those_who_wait() -> None:
    async with process(PATIENT) as here:
        at = port(here)
        at.load(1, 2)
        await here.call(0)
        at.load(3)
        await here.call(1)
        at.load(4)
        await turns()
    await at.done(1, 2, 3, 4)
    kinds = {id: type(error) for id, error in at.harbour.failures.items()}
    assert kinds == {
        1: DatabaseUnavailable,
        2: DatabaseUnavailable,
        3: DatabaseUnavailable,
        4: NotStarted,
    }
    assert [await at.lies_there(id) for id in (1, 2, 3)] == ["lease"] * 3
    at.load(5)
    await at.done(5)
    assert isinstance(at.harbour.failures[5], NotStarted)


async def test_leaving_fails_those_who_wait_for_anothers_load() -> None:
    async with process(PATIENT) as here:
        at = port(here)
        assert await at.lies_there(1) == "lease"
        at.load(1)
        await until(lambda: here.records.sent.count("open") > 1)
    await at.done(1)
    assert isinstance(at.harbour.failures[1], DatabaseUnavailable)


async def test_anothers_load_is_waited_for(at: Port) -> None:
    ask = ask_for(1)
    opened = await at.here.records.real.open(ask, CallerHistory("h1"))
    at.load(1)
    await until(lambda: at.here.records.sent.count("open") > 2)
    value, life = Values(at.here.source, 1000, at.here.seen).encode(ask.text, row(1))
    assert await at.here.records.real.fill(lease_of(ask, opened), CallerHistory("h1"), value, life)
    await at.done(1)
    assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "l2")}, {1: True})
    assert at.here.loads.calls == []


async def test_who_waited_in_vain_reads_and_fills_neither_tier() -> None:
    async with process(replace(PATIENT, patience=0.01)) as here:
        at = port(here)
        assert await at.lies_there(1) == "lease"
        at.load(1)
        (await here.call(0)).brings(1)
        await at.done(1)
        assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "database")}, {1: False})
        assert "fill" not in here.records.sent
        assert await at.lies_there(1) == "wait"


async def test_a_lease_that_was_given_up_is_taken_over(at: Port) -> None:
    assert await at.lies_there(1) == "lease"
    at.load(1)
    await until(lambda: at.here.records.sent.count("open") > 1)
    await at.here.change(1)
    (await at.here.call(0)).brings(1)
    await at.done(1)
    assert at.harbour.kept == {1: True}
    assert await at.lies_there(1) == "value"


async def test_waiting_for_anothers_load_holds_up_nobody(at: Port) -> None:
    for id in (1, 2, 3):
        assert await at.lies_there(id) == "lease"
        at.load(id)
        await turns()
    at.load(4)
    assert (await at.here.call(0)).ids == [4]


async def test_a_value_that_cannot_be_read_gives_way(at: Port) -> None:
    ask = ask_for(1)
    opened = await at.here.records.real.open(ask, CallerHistory("h1"))
    assert await at.here.records.real.fill(
        lease_of(ask, opened), CallerHistory("h1"), b"V\xc1", 60.0
    )
    at.load(1)
    (await at.here.call(0)).brings(1)
    await at.done(1)
    assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "database")}, {1: True})


async def test_an_answer_that_is_not_believed_is_asked_for_again(at: Port) -> None:
    at.harbour.distrusts = 2
    at.harbour.distrusted = lambda flight: at.here.records.real._renew(flight.bucket, "h1")
    at.here.loads.rows = {1: row(1)}
    at.load(1)
    await at.done(1)
    assert at.here.records.sent.count("open") == 3


async def test_the_lease_in_it_is_given_back(at: Port) -> None:
    """Or the flight would wait for itself."""
    at.harbour.distrusts = 2
    at.here.loads.rows = {1: row(1)}
    at.load(1)
    await at.done(1)
    assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "database")}, {1: True})
    assert at.here.records.sent.count("open") == 3


async def test_one_that_redis_does_not_take_back_fails_nobody() -> None:
    async with process(CacheSettings(patience=0.05, lease=60)) as here:
        at = port(here)
        at.harbour.distrusts = 1
        here.records.refuses = {"fill"}
        here.loads.rows = {1: row(1)}
        at.load(1)
        await at.done(1)
        assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "database")}, {1: False})
        assert [event.what for event in here.seen.of(CacheFailed)] == ["fill"]


async def test_so_is_that_of_an_answer_under_another_history(at: Port) -> None:
    """Which nobody may replace, for the primary does not say what it is now: others may live in
    it."""
    at.here.records.held = {"open"}
    at.load(1)
    await until(lambda: at.here.records.waiting)
    at.here.primary.history, at.here.primary.away = "h2", True
    at.here.records.let_go()
    call = await at.here.call(0)
    call.brings(1)
    await at.done(1)
    assert (await at.here.records.real.open(ask_for(1), CallerHistory("h1"))).kind == "lease"


async def test_one_that_is_never_believed_ends_past_the_cache(at: Port) -> None:
    at.harbour.distrusts = 99
    at.load(1)
    call = await at.here.call(0)
    assert [want.floor for want in call.wanted] == [ANY_NODE]
    call.brings(1)
    await at.done(1)
    assert at.harbour.kept == {1: False}


async def lives_in(at: Port, history: str, *ids: int) -> None:
    """Records of another history, in which these keys are kept."""
    for id in ids:
        ask = ask_for(id)
        opened = await at.here.records.real.open(ask, CallerHistory(history))
        if opened.kind == "history":
            opened = await at.here.records.real.open(ask, CallerHistory(history, confirmed=True))
        assert await at.here.records.real.fill(
            lease_of(ask, opened), CallerHistory(history), b"V\x91\xa3old", 60.0
        )


async def test_a_record_of_another_history_is_made_anew_after_a_poll(at: Port) -> None:
    await lives_in(at, "h0", 1)
    at.here.primary.gated = True
    at.load(1)
    await until(lambda: at.here.primary.polls)
    await turns()
    assert at.here.loads.calls == []
    at.here.primary.gated = False
    at.here.primary.polls[0].set_result(None)
    (await at.here.call(0)).brings(1)
    await at.done(1)
    assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "database")}, {1: True})


async def test_met_again_it_is_left_alone_and_read_past(at: Port) -> None:
    at.here.loads.rows = {1: row(1)}
    await lives_in(at, "h0", 1)
    at.load(1)
    await at.done(1)
    await lives_in(at, "h0", 1)
    at = port(at.here)
    at.load(1)
    await at.done(1)
    assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "database")}, {1: False})
    assert (await at.here.records.real.open(ask_for(1), CallerHistory("h0"))).kind == "value"


async def test_without_the_primarys_word_a_foreign_record_is_left_alone(at: Port) -> None:
    await lives_in(at, "h0", 1)
    at.here.primary.away = True
    at.load(1)
    call = await at.here.call(0)
    assert [want.floor for want in call.wanted] == [ANY_NODE]
    call.brings(1)
    await at.done(1)
    assert at.harbour.kept == {1: False}


async def test_a_record_of_a_newer_timeline_is_left_alone_and_the_primary_looked_for(
    at: Port,
) -> None:
    """1. The primary fails over, and its old server lives on; 2. others live with the new one; 3.
    this process has not noticed, and its poll is answered by the old one."""
    at.here.primary.history = "s.1.a"
    await lives_in(at, "s.2.b", 1)
    at.load(1)
    call = await at.here.call(0)
    assert at.here.primary.met_histories == ["s.2.b"]
    call.brings(1)
    await at.done(1)
    assert (at.harbour.landed, at.harbour.kept) == ({1: (row(1), "database")}, {1: False})
    assert (await at.here.records.real.open(ask_for(1), CallerHistory("s.2.b"))).kind == "value"


async def test_an_older_one_gives_way_if_the_primary_says_so_by_name(at: Port) -> None:
    at.here.primary.history = "s.2.b"
    at.here.loads.rows = {1: row(1)}
    await lives_in(at, "s.1.a", 1)
    at.load(1)
    await at.done(1)
    assert (at.harbour.kept, at.here.primary.met_histories) == ({1: True}, ["s.1.a"])


def strict(here: Process) -> Port:
    return port(replace(here, source=replace(here.source, policy=STRICT)))


async def test_of_a_strict_owner_nobody_answers_then(at: Port) -> None:
    """The primary here shows the past, and strict values are never stale."""
    at = strict(at.here)
    at.here.primary.history = "s.1.a"
    await lives_in(at, "s.2.b", 1)
    at.load(1)
    await at.done(1)
    assert isinstance(at.harbour.failures[1], DatabaseUnavailable)
    assert (at.here.loads.calls, at.here.primary.met_histories) == ([], ["s.2.b"])


@pytest.mark.parametrize("history", ["s.1.z", "t.9.a"])
async def test_it_is_read_on_the_primary_where_the_other_history_is_no_newer_one(
    at: Port, history: str
) -> None:
    at = strict(at.here)
    at.here.primary.history, at.here.primary.away = "s.1.a", True
    await lives_in(at, history, 1)
    at.load(1)
    call = await at.here.call(0)
    assert [(want.floor, want.primary) for want in call.wanted] == [(None, True)]
    call.brings(1)
    await at.done(1)
    assert at.harbour.kept == {1: False}


@pytest.mark.parametrize("decided", [True, False, None])
async def test_an_overdue_write_lease_gives_way_to_a_word_that_its_transaction_has_ended(
    at: Port, decided: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is no such word: the transaction may commit yet, and a value from before it must
    not be filled."""

    async def in_progress(xid: str) -> bool:
        assert xid == "77"
        if decided is None:
            raise DatabaseUnavailable("the primary does not say")
        return not decided

    monkeypatch.setattr(at.here.primary, "in_progress", in_progress)
    at.here.loads.rows = {1: row(1)}
    await at.lies_there(1)
    ask = ask_for(1)
    intent = Intent(ask.bucket, (("user", ask.text),), (), (), "n", "77", 0.0)
    await at.here.records.real.intend(intent, CallerHistory("h1"))
    at.load(1)
    await at.done(1)
    assert at.harbour.landed == {1: (row(1), "database")}
    assert at.harbour.kept == {1: decided is True}
    [call] = at.here.loads.calls
    assert [(want.primary, want.fills) for want in call.wanted] == [(True, decided is True)]
    assert await at.lies_there(1) == ("value" if decided else "written")


async def test_an_error_that_nobody_expects_is_told_too(
    at: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("why")

    await lives_in(at, "h0", 1)
    monkeypatch.setattr(at.here.primary, "insert_position", broken)
    at.load(1)
    await at.done(1)
    assert isinstance(at.harbour.failures[1], RuntimeError)


async def test_an_answer_from_before_a_failover_is_asked_for_again(at: Port) -> None:
    """1. asked under one history; 2. a failover is noticed; 3. the old answer comes."""
    at.here.records.held.add("open")
    at.load(1)
    await until(lambda: at.here.records.waiting)
    at.here.primary.history = "h2"
    at.here.records.let_go()
    call = await at.here.call(0)
    assert [want.history for want in call.wanted] == ["h2"]
    call.brings(1)
    await at.done(1)
    assert at.harbour.kept == {1: True}
