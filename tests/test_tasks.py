"""Nothing runs that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from repocache.errors import NotStarted
from repocache.events import Event, TaskFailed
from repocache.tasks import Tasks

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
    async with Tasks(FOREVER, print) as tasks:
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

    async with Tasks(FOREVER, print) as tasks:
        tasks.spawn_to_end(spawns())
        asyncio.get_running_loop().call_soon(gate.set)
    assert ended == ["cancelled"]


async def test_one_spawned_last_runs_so_far_that_it_can_tell() -> None:
    """Cancelled before its first step a coroutine never runs, and who waits for what it does waits for ever."""
    ended: list[str] = []
    async with Tasks(FOREVER, print) as tasks:
        tasks.spawn(waits(asyncio.Event(), ended))
    assert ended == ["cancelled"]


async def test_leaving_that_is_cancelled_leaves_no_task() -> None:
    gate, ended = asyncio.Event(), list[str]()

    async def owns() -> None:
        async with Tasks(FOREVER, print) as tasks:
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
    async with Tasks(0.01, print) as tasks:
        tasks.spawn_to_end(waits(asyncio.Event(), ended))
        await asyncio.sleep(0)
    assert ended == ["cancelled"]


async def test_an_error_in_the_block_leaves_no_task_either() -> None:
    ended: list[str] = []

    async def owns() -> None:
        async with Tasks(FOREVER, print) as tasks:
            tasks.spawn(waits(asyncio.Event(), ended))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await owns()
    assert ended == ["cancelled"]


async def fails() -> None:
    raise ValueError("why")


async def test_a_task_that_raises_is_an_event() -> None:
    events: list[Event] = []
    async with Tasks(FOREVER, events.append) as tasks:
        await asyncio.wait([tasks.spawn(fails()), tasks.spawn_to_end(fails())])
    assert events == [TaskFailed("fails", "ValueError('why')")] * 2


async def test_a_task_that_is_cancelled_or_ends_is_none() -> None:
    events: list[Event] = []
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with Tasks(FOREVER, events.append) as tasks:
        tasks.spawn(waits(asyncio.Event(), []))
        tasks.spawn_to_end(asyncio.sleep(0))
    assert (events, complaints) == ([], [])


Spawner = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@pytest.mark.parametrize("which", ["spawn", "spawn_to_end"])
async def test_outside_the_block_nothing_runs(which: str) -> None:
    tasks = Tasks(FOREVER, print)
    spawn: Spawner = getattr(tasks, which)
    with pytest.raises(NotStarted):
        spawn(fails())
    async with tasks:
        pass
    with pytest.raises(NotStarted):
        spawn(fails())
