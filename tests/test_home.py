"""Where something may be used: in the loop that it lives in."""

from __future__ import annotations

import asyncio

import pytest

from repocache.background.home import Home
from repocache.errors import NotStarted, OtherLoop, UsageError


async def _enter(home: Home) -> None:
    home.enter()


async def _check(home: Home) -> None:
    home.check()


def test_one_loop_after_the_other() -> None:
    home = Home()

    async def lives() -> None:
        home.enter()
        home.check()
        with pytest.raises(UsageError, match="already started"):
            home.enter()
        home.leave()

    for _ in range(2):
        asyncio.run(lives())
        with pytest.raises(NotStarted):
            home.check()
        assert not home.abandoned


async def test_another_loop_at_once() -> None:
    home = Home()
    home.enter()
    for there in (_enter, _check):
        with pytest.raises(OtherLoop):
            await asyncio.to_thread(asyncio.run, there(home))
    await asyncio.to_thread(home.check)
    home.check()
    assert not home.abandoned


def test_a_loop_that_is_gone() -> None:
    home = Home()
    asyncio.run(_enter(home))
    assert home.abandoned
    for there in (_enter, _check):
        with pytest.raises(OtherLoop):
            asyncio.run(there(home))
    home.leave()
    asyncio.run(_enter(home))
