"""Nothing runs that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from repocache.background.tasks import PAUSE, Grace, Tasks, all_ended
from repocache.errors import NotStarted
from repocache.events import Event, TaskFailed

FOREVER = 3600.0


async def waits(gate: asyncio.Event, ended: list[str]) -> None:
    try:
        await gate.wait()
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise
    ended.append("done")


async def test_leaving_waits_for_those_that_must_end_and_cancels_the_others() -> None:
    gate, ends, others = asyncio.Event(), list[str](), list[str]()
    async with Tasks(Grace(FOREVER), print) as tasks:
        tasks.spawn_to_end(waits(gate, ends))
        tasks.spawn(waits(asyncio.Event(), others))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(gate.set)
    assert ends == ["done"]
    assert others == ["cancelled"]


async def test_what_must_end_may_spawn_while_the_block_is_left() -> None:
    gate, ended = asyncio.Event(), list[str]()

    async def spawns() -> None:
        await gate.wait()
        tasks.spawn(waits(asyncio.Event(), ended))
        await asyncio.sleep(0)

    async with Tasks(Grace(FOREVER), print) as tasks:
        tasks.spawn_to_end(spawns())
        asyncio.get_running_loop().call_soon(gate.set)
    assert ended == ["cancelled"]


async def test_one_spawned_last_runs_so_far_that_it_can_tell() -> None:
    """Cancelled before its first step a coroutine never runs, and who waits for what it does waits
    for ever."""
    ended: list[str] = []
    async with Tasks(Grace(FOREVER), print) as tasks:
        tasks.spawn(waits(asyncio.Event(), ended))
    assert ended == ["cancelled"]


async def test_leaving_that_is_cancelled_leaves_no_task() -> None:
    gate, ended = asyncio.Event(), list[str]()

    async def owns() -> None:
        async with Tasks(Grace(FOREVER), print) as tasks:
            tasks.spawn_to_end(waits(gate, ended))
            tasks.spawn(waits(gate, ended))

    owner = asyncio.create_task(owns())
    for _ in range(3):
        await asyncio.sleep(0)
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert ended == ["cancelled"] * 2


async def test_the_grace_is_not_for_ever() -> None:
    ended: list[str] = []
    async with Tasks(Grace(0.01), print) as tasks:
        tasks.spawn_to_end(waits(asyncio.Event(), ended))
        await asyncio.sleep(0)
    assert ended == ["cancelled"]


async def test_an_error_in_the_block_leaves_no_task_either() -> None:
    ended: list[str] = []

    async def owns() -> None:
        async with Tasks(Grace(FOREVER), print) as tasks:
            tasks.spawn(waits(asyncio.Event(), ended))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await owns()
    assert ended == ["cancelled"]


async def fails() -> None:
    raise OSError("why")


async def test_a_task_that_raises_is_an_event() -> None:
    events: list[Event] = []
    async with Tasks(Grace(FOREVER), events.append) as tasks:
        await asyncio.wait([tasks.spawn(fails()), tasks.spawn_to_end(fails())])
    assert events == [TaskFailed("fails", "OSError: why")] * 2


async def test_a_task_that_is_cancelled_or_ends_is_none() -> None:
    events: list[Event] = []
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with Tasks(Grace(FOREVER), events.append) as tasks:
        tasks.spawn(waits(asyncio.Event(), []))
        tasks.spawn_to_end(asyncio.sleep(0))
    assert (events, complaints) == ([], [])


class Mortal:
    """Works for ever, but for so many times that it dies."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.lives = 0
        self.works = asyncio.Event()

    async def run(self) -> None:
        self.lives += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        self.works.set()
        await asyncio.Event().wait()


async def test_what_is_kept_is_begun_again_whatever_it_died_of() -> None:
    events: list[Event] = []
    mortal = Mortal(OSError("why"), asyncio.CancelledError())
    async with asyncio.timeout(10), Tasks(Grace(FOREVER), events.append) as tasks:
        tasks.keep(mortal.run)
        await mortal.works.wait()
    assert mortal.lives == 3
    assert events == [
        TaskFailed("Mortal.run", "OSError: why"),
        TaskFailed("Mortal.run", "cancelled"),
    ]


async def test_what_is_kept_ends_with_the_block_also_between_two_lives() -> None:
    events: list[Event] = []
    mortal = Mortal(OSError("why"))
    before = asyncio.all_tasks()
    async with Tasks(Grace(FOREVER), events.append) as tasks:
        tasks.keep(mortal.run)
        while not events:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
    await asyncio.sleep(2 * PAUSE)
    assert mortal.lives == 1
    assert asyncio.all_tasks() == before
    with pytest.raises(NotStarted):
        tasks.keep(mortal.run)


Spawner = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@pytest.mark.parametrize("which", ["spawn", "spawn_to_end"])
async def test_outside_the_block_nothing_runs(which: str) -> None:
    tasks = Tasks(Grace(FOREVER), print)
    spawn: Spawner = getattr(tasks, which)
    with pytest.raises(NotStarted):
        spawn(fails())
    async with tasks:
        pass
    with pytest.raises(NotStarted):
        spawn(fails())


class TestGrace:
    """One time for all who wait while something is left."""

    @pytest.fixture
    def now(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        times = [100.0]
        monkeypatch.setattr("repocache.background.tasks.time.monotonic", lambda: times[0])
        return times

    def test_it_begins_with_the_first_who_asks(self, now: list[float]) -> None:
        grace = Grace(5.0)
        now[0] = 200.0
        assert grace.left() == 5.0
        now[0] = 203.0
        assert grace.left() == 2.0

    def test_it_is_shared_and_never_less_than_nothing(self, now: list[float]) -> None:
        grace = Grace(5.0)
        waited = 0.0
        for _ in range(4):
            left = grace.left()
            waited += left
            now[0] += left + 1
        assert (waited, grace.left()) == (5.0, 0.0)

    def test_who_comes_again_has_all_of_it(self, now: list[float]) -> None:
        grace = Grace(5.0)
        grace.left()
        now[0] += 60
        assert grace.left() == 0.0
        grace.renew()
        now[0] += 60
        assert grace.left() == 5.0

    async def test_two_who_are_left_one_after_the_other_wait_no_longer_than_one(self) -> None:
        ended: list[str] = []
        grace = Grace(0.05)
        began = asyncio.get_running_loop().time()
        async with Tasks(grace, print) as outer, Tasks(grace, print) as inner:
            for tasks in (outer, inner):
                tasks.spawn_to_end(waits(asyncio.Event(), ended))
            await asyncio.sleep(0)
        assert ended == ["cancelled"] * 2
        assert grace.left() == 0.0
        assert asyncio.get_running_loop().time() - began >= 0.05


async def test_all_end_though_one_fails() -> None:
    ended: list[str] = []

    async def works() -> None:
        await asyncio.sleep(0)
        ended.append("works")

    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await all_ended(fails(), works())
    assert ended == ["works"]
