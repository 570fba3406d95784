"""The read path: which tier is asked, what of its answer is believed, and what may enter L1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from unittest.mock import patch

import pytest

from repocache.bookmark import Bookmark, Seen
from repocache.cache import tiered
from repocache.cache.entry import CachedRow, CacheSettings
from repocache.cache.loader import ANY_NODE
from repocache.cache.switch import CacheMode
from repocache.errors import DatabaseUnavailable
from repocache.events import CacheFailed, Served, ValueRefused
from repocache.keys import bucket_of, owner_bucket
from repocache.records import CallerHistory, Lease, OpenRequest
from tests.cache.one_process import (
    NEVER_JITTERED,
    USERS,
    Call,
    NobodysSession,
    Process,
    neighbours,
    process,
    row,
    turns,
    until,
)

PATIENT = CacheSettings(patience=30, lease=60)
A, B = neighbours(2)
BUCKET = bucket_of(USERS.text(A))
OLD, NEW = row(A, "old"), row(A, "new")


@pytest.fixture
async def here() -> AsyncIterator[Process]:
    async with process(PATIENT) as here:
        yield here


def kept(here: Process) -> set[int]:
    return {entry.id for entry in here.shared.local.entries()}


def ask_for(id: int) -> OpenRequest:
    text = USERS.text(id)
    return OpenRequest(bucket_of(text), owner_bucket("user"), "user", "f1", text, 60.0)


async def warm(here: Process, *ids: int) -> None:
    """These are in Redis, under names that the process knows, and not in L1; nothing has been sent
    yet."""
    here.loads.rows = {id: row(id, "old") for id in ids}
    await here.rows(*ids)
    await until(lambda: kept(here) >= set(ids) and "settle" in here.records.sent)
    here.shared.local.clear()
    here.loads.rows = None
    here.loads.calls.clear()
    here.records.sent.clear()
    here.seen.clear()


async def brings(here: Process, number: int, **rows: tuple[int, str]) -> Call:
    call = await here.call(number)
    call.answer.set_result({each[0]: each for each in rows.values()})
    return call


async def test_what_was_loaded_is_at_hand(here: Process) -> None:
    here.loads.rows = {A: OLD}
    assert await here.rows(A) == [OLD]
    await until(lambda: kept(here) == {A})
    assert here.users.peek_l1(A) is not None
    assert await here.rows(A) == [OLD]
    assert len(here.loads.calls) == 1


async def test_that_there_is_no_row_is_at_hand_too(here: Process) -> None:
    here.loads.rows = {}
    assert await here.rows(A) == [None]
    await until(lambda: kept(here) == {A})
    assert await here.rows(A) == [None]
    assert len(here.loads.calls) == 1


async def test_what_redis_has_is_asked_for_by_name(here: Process) -> None:
    await warm(here, A)
    assert await here.rows(A) == [OLD]
    assert here.records.sent == ["get"]
    [served] = here.seen.of(Served)
    assert (served.tier, served.key, served.size > 0) == ("l2", "user:1", True)
    assert kept(here) == {A}


async def test_where_nothing_is_known_a_script_tells_and_names_are_known_from_then_on(
    here: Process,
) -> None:
    await warm(here, A, B)
    async with process(PATIENT, records=here.records.real) as other:
        assert await other.rows(A) == [OLD]
        assert await other.rows(B) == [row(B, "old")]
        assert other.records.sent == ["open", "get"]
        assert kept(other) == {A, B}


async def test_many_are_in_the_order_asked_whichever_tier_has_them(here: Process) -> None:
    far = next(id for id in range(1, 99) if bucket_of(USERS.text(id)) != BUCKET)
    await warm(here, A, B)
    await here.rows(B)
    read = here.read(far, B, A)
    await brings(here, 0, far=row(far))
    assert [(id, cell.row) for id, cell in (await read).items()] == [
        (far, row(far)),
        (B, row(B, "old")),
        (A, OLD),
    ]


async def test_callers_of_one_moment_share_a_load_and_one_that_goes_away_takes_nobody_along(
    here: Process,
) -> None:
    reads = [here.read(A) for _ in range(3)]
    call = await here.call(0)
    reads[0].cancel()
    await turns()
    call.brings(A)
    assert [(await read)[A].row for read in reads[1:]] == [row(A)] * 2
    await until(lambda: kept(here) == {A})
    assert len(here.loads.calls) == 1


async def test_nobody_joins_a_load_from_before_an_invalidation(here: Process) -> None:
    before = here.read(A)
    call = await here.call(0)
    await here.change(A)
    after = here.read(A)
    await brings(here, 1, a=NEW)
    assert (await after)[A].row == NEW
    await until(lambda: kept(here) == {A})
    call.answer.set_result({A: OLD})
    assert (await before)[A].row == OLD
    await turns()
    assert await here.rows(A) == [NEW]


async def test_a_load_that_fails_fails_all_and_the_next_reads_anew(here: Process) -> None:
    reads = [here.read(A), here.read(A)]
    (await here.call(0)).answer.set_exception(ValueError("why"))
    for read in reads:
        with pytest.raises(ValueError, match="why"):
            await read
    again = here.read(A)
    await brings(here, 1, a=NEW)
    assert (await again)[A].row == NEW


async def test_what_did_not_land_stays_out_of_l1(here: Process) -> None:
    read = here.read(A)
    call = await here.call(0)
    await here.change(A)
    call.answer.set_result({A: OLD})
    assert (await read)[A].row == OLD
    await turns(20)
    assert kept(here) == set()


async def test_what_landed_and_was_invalidated_before_its_answer_stays_out_of_l1(
    here: Process,
) -> None:
    here.records.held.add("fill")
    read = here.read(A)
    await brings(here, 0, a=OLD)
    await read
    await until(lambda: here.records.waiting)
    await here.change(A)
    here.records.let_go()
    await turns(20)
    assert kept(here) == set()


async def test_what_landed_on_another_connection_than_it_was_leased_on_stays_out_of_l1(
    here: Process,
) -> None:
    """1. The connection is lost under a load; 2. its fill lands on the next; 3. the key's message
    is lost; 4. that of another key makes the view: where there was none, nobody sees the gap."""
    here.records.held.add("fill")
    read = here.read(A)
    call = await here.call(0)
    here.views.down()
    here.views.up()
    call.answer.set_result({A: OLD})
    await read
    await until(lambda: here.records.waiting)
    with patch.object(here.records.real, "_announce"):
        await here.change(A)
    await here.change(B)
    here.records.let_go()
    await turns(20)
    assert kept(here) == set()


async def test_a_value_of_redis_that_was_invalidated_before_its_answer_is_not_kept(
    here: Process,
) -> None:
    await warm(here, A)
    here.records.held.add("get")
    read = here.read(A)
    await until(lambda: here.records.waiting)
    await here.change(A)
    here.records.let_go()
    assert (await read)[A].row == OLD
    assert kept(here) == set()


async def test_a_value_under_a_name_of_before_is_not_believed(here: Process) -> None:
    """1. GET under the old record's name; 2. the record is made anew, which is heard; 3. the
    reply."""
    await warm(here, A)
    here.records.held.add("get")
    read = here.read(A)
    await until(lambda: here.records.waiting)
    await here.change(B, position=None)
    here.records.let_go()
    await brings(here, 0, a=NEW)
    assert (await read)[A].row == NEW


async def test_nor_under_the_name_of_a_generation_that_is_over(here: Process) -> None:
    await warm(here, A)
    here.records.held.add("get")
    read = here.read(A)
    await until(lambda: here.records.waiting)
    await here.change(owners=("user",))
    here.records.let_go()
    await brings(here, 0, a=NEW)
    assert (await read)[A].row == NEW


async def test_a_lease_under_the_name_is_no_value(here: Process) -> None:
    await warm(here, A, B)
    await here.change(A)
    assert (await here.records.real.open(ask_for(A), CallerHistory("h1"))).kind == "lease"
    read = here.read(A)
    await until(lambda: "open" in here.records.sent)
    assert here.records.sent[0] == "get"
    await here.change(A)
    await brings(here, 0, a=NEW)
    assert (await read)[A].row == NEW
    assert here.seen.of(ValueRefused) == []


async def test_what_cannot_be_read_is_replaced(here: Process) -> None:
    await warm(here, A, B)
    await here.change(A)
    opened = await here.records.real.open(ask_for(A), CallerHistory("h1"))
    lease = Lease(ask_for(A), opened.incarnation, opened.generation, opened.nonce)
    assert await here.records.real.fill(lease, CallerHistory("h1"), b"V\xc1", 60.0)
    here.records.sent.clear()
    read = here.read(A)
    await brings(here, 0, a=NEW)
    assert (await read)[A].row == NEW
    await until(lambda: kept(here) == {A})
    assert here.records.sent == ["get", "open", "fill"]


@pytest.mark.parametrize("how", ["refuses", "loses"])
async def test_without_redis_any_node_answers_and_nothing_is_kept(here: Process, how: str) -> None:
    await warm(here, A)
    getattr(here.records, how).add("get")
    read = here.read(A)
    call = await brings(here, 0, a=NEW)
    assert [want.floor for want in call.wanted] == [ANY_NODE]
    assert (await read)[A].row == NEW
    await turns()
    assert (kept(here), here.records.sent) == (set(), ["get"])
    assert [event.what for event in here.seen.of(CacheFailed)] == ["get"]


async def test_a_call_that_was_cancelled_is_as_without_redis(here: Process) -> None:
    await warm(here, A)
    here.records.held.add("get")
    read = here.read(A)
    await until(lambda: here.records.waiting)
    here.records.waiting.pop().cancel()
    assert (await brings(here, 0, a=NEW)).wanted[0].floor == ANY_NODE
    assert (await read)[A].row == NEW


async def test_an_answer_from_before_what_was_heard_is_asked_for_again(here: Process) -> None:
    """1. a lease is taken; 2. the record is made anew, which is heard; 3. the answer with the lease
    comes."""
    here.records.held.add("open")
    read = here.read(A)
    await until(lambda: here.records.waiting)
    await here.change(B, position=None)
    here.records.let_go()
    await brings(here, 0, a=NEW)
    assert (await read)[A].row == NEW
    await until(lambda: kept(here) == {A})
    assert here.records.sent.count("open") == 2


async def test_a_key_that_redis_will_not_give_is_asked_of_the_script(here: Process) -> None:
    await warm(here, A)
    here.records.loses.add("get")
    here.records.failure = RuntimeError("WRONGTYPE")
    assert await here.rows(A) == [OLD]
    assert here.records.sent == ["get", "open"]
    assert [event.what for event in here.seen.of(CacheFailed)] == ["get"]


@pytest.mark.parametrize("why", ["not published", "too many to check"])
async def test_whose_writes_cannot_be_checked_gets_nothing_of_the_cache(
    here: Process, why: str
) -> None:
    await warm(here, A)
    many = Bookmark("h1", 1, None, covered=True, expires=1e12)
    read = here.read(
        A, bookmark=many if why == "too many to check" else here.bookmark(covered=False)
    )
    call = await brings(here, 0, a=NEW)
    assert [(want.floor, want.bookmark is not None) for want in call.wanted] == [(ANY_NODE, True)]
    assert (await read)[A].row == NEW
    await turns()
    assert (here.records.sent, kept(here)) == ([], set())


async def test_a_session_that_wrote_later_does_not_join(here: Process) -> None:
    first = here.read(A, bookmark=here.bookmark(10))
    call = await here.call(0)
    earlier = here.read(A, bookmark=here.bookmark(9))
    await turns()
    assert here.records.sent == ["open"]
    later = here.read(A, bookmark=here.bookmark(11))
    await until(lambda: here.records.sent.count("open") > 1)
    call.answer.set_result({A: OLD})
    assert [(await read)[A].row for read in (first, earlier, later)] == [OLD] * 3


async def test_one_that_may_yet_go_past_the_cache_is_shared_by_nobody(here: Process) -> None:
    """1. A session reads a key of the bucket that it wrote in; 2. before the record has answered,
    somebody comes who may have heard, at the cache, of more than the replica shows that the first
    one may be sent to; 3. the record has not heard of the write: the first one goes past the
    cache."""
    await warm(here, A, B)
    unheard = Bookmark("h1", 9, {BUCKET: Seen("gone", 1)}, covered=True, expires=1e12)
    here.records.held.add("open")
    first = here.read(A, bookmark=unheard)
    await until(lambda: here.records.sent == ["open"])
    second = here.read(A)
    await turns()
    here.records.let_go()
    call = await brings(here, 0, a=OLD)
    assert [(want.floor, want.bookmark, want.fills) for want in call.wanted] == [
        (ANY_NODE, unheard, False)
    ]
    assert [(await read)[A].row for read in (first, second)] == [OLD, OLD]
    assert here.records.sent[0] == "open"
    assert len(here.records.sent) > 1, "it asked for itself"
    assert len(here.loads.calls) == 1, "and the cache answered"


async def test_a_load_past_the_cache_is_shared_until_it_is_sent(here: Process) -> None:
    """On the primary a position is not visibility: see `may_join`."""
    marks = [here.bookmark(10, covered=False) for _ in range(3)]
    together = [here.read(A, bookmark=mark) for mark in marks[:2]]
    call = await here.call(0)
    same = here.read(A, bookmark=marks[0])
    await turns()
    late = here.read(A, bookmark=marks[2])
    other = await here.call(1)
    call.brings(A)
    other.answer.set_result({A: NEW})
    assert [(await read)[A].row for read in (*together, same)] == [row(A)] * 3
    assert (await late)[A].row == NEW
    assert len(here.loads.calls) == 2


async def test_who_uses_the_cache_does_not_join_a_load_past_it_nor_the_other_way_round(
    here: Process,
) -> None:
    past = here.read(A, bookmark=here.bookmark(10, covered=False))
    first = await here.call(0)
    plain = here.read(A)
    second = await here.call(1)
    again = here.read(A, bookmark=here.bookmark(9, covered=False))
    third = await here.call(2)
    for number, call in enumerate((first, second, third)):
        call.answer.set_result({A: row(A, f"{number}")})
    rows = [(await read)[A].row for read in (past, plain, again)]
    assert rows == [row(A, "0"), row(A, "1"), row(A, "2")]


async def test_a_session_that_knows_of_a_newer_timeline_is_answered_by_no_node_here(
    here: Process,
) -> None:
    """The primary here has been replaced, and shows the past."""
    here.primary.history = "s.1.a"
    newer = Bookmark("s.2.b", 1, {}, covered=True, expires=1e12)
    with pytest.raises(DatabaseUnavailable, match="replaced"):
        await here.rows(A, bookmark=newer)
    assert here.loads.calls == []
    older = Bookmark("s.0.b", 1, {}, covered=True, expires=1e12)
    here.loads.rows = {A: OLD}
    assert await here.rows(A, bookmark=older) == [OLD]
    assert here.loads.calls[0].wanted[0].primary


async def test_a_session_asks_redis_for_itself(here: Process) -> None:
    await warm(here, A)
    view = here.views.get(BUCKET)
    assert view is not None
    here.records.held.add("get")
    first = here.read(A, bookmark=here.bookmark(10))
    await until(lambda: here.records.waiting)
    wrote = Bookmark(
        "h1", 9, {BUCKET: Seen(view.incarnation, view.told)}, covered=True, expires=1e12
    )
    second = here.read(A, bookmark=wrote)
    await turns()
    here.records.let_go()
    assert [(await read)[A].row for read in (first, second)] == [OLD, OLD]
    assert here.records.sent == ["get", "get"]


async def test_l1_is_passed_by_for_a_session_that_wrote_what_it_has_not_heard(
    here: Process,
) -> None:
    await warm(here, A)
    await here.rows(A)
    here.session = NobodysSession(here.bookmark())
    assert here.users.peek_l1(A) is not None
    view = here.views.get(BUCKET)
    assert view is not None
    wrote = {BUCKET: Seen(view.incarnation, view.told + 1)}
    here.session = NobodysSession(Bookmark("h1", 1, wrote, covered=True, expires=1e12))
    assert here.users.peek_l1(A) is None


async def test_rows_that_are_not_kept_in_the_process_are_not() -> None:
    async with process(PATIENT, replace(NEVER_JITTERED, local_ttl=0)) as here:
        here.loads.rows = {A: OLD}
        assert await here.rows(A) == [OLD]
        await turns(20)
        assert await here.rows(A) == [OLD]
        assert (kept(here), here.records.sent[-1]) == (set(), "get")


async def test_no_rows_are_not_kept_without_a_negative_time() -> None:
    async with process(PATIENT, replace(NEVER_JITTERED, negative_ttl=0)) as here:
        here.loads.rows = {}
        assert await here.rows(A) == [None]
        await turns(20)
        assert kept(here) == set()


async def test_nothing_enters_l1_while_the_channel_is_down(here: Process) -> None:
    read = here.read(A)
    call = await here.call(0)
    here.views.alive = False
    call.answer.set_result({A: OLD})
    assert (await read)[A].row == OLD
    await turns(20)
    assert kept(here) == set()


async def test_no_flight_is_left(here: Process) -> None:
    here.loads.rows = {A: OLD}
    await asyncio.gather(
        here.rows(A), here.rows(B), here.rows(A, bookmark=here.bookmark(covered=False))
    )
    await until(lambda: len(here.shared.inflight) == 0)


async def test_hits_are_told_to_an_observer_who_asked_for_them() -> None:
    async with process(replace(PATIENT, observe_hits=True)) as here:
        await warm(here, A)
        await here.rows(A)
        here.seen.clear()
        await here.rows(A)
        assert here.seen == [Served("user", "l1", "", "at hand")]


async def test_without_l1_every_read_asks_redis(here: Process) -> None:
    here.users.turn(CacheMode.SHARED)
    here.loads.rows = {A: OLD}
    assert await here.rows(A) == [OLD]
    await turns(20)
    assert await here.rows(A) == [OLD]
    assert (kept(here), here.records.sent[-1], len(here.loads.calls)) == (set(), "get", 1)


async def test_switched_off_only_the_database_is_asked_and_nothing_is_filled(here: Process) -> None:
    await warm(here, A)
    here.users.turn(CacheMode.OFF)
    here.loads.rows = {A: NEW}
    assert await here.rows(A) == [NEW]
    await turns(20)
    assert (here.records.sent, kept(here)) == ([], set())


@pytest.mark.parametrize("ids, others", [(99, 0), (400, 4)])
async def test_others_have_their_turn_while_many_are_read(
    here: Process, ids: int, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiered, "AT_ONCE", 100)
    for id in range(ids):
        here.shared.local.put(("user", id), CachedRow((id, "a")), id % 1024, 60.0, 1)
    turned: list[int] = []

    async def turn() -> None:
        while True:
            turned.append(len(turned))
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    async with asyncio.timeout(10):
        found = await here.users.get_many(range(ids), None)
    turning.cancel()
    assert (list(found), len(turned)) == (list(range(ids)), others)


async def test_an_owner_that_is_switched_begins_without_its_l1(here: Process) -> None:
    await warm(here, A)
    await here.rows(A)
    here.shared.local.put(("order", (1, 2)), CachedRow((1, 2)), 1, 60.0, 1)
    here.users.turn(CacheMode.OFF)
    here.users.turn(CacheMode.ON)
    assert [each.key for each in here.shared.local.entries()] == [("order", (1, 2))]
