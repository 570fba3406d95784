"""From a seed to an outcome: the run itself, the calm after it, and the checks of the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Container, Coroutine
from dataclasses import dataclass
from typing import Any

from proof.simulation.clients import Client, Stranger
from proof.simulation.consumers import Consumer
from proof.simulation.faults import Faults
from proof.simulation.loop import Stuck, environment, new_loop
from proof.simulation.neighbour import Neighbour
from proof.simulation.oracle import text_of
from proof.simulation.profile import Profile
from proof.simulation.profiles import drawn
from proof.simulation.server import Key, Noted
from proof.simulation.service import Service
from proof.simulation.world import Tell, World
from repocache.errors import DatabaseUnavailable

RECOVERY = 5.0
"""Seconds after the last fault within which every cache is right, those apart in which a COMMIT is
under way or a replica catches up."""
LATEST = 120.0
"""Seconds for which a replica is waited for."""
TICK = 0.1
"""How often, in seconds, it is looked whether that is so."""
TRIES = 50
"""Reads, `TICK` seconds apart, of which one is answered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`operations`: reads, writes and faults. `trace`: a digest of all that happened, in its order.
    `seconds`: of the virtual clock. `counts`: of whatever is of interest."""

    seed: int
    profile: str
    operations: int
    violations: tuple[str, ...]
    trace: int
    seconds: float
    counts: Counter[str]


def silent(_: str) -> None:
    """Nobody listens."""


def simulate(
    seed: int, operations: int, profile: Profile | None = None, tell: Tell = silent
) -> Outcome:
    """One run. The same arguments give the same outcome, whatever else the interpreter has done.
    `tell`: hears of all that happens."""
    profile = profile or drawn(seed)
    loop = new_loop(seed)
    with environment(loop, seed):
        world = World(loop, seed, profile, tell)
        try:
            loop.run_until_complete(_course(world, operations))
        except Stuck:
            world.oracle.blame("everybody waits for somebody")
        violations = (*world.oracle.violations, *loop.failures)
        outcome = Outcome(
            seed,
            profile.name,
            world.operations,
            violations,
            world.trace,
            loop.now,
            Counter(world.counts),
        )
    del world
    loop.close()
    return outcome


async def _course(world: World, operations: int) -> None:
    for _ in range(world.profile.services):
        await world.start_service()
    faults = Faults(world)
    trouble = world.loop.create_task(faults.run())
    clients = [Client(world, number, operations) for number in range(world.profile.clients)]
    others = [trouble]
    if world.profile.strangers:
        others.append(world.loop.create_task(Stranger(world).run()))
    if world.profile.neighbours:
        others.append(world.loop.create_task(Neighbour(world).run()))
    await asyncio.gather(*(client.run() for client in clients))
    for each in others:
        each.cancel()
    await asyncio.wait(others)
    await faults.heal()
    await _recovered(world)
    await _all_right(world)


async def _recovered(world: World) -> None:
    """A relay's COMMIT, or that of an acknowledgement, holds its rows for as long as it takes, as a
    writer's does. A replica that is slow, and within the limit of lag, shows what it has until it
    has caught up. A row that gave way is tried again in its time."""
    left, until = RECOVERY + 6 * world.profile.pace.visible, world.loop.now + LATEST
    while left > 0:
        await asyncio.sleep(TICK)
        catching_up = (
            any(server.is_behind for server in world.cluster.replicas) and world.loop.now < until
        )
        gave_way = (
            any(row.tries for row in world.cluster.primary.notes.values())
            and world.loop.now < until
        )
        if not world.cluster.committing and not catching_up and not gave_way:
            left -= TICK


async def _all_right(world: World) -> None:
    """Every cache tells what the primary has, and nothing waits any more.

    Without an outbox an invalidation may have died with its process, but a strict owner's write
    lease has not. What is told of an owner waits until a process runs that has it.
    """
    had = {owner for service in world.running() for owner in service.access}
    if left := _left(world, had):
        world.oracle.blame(f"the outbox still holds {left}")
    for key in (each for each in world.profile.keys if each[0] in had):
        version, exists = world.cluster.primary.rows[key]
        publisher = world.publishers.get(version)
        strict = key[0] == "price" and world.holds
        died = publisher is not None and publisher.dead and not world.profile.outbox and not strict
        if died or key in world.oracle.astray:
            continue
        if world.profile.outbox and world.oracle.delivered(key) < version:
            world.oracle.blame(f"version {version} of {text_of(key)} was never invalidated")
        for service in (each for each in world.running() if key[0] in each.access):
            found = await _read(world, service, key)
            if isinstance(found, Exception):
                world.oracle.blame(
                    f"{service.owner.name} cannot read {text_of(key)} in peace: {found!r}"
                )
            elif found[key[1]] != (version if exists else None):
                world.oracle.blame(
                    f"{service.owner.name} has {text_of(key)} at {found[key[1]]} for good; it is "
                    f"at {version}" + ("" if exists else ", gone")
                )
        for consumer in world.consumers:
            _believes(world, consumer, key, version if exists else None)
    for service in world.running():
        await _selects(world, service)


def _left(world: World, had: Container[str]) -> list[Noted]:
    """Rows of the outbox that a process could have delivered which has these owners."""
    notes = world.cluster.primary.notes.values()
    return [each for each in notes if not each.owes or any(owner in had for owner, _ in each.owes)]


async def _selects(world: World, service: Service) -> None:
    """Every cached select's answer is the primary's; unless a process died without an outbox that
    had to tell of a change, be it of a row that was written again since."""
    rows, oracle = world.cluster.primary.rows, world.oracle
    for asked in (each for owner in service.access for each in service.selects(owner)):
        keys = oracle.keys_of(asked.owner)
        untold = [world.publishers.get(version) for key in keys for version in oracle.untold(key)]
        died = any(each is not None and each.dead for each in untold)
        if (died and not world.profile.outbox) or service.is_astray(asked):
            continue
        found = await _patiently(world, service, lambda asked=asked: service.select(asked))  # type: ignore[misc]
        _, answer = asked.answer(rows)
        if isinstance(found, Exception):
            oracle.blame(f"{service.owner.name} cannot select {asked} in peace: {found!r}")
        elif sorted(map(tuple, found[0])) != answer:
            oracle.blame(f"{service.owner.name} has {found[0]} for good of {asked}; it is {answer}")


async def _read(world: World, service: Service, key: Key) -> Any:
    """What the process has, or why it has nothing: where the weather is slow, all nodes may be lost
    for a moment."""
    return await _patiently(world, service, lambda: service.read(key[0], [key[1]]))


async def _patiently(
    world: World, service: Service, read: Callable[[], Coroutine[Any, Any, Any]]
) -> Any:
    tries = TRIES
    while isinstance(found := await world.run_in(service, read()), DatabaseUnavailable):
        tries -= 1
        if not tries:
            break
        await asyncio.sleep(TICK)
    return found


def _believes(world: World, consumer: Consumer, key: Key, version: int | None) -> None:
    """What a consumer derived is what the primary has."""
    service, owner = consumer.service, consumer.owner
    if (
        service not in world.running()
        or owner != key[0]
        or consumer.derived.get(key[1], -1) == version
    ):
        return
    believed = consumer.derived.get(key[1], "nothing")
    world.oracle.blame(
        f"a consumer of {service.owner.name} has {text_of(key)} at {believed} for good, not "
        f"{version}"
    )
