"""Processes that cache a select, "which versions are on this shelf", and what scenarios do to its
tags."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select

from proof.protocol.items import KEY, Book, Books, Items
from proof.protocol.process import Gate, Process, until
from proof.protocol.world import STILL, World
from repocache.keys import BUCKETS, owner_bucket
from repocache.records import CallerHistory, Change, Namespace
from repocache.repository.query import entry_owner
from repocache.tags import tag_owner

TAGS = tag_owner("public", "book").prefix
ENTRIES = entry_owner(Books.owner).prefix
OWN = owner_bucket(TAGS)
"""Where the shapes of books are registered."""


async def process(world: World, name: str) -> Process:
    return await world.process(name, repositories=(Items, Books))


def on(shelf: int) -> Select[Any]:
    """The select that is cached."""
    return select(Book.version).where(Book.shelf == shelf)


async def versions(process: Process, shelf: int = 1) -> list[int]:
    """What it answers."""
    rows = await process.db[Books].rows(on(shelf))
    await process.idle()
    return [version for (version,) in rows]


async def write(process: Process, *, version: int | None = None, shelf: int | None = None) -> None:
    """Commit a change of the one book."""
    async with process.db.unit_of_work() as work:
        book = await work[Books].require(KEY)
        book.version = book.version if version is None else version
        book.shelf = book.shelf if shelf is None else shelf
        await work.commit()


async def all_known(world: World, process: Process) -> None:
    """All records are there, with floors that the replica has replayed."""
    position = await asyncio.to_thread(world.servers.primary.position)
    terms = CallerHistory(process.topology.lineage.history)
    records = process.records
    buckets = [*range(BUCKETS), OWN, owner_bucket(ENTRIES)]
    looks = await asyncio.gather(*(records.look(each, "", terms) for each in buckets))
    missing = [at for at, look in zip(buckets, looks, strict=True) if look is None]
    await asyncio.gather(
        *(records.change(Change(each, (), (), position), terms) for each in missing)
    )
    looks = await asyncio.gather(*(records.look(each, "", terms) for each in buckets))
    for bucket, look in zip(buckets, looks, strict=True):
        assert look is not None
        if look.floor is None:
            await records.settle(bucket, terms, look.incarnation, position)
    await world.catch_up()


async def forget(world: World, process: Process) -> None:
    """The shape stays, and no token or answer is anywhere."""
    link = process.records._link
    for owner in (TAGS, ENTRIES):
        for key in await link.call("KEYS", f"*:{owner}:*"):
            await link.call("DEL", key)
    for each in world.processes.values():
        each.shared.local.clear()


async def registered(world: World, *processes: Process) -> None:
    """The select's shape is registered, the processes know it, every floor is known."""
    for each in processes:
        assert await versions(each) == [1]
    await all_known(world, processes[0])
    await forget(world, processes[0])


async def evict_own(process: Process) -> None:
    """Redis needed room, and took the record in which shapes are registered."""
    await process.records._link.call("DEL", Namespace(STILL.app).record(OWN))


async def floor_of(process: Process, bucket: int) -> int | None:
    terms = CallerHistory(process.topology.lineage.history)
    look = await process.records.look(bucket, "", terms)
    return None if look is None else look.floor


def hold_answer(process: Process) -> Gate:
    """Hold the next answer of the database to the select before it is stored."""
    queries = process.db[Books]._access.queries  # type: ignore[attr-defined]
    loader = queries.caches(queries.plan).entries._loader._source.load.__self__
    gate, execute = Gate(f"the answer to {process.name}"), loader._execute

    async def held(*arguments: Any) -> Any:
        answer = await execute(*arguments)
        await gate.hold()
        return answer

    loader._execute = held
    return gate


def hold_look(process: Process) -> Gate:
    """Hold the reply of the next question for a floor before its caller sees it."""
    return process._hold_reply("look")


def hold_register(process: Process) -> Gate:
    """Hold the reply of the next registration before its caller sees it."""
    return process._hold_reply("register")


def older(seen: Sequence[int], expected: Sequence[int]) -> list[str]:
    """What somebody was shown who knows of the commit."""
    return [] if seen == expected else [f"was shown {list(seen)}, the database has {expected}"]


async def settled(process: Process) -> None:
    """No floor is being settled by this process."""
    await until(
        lambda: not process.shared.settler._under_way, f"{process.name} has settled what it met"
    )
