"""Whoever asks gets a poll that began after it asked, and shares it with all who asked since the
last one began."""

import asyncio

import pytest

from repocache.events import Event, TaskFailed, ignore
from repocache.nodes.shared_poll import SharedPoll


class Counting:
    """Polls that end when they are let; the outcome is the number of the poll."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Semaphore(0)

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.gate.acquire()
        return number


async def begun(polls: Counting, count: int) -> None:
    async with asyncio.timeout(10):
        while polls.begun < count:  # noqa: ASYNC110 - what is polled knows of no event
            await asyncio.sleep(0)


async def test_a_poll_in_flight_answers_nobody_who_asked_later() -> None:
    polls = Counting()
    shared = SharedPoll(polls, 3600.0, ignore)
    async with shared:
        early = shared.ask()
        await begun(polls, 1)
        late, later = shared.ask(), shared.ask()
        polls.gate.release()
        assert await early == 1
        assert not late.done()
        polls.gate.release()
        assert [await late, await later] == [2, 2]
        assert polls.begun == 2


async def test_it_polls_by_itself() -> None:
    polls = Counting()
    async with SharedPoll(polls, 0.001, ignore):
        for count in range(1, 4):
            await begun(polls, count)
            polls.gate.release()


async def test_one_who_gives_up_does_not_disturb_the_others() -> None:
    polls = Counting()
    shared = SharedPoll(polls, 3600.0, ignore)
    async with shared:
        first, second = shared.ask(), shared.ask()
        first.cancel()
        polls.gate.release()
        assert await second == 1


@pytest.mark.parametrize("in_flight", [True, False])
async def test_nobody_waits_for_a_poll_that_has_ended(in_flight: bool) -> None:
    polls = Counting()
    shared = SharedPoll(polls, 3600.0, ignore)
    async with shared:
        asked = shared.ask()
        if in_flight:
            await begun(polls, 1)
        waiting = shared.ask()
    assert [await asked, await waiting] == [None, None]
    assert await shared.ask() is None


async def test_a_nudge_polls_for_nobody() -> None:
    polls = Counting()
    shared = SharedPoll(polls, 3600.0, ignore)
    async with shared:
        shared.nudge()
        await begun(polls, 1)


class Failing:
    """Raises so many times, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self) -> int:
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        return 7


async def test_who_waits_for_a_poll_that_raises_is_answered_and_the_next_one_comes() -> None:
    events: list[Event] = []
    polls = Failing(OSError("why"), ConnectionError("why not"))
    async with asyncio.timeout(10), SharedPoll(polls, 3600.0, events.append) as shared:
        assert await shared.ask() is None
        assert await shared.ask() is None
        assert await shared.ask() == 7
        assert [event.why for event in events if isinstance(event, TaskFailed)] == [
            "OSError: why",
            "ConnectionError: why not",
        ]


@pytest.mark.parametrize("in_flight", [True, False])
async def test_who_waits_for_a_poll_that_is_cancelled_is_answered_too(in_flight: bool) -> None:
    events: list[Event] = []
    polls = Counting()
    async with asyncio.timeout(10), SharedPoll(polls, 3600.0, events.append) as shared:
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        asked = shared.ask()
        if in_flight:
            await begun(polls, 1)
        late = shared.ask()
        task.cancel()
        assert [await asked, await late] == [None, None]
        assert [event.why for event in events if isinstance(event, TaskFailed)] == ["cancelled"]
        again = shared.ask()
        polls.gate.release()
        assert await again == polls.begun


def test_it_polls_in_one_loop_after_the_other() -> None:
    shared = SharedPoll(Failing(), 3600.0, ignore)

    async def polls() -> list[int | None]:
        async with asyncio.timeout(10), shared:
            waiting = [shared.ask() for _ in range(3)]
            return [await each for each in waiting] + [await shared.ask()]

    assert [asyncio.run(polls()) for _ in range(3)] == [[7, 7, 7, 7]] * 3
