"""Whoever may PUBLISH sends what he likes: it costs misses, and nobody is shown anything older for
it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from sqlalchemy import text

from proof.protocol.guard import guards
from proof.protocol.items import BUCKET, NEIGHBOUR, Items
from proof.protocol.world import STILL, World, behind
from repocache.cache.belief import At
from repocache.keys import owner_bucket
from repocache.records import Namespace
from repocache.records.message import WIRE_VERSION, Message

NAMES = Namespace(STILL.app)
OWNER = Items.owner.prefix
OWN = owner_bucket(OWNER)


async def state(world: World, bucket: int) -> tuple[At, str]:
    """Of a record, and its history, as the forger reads them from the channel or a bookmark."""
    fields = ("HMGET", NAMES.record(bucket), "i", "s", "t", "h")
    found: Any = await asyncio.to_thread(world.servers.redis.command, *fields)
    incarnation, seq, tip, history = [str(each) for each in found]
    return At(incarnation, int(seq), tip), history


async def forge(world: World, bucket: int, further: int = 1, **more: Any) -> None:
    """Publish the next message of a record, or one that is `further`, as it stands."""
    at, history = await state(world, bucket)
    said = {
        "incarnation": at.incarnation,
        "seq": at.seq + further,
        "tip": "forged",
        "before": at.tip,
        **more,
    }
    message = Message(WIRE_VERSION, bucket, history=history, **said)
    payload = msgspec.json.encode(message).decode()
    await asyncio.to_thread(world.servers.redis.command, "PUBLISH", NAMES.channel, payload)
    for process in (world.a, world.b):
        await process.heard()


def shown(version: int) -> list[str]:
    return (
        []
        if version == 2
        else [f"version {version} was read by an old name after the invalidation of 2"]
    )


@guards("told")
async def test_a_message_does_not_vouch_for_a_write_that_is_on_its_way(world: World) -> list[str]:
    """1. A message with the next number is heard; 2. a session writes, and the record has that
    number; 3. it reads in a process that has not heard of its write."""
    await world.b.get()
    await world.b.idle()
    assert world.b.in_l1() == 1
    await forge(world, BUCKET)
    read_on = world.b.stop_reading()
    bookmark = await world.a.write(2)
    async with world.b.db.causal_session(bookmark):
        reader = world.start(world.b.get())
        await asyncio.sleep(0)  # it has looked into L1
        read_on()
        return behind(await reader, 2)


async def change_all(world: World, version: int) -> None:
    async with world.a.db.unit_of_work() as work:
        await work.session.execute(text(f"UPDATE item SET version = {version}"))
        work.changes(Items)
        await work.commit()
    await world.b.heard()


@guards("generation asked")
async def test_a_message_leads_nobody_back_to_an_old_generation(world: World) -> list[str]:
    await world.b.get()
    await world.b.idle()
    view = world.b.shared.views.get(OWN)
    assert view is not None
    old = view.generations[OWNER]
    await change_all(world, 2)
    await forge(world, OWN, generations={OWNER: old})
    return shown(await world.b.get())


@guards("ahead")
async def test_a_forged_change_of_all_keeps_nobody_past_the_cache(world: World) -> list[str]:
    await world.b.get()
    await world.b.idle()
    await forge(world, OWN, generations={OWNER: "none"})
    for _ in range(2):
        await world.b.get()
        await world.b.idle()
    return [] if world.b.in_l1() == 1 else ["what was read is not in the cache"]


@guards("tips")
async def test_a_forged_message_does_not_stand_for_one_that_was_lost(world: World) -> list[str]:
    await world.b.get()
    await world.b.idle()
    at, _ = await state(world, BUCKET)
    world.b.lose_next_message()
    await world.a.write(2)
    await world.b.heard()
    await forge(world, BUCKET, further=0, before=at.tip)
    await world.a.write(2, NEIGHBOUR)
    await world.b.heard()
    return await world.stale(2)


@guards("answers alone")
async def test_a_message_brings_no_record_back(world: World) -> list[str]:
    """1. A record is evicted, and what lay under it stays; 2. its key is written; 3. somebody says
    that the old record is the one that counts."""
    await world.b.get()
    await world.b.idle()
    old, _ = await state(world, BUCKET)
    await asyncio.to_thread(world.servers.redis.command, "DEL", NAMES.record(BUCKET))
    await world.a.write(2)
    await world.b.heard()
    own, _ = await state(world, OWN)
    await forge(world, BUCKET, incarnation=old.incarnation, seq=old.seq, owners={OWNER: own})
    return shown(await world.b.get())
