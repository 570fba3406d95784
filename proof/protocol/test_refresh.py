"""Loaders that say "not changed": under which tokens a computed value is kept then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from proof.protocol.guard import guards
from proof.protocol.items import KEY, Book, Books, Item, Items
from proof.protocol.process import Gate, Process, until
from proof.protocol.shelves import older, write
from proof.protocol.test_renewals import ASIDE, STALE
from proof.protocol.world import World
from repocache.cache.freshness import Freshness
from repocache.cache.policies import CacheAside
from repocache.computed.read_through import ReadThrough
from repocache.computed.reader import Reader
from repocache.keys import KeyOwner

FRESH = Freshness(stale_while_revalidate=STALE, fail_safe=ASIDE)


class Versions(ReadThrough[int, int]):
    """The version of the one book; that of the item is asked whether it has changed."""

    owner = KeyOwner("versions")
    policy = CacheAside(ttl=300, local_ttl=0, jitter=0.0, freshness=FRESH)

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, int]:
        rows = await reader.execute(select(Book.version).where(Book.id == KEY))
        return dict.fromkeys(keys, rows[0][0])

    async def refresh(self, kept: Mapping[int, int], reader: Reader) -> Mapping[int, int]:
        await reader.execute(select(Item.version).where(Item.id == KEY))
        return kept


@guards("kept tokens")
async def test_what_is_invalidated_while_it_is_asked_for_is_not_kept(world: World) -> list[str]:
    """1. c asks whether a value has changed; 2. the book does; 3. c hears that it has not."""
    c, d = await two(world)
    answer = hold_answer(c)
    aged = await age(world)
    await value(c)
    await answer.reached()
    await write(d, version=2)
    await c.heard()
    answer.open()
    await settled(c, aged)
    return older([await value(d)], [2])


@guards("both")
async def test_what_is_not_changed_depends_on_what_it_was_computed_of(world: World) -> list[str]:
    c, d = await two(world)
    await confirmed(world, c)
    await write(d, version=2)
    await d.heard()
    return older([await value(d)], [2])


@guards("what it reads")
async def test_what_is_not_changed_depends_on_what_was_read_to_ask(world: World) -> list[str]:
    c, d = await two(world)
    await confirmed(world, c)
    await d.write(2)
    await d.heard()
    return await confirmed_before(d)


@guards("read tokens first")
async def test_what_was_read_to_ask_is_not_taken_for_what_came_after(world: World) -> list[str]:
    """1. c reads the item, to ask; 2. the item changes; 3. c hears that nothing has."""
    c, d = await two(world)
    answer = hold_answer(c)
    aged = await age(world)
    await value(c)
    await answer.reached()
    await d.write(2)
    await c.heard()
    answer.open()
    await settled(c, aged)
    return await confirmed_before(d)


async def two(world: World) -> tuple[Process, Process]:
    """Both have been given the value, which lies in Redis."""
    repositories: Any = (Items, Books, Versions)
    c = await world.process("c", repositories=repositories)
    d = await world.process("d", repositories=repositories)
    await world.settle()
    for each in (c, d):
        await until(lambda each=each: is_kept(each), "the value is kept")  # type: ignore[misc]
    return c, d


async def value(process: Process) -> int:
    found: int = await process.db[Versions].require(KEY)
    return found


async def settled(process: Process, aged: Sequence[bytes]) -> None:
    """What was confirmed is kept, and the hint in Redis says by what; or under the names that it
    had."""
    link = process.records._link

    async def says() -> bool:
        names = await link.call("KEYS", "*:versions:*")
        hints = [await link.call("GET", name) for name in names]
        lives = [await link.call("PTTL", name) for name in aged]
        named = any(hint is not None and b"item" in hint for hint in hints)
        return named or any(life > (STALE + ASIDE) * 1000 for life in lives)

    await until(says, "it is kept")
    await process.idle()
    await process.delivered()


def loading(process: Process) -> Any:
    found: Any = process.db[Versions]
    return found._found._values._loader._source.load.__self__._compute.__self__


async def is_kept(process: Process) -> bool:
    """Whether nobody has to compute it."""
    calls, computing = 0, loading(process)
    call = computing._call

    async def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return await call(*arguments)

    computing._call = counted
    await value(process)
    await process.idle()
    computing._call = call
    return calls == 0


async def confirmed_before(process: Process) -> list[str]:
    """A value is found that an older item has confirmed."""
    return ["an older item has confirmed it"] if await is_kept(process) else []


async def age(world: World) -> list[bytes]:
    """What is kept of the value is past its time: its names."""
    link = world.a.records._link
    names: list[bytes] = await link.call("KEYS", "*:versions-loaded:*")
    for name in names:
        await link.call("PEXPIRE", name, int((STALE / 2 + ASIDE) * 1000))
    return names


async def confirmed(world: World, process: Process) -> None:
    """The process has asked, and nothing has changed: the hint says so."""
    answer = hold_answer(process)
    answer.open()
    aged = await age(world)
    await value(process)
    await answer.reached()
    await settled(process, aged)


class _Held:
    """A reading whose first answer is held."""

    def __init__(self, reading: Any, gate: Gate) -> None:
        self._reading = reading
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reading, name)

    async def answer(self, *arguments: Any) -> Any:
        found = await self._reading.answer(*arguments)
        await self._gate.hold()
        return found


def hold_answer(process: Process) -> Gate:
    """Hold the next answer of the database to the loader."""
    gate, computing = Gate(f"the answer to {process.name}"), loading(process)
    computing._reading = _Held(computing._reading, gate)
    return gate
