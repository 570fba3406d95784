"""The connection is lost during COMMIT: nobody knows what became of it, and no cache may believe
either.

All processes have warm caches; COMMIT is stopped on its way, and then arrives, late, or never does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from proof.acceptance.conftest import Start, Truth, nothing_waits
from proof.acceptance.remote import OrderFailed, Remote
from repocache.testing import Endpoints
from tests.shop import until
from tests.tcp_proxy import Held, TcpProxy, Way

ID = 7
NOWHERE = "postgresql://127.0.0.1:1/"


@dataclass(frozen=True)
class Writing:
    """`writer`: waits for its COMMIT's answer; `held`: the COMMIT; `door`: the writer's way to the
    primary."""

    door: TcpProxy
    writer: Remote
    others: list[Remote]
    held: Held
    wrote: asyncio.Task[dict[str, Any]]

    async def outcome(self) -> dict[str, Any]:
        """What the writer's session was told and could read, then and there; nobody knows what
        became of the write."""
        wrote = await self.wrote
        assert (wrote["age"], wrote["covered"]) == (None, False)
        assert (wrote["tier"], wrote["node"]) == ("database", "primary"), (
            "its session uses no cache, and no replica"
        )
        assert self.writer.told("CommitUnknown")
        return wrote


@pytest.fixture
async def writing(
    start: Start, truth: Truth, repocache_endpoints: Endpoints
) -> AsyncIterator[Writing]:
    async with TcpProxy(repocache_endpoints.primary) as proxy:
        writer, *others = remotes = await asyncio.gather(start(primary=proxy.url), start(), start())
        await truth.assert_caches_right(*remotes)
        trapped = proxy.trap(b"COMMIT")
        async with committing(writer) as wrote:
            yield Writing(proxy, writer, others, await asyncio.wait_for(trapped, 20), wrote)


@asynccontextmanager
async def committing(writer: Remote) -> AsyncIterator[asyncio.Task[dict[str, Any]]]:
    wrote = asyncio.create_task(writer.ask("write", id=ID))
    yield wrote
    await asyncio.wait({wrote})


async def test_a_commit_that_appears_late(writing: Writing, truth: Truth) -> None:
    """1. The socket is lost; 2. all caches are filled with the old row, rightly; 3. the COMMIT
    arrives after all."""
    writer, others = writing.writer, writing.others
    writing.held.hang_up()
    wrote = await writing.outcome()
    assert wrote["read"] == ID
    remotes = [writer, *others]
    await truth.assert_caches_right(*remotes)
    assert (await others[0].ask("read", id=ID))["tier"] == "l1"
    for remote in remotes:
        seen = await remote.ask("read", id=ID, bookmark=wrote["bookmark"])
        assert (seen["age"], seen["tier"], seen["node"]) == (ID, "database", "primary"), (
            "the session, wherever it goes"
        )
    writing.held.deliver()
    await until_committed(truth)
    for remote in others:
        seen = await remote.ask("read", id=ID, bookmark=wrote["bookmark"])
        assert (seen["age"], seen["tier"], seen["node"]) == (ID + 1, "database", "primary")
    await truth.assert_caches_right(*remotes, seconds=20)
    await as_ever(writing, truth, ID + 2)


async def test_a_commit_whose_answer_is_lost(writing: Writing, truth: Truth) -> None:
    """The row has changed already when the writer learns that it does not know."""
    writing.held.deliver_and_hang_up()
    await until_committed(truth)
    wrote = await writing.outcome()
    assert wrote["read"] == ID + 1
    for remote in writing.others:
        seen = await remote.ask("read", id=ID, bookmark=wrote["bookmark"])
        assert (seen["age"], seen["tier"], seen["node"]) == (ID + 1, "database", "primary")
    await truth.assert_caches_right(writing.writer, *writing.others, seconds=20)
    await as_ever(writing, truth, ID + 2)


async def test_a_commit_whose_writer_is_cut_off(
    writing: Writing, truth: Truth, repocache_endpoints: Endpoints
) -> None:
    """The writer cannot ask the primary what became of it: all the same it tells the others at
    once."""
    writing.door.freeze(Way.TO_CLIENT)
    writing.held.deliver()
    await until_committed(truth)
    writing.door.lead_to(NOWHERE)
    await writing.door.cut()
    writing.door.thaw()
    with pytest.raises(OrderFailed, match="DatabaseUnavailable"):
        await writing.wrote
    await truth.assert_caches_right(*writing.others)
    writing.door.lead_to(repocache_endpoints.primary)
    await writing.writer.until_told("NodeBack", node="primary")
    await truth.assert_caches_right(writing.writer, *writing.others)
    await as_ever(writing, truth, ID + 2)


async def test_a_commit_that_never_arrives(writing: Writing, truth: Truth) -> None:
    writing.held.lose()
    wrote = await writing.outcome()
    assert wrote["read"] == ID
    await truth.assert_caches_right(writing.writer, *writing.others)
    assert (await truth.ages())[ID - 1] == ID
    await as_ever(writing, truth, ID + 1)


async def until_committed(truth: Truth) -> None:
    async def appeared() -> bool:
        return (await truth.ages())[ID - 1] == ID + 1

    await until(appeared, "the commit has appeared")


async def as_ever(writing: Writing, truth: Truth, age: int) -> None:
    """The next write of the same row by the same process is an ordinary one."""
    await nothing_waits(writing.writer)
    wrote = await writing.writer.ask("write", id=ID)
    assert (wrote["age"], wrote["read"], wrote["covered"]) == (age, age, True)
    await truth.assert_caches_right(writing.writer, *writing.others)
