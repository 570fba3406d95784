"""An unknown floor is settled once, by a poll that began after the record was met."""

from __future__ import annotations

import pytest

from repocache.cache.settler import FAR
from repocache.events import CacheFailed, TaskFailed
from repocache.records import CallerHistory, OpenReply, OpenRequest
from tests.cache.one_process import USERS, Process, process, turns, until

ASK = OpenRequest(17, 18, "user", "f1", USERS.text(7), 5.0)


async def met(here: Process) -> OpenReply:
    return await here.records.real.open(ASK, CallerHistory("h1"))


async def floor(here: Process) -> int | None:
    return (await here.records.real.open(ASK, CallerHistory("h1"))).floor


async def test_the_floor_is_where_the_primary_stands() -> None:
    async with process() as here:
        opened = await met(here)
        here.shared.settler.settle(17, opened.incarnation, None)
        await until(lambda: here.records.sent == ["settle"])
        assert await floor(here) == 100


async def test_many_who_meet_it_ask_once() -> None:
    async with process() as here:
        opened = await met(here)
        here.primary.gated = True
        for _ in range(5):
            here.shared.settler.settle(17, opened.incarnation, None)
            await turns()
        assert len(here.primary.polls) == 1
        here.shared.settler.settle(18, opened.incarnation, None)
        here.shared.settler.settle(17, "another", None)
        await turns()
        assert len(here.primary.polls) == 3


async def test_a_record_made_anew_during_the_poll_stays_unknown() -> None:
    """1. the record is met; 2. the poll begins; 3. a commit whose position is not known makes it
    anew; 4. the poll ends, with a position from before that commit."""
    async with process() as here:
        opened = await met(here)
        here.primary.gated = True
        here.shared.settler.settle(17, opened.incarnation, None)
        await until(lambda: here.primary.polls)
        here.records.real._renew(17, "h1")
        here.primary.polls[0].set_result(None)
        await until(lambda: here.records.sent == ["settle"])
        await turns()
        assert await floor(here) is None


async def test_without_positions_nothing_is_asked() -> None:
    async with process() as here:
        here.primary.history = ""
        here.shared.settler.settle(17, (await met(here)).incarnation, None)
        await turns()
        assert here.primary.polls == []


async def test_a_primary_that_is_away_settles_nothing_and_is_asked_again() -> None:
    async with process() as here:
        opened = await met(here)
        here.primary.away = True
        here.shared.settler.settle(17, opened.incarnation, None)
        await turns()
        assert here.records.sent == []
        here.primary.away = False
        here.shared.settler.settle(17, opened.incarnation, None)
        await until(lambda: here.records.sent == ["settle"])


@pytest.mark.parametrize("how", ["refuses", "loses"])
async def test_a_redis_that_is_away_is_told_and_asked_again(how: str) -> None:
    async with process() as here:
        opened = await met(here)
        getattr(here.records, how).add("settle")
        here.shared.settler.settle(17, opened.incarnation, None)
        await until(lambda: here.seen.of(CacheFailed))
        assert here.seen.of(CacheFailed)[0].what == "settle"
        getattr(here.records, how).clear()
        here.shared.settler.settle(17, opened.incarnation, None)
        await until(lambda: len(here.records.sent) == 2)
        await turns()
        assert await floor(here) == 100
        assert here.seen.of(TaskFailed) == []


async def test_a_floor_far_beyond_what_was_written_makes_the_record_anew() -> None:
    """No replica would ever have replayed it."""
    async with process() as here:
        opened = await met(here)
        here.records.real._records[17].floor = far = here.primary.position + FAR + 1
        here.shared.settler.settle(17, opened.incarnation, far)
        await until(lambda: here.records.sent == ["change"])
        anew = await met(here)
        assert (anew.incarnation != opened.incarnation, anew.floor) == (True, None)
        assert [event.what for event in here.seen.of(CacheFailed)] == ["settle"]


async def test_one_that_the_primary_has_reached_meanwhile_stays() -> None:
    async with process() as here:
        opened = await met(here)
        here.primary.position = FAR * 5
        for floor in (FAR * 5, FAR * 5 + 1, FAR * 6):
            here.shared.settler.settle(17, opened.incarnation, floor)
            await turns()
        assert len(here.primary.polls) == 1, "where it stands is known by then"
        assert here.records.sent == []
        assert (await met(here)).incarnation == opened.incarnation
