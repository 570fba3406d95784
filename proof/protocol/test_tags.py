"""Cached selects: what a commit tells of tags, and when an answer counts."""

from __future__ import annotations

from sqlalchemy import select

from proof.protocol.guard import guards
from proof.protocol.items import Book, Books
from proof.protocol.process import Process
from proof.protocol.shelves import (
    all_known,
    evict_own,
    hold_answer,
    hold_look,
    hold_register,
    older,
    process,
    registered,
    settled,
    versions,
    write,
)
from proof.protocol.world import World


@guards("tags' shapes after")
async def test_a_select_that_is_cached_before_a_commit_is_told_of_it(world: World) -> list[str]:
    """1. A writer has flushed, and nothing is registered; 2. a reader registers a shape, and is
    answered by the primary; 3. the writer commits."""
    c, d = await process(world, "c"), await process(world, "d")
    await all_known(world, c)
    gate = c.hold_seal()
    writer = world.start(write(c, version=2))
    await gate.reached()
    assert await versions(d) == [1]
    gate.open()
    await writer
    await d.heard()
    return older(await versions(d), [2])


@guards("tags of a lost record")
async def test_a_commit_that_finds_no_shapes_tells_all_readers(world: World) -> list[str]:
    """1. A reader has an answer in its L1; 2. the record of the shapes is evicted; 3. a writer
    looks for shapes."""
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, c, d)
    assert await versions(d) == [1]
    await evict_own(d)
    await write(c, version=2)
    await d.heard()
    return older(await versions(d), [2])


@guards("tags of unknown shapes")
async def test_a_commit_that_did_not_know_a_shape_tells_all_its_tags(world: World) -> list[str]:
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, d)
    assert await versions(d) == [1]
    await write(c, version=2)
    await d.heard()
    return older(await versions(d), [2])


@guards("tags of unknown shapes")
async def test_so_does_one_that_knew_another_shape(world: World) -> list[str]:
    c, d = await process(world, "c"), await process(world, "d")
    await c.db[Books].rows(select(Book.id).where(Book.version == 7))
    await registered(world, d)
    assert await versions(d) == [1]
    await write(c, version=2)
    await d.heard()
    return older(await versions(d), [2])


@guards("tags of old values")
async def test_a_row_that_leaves_an_answer_invalidates_it(world: World) -> list[str]:
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, c, d)
    assert await versions(d) == [1]
    await write(c, shelf=2)
    await d.heard()
    return older(await versions(d), [])


@guards("tags' record anew")
async def test_a_select_that_is_cached_first_is_not_filled_from_a_lagging_replica(
    world: World,
) -> list[str]:
    """1. A commit has no tag to tell, and the replica lags; 2. a reader registers a shape."""
    c, d = await process(world, "c"), await process(world, "d")
    await all_known(world, c)
    await world.stop_replay()
    await write(c, version=2)
    return older(await versions(d), [2])


@guards("tags' shape is there")
async def test_no_answer_lies_under_a_token_that_nobody_tells(world: World) -> list[str]:
    """1. A reader registers a shape; 2. the record is evicted; 3. he takes a lease of a token, in
    the next one; 4. a writer finds no shape there."""
    c, d = await process(world, "c"), await process(world, "d")
    gate = hold_register(d)
    reader = world.start(versions(d))
    await gate.reached()
    await evict_own(d)
    await all_known(world, c)
    gate.open()
    assert await reader == [1]
    await write(c, version=2)
    await d.heard()
    return older(await versions(d), [2])


@guards("tags' settle")
async def test_a_poll_from_before_a_registration_settles_nothing_after_it(
    world: World,
) -> list[str]:
    """1. A process polls the primary, to settle the floor of a record with another shape; 2. a
    commit moves no tag of that; 3. a shape is registered that it concerns; 4. the poll is over;
    5. the select is answered."""
    c, d, e = [await process(world, name) for name in "cde"]
    ids = select(Book.id).where(Book.shelf == 1)
    await c.db[Books].rows(ids)
    await all_known(world, c)
    await evict_own(c)
    poll = d.hold_poll()
    await d.db[Books].rows(ids)
    await poll.reached()
    await world.catch_up()
    await world.stop_replay()
    await write(c, version=2)
    registration = hold_register(e)
    reader = world.start(versions(e))
    await registration.reached()
    poll.open()
    await settled(d)
    registration.open()
    return older(await reader, [2])


@guards("tags' highest")
async def test_a_poll_settles_no_floor_below_what_was_published_meanwhile(
    world: World,
) -> list[str]:
    """1. A shape is registered, and a process polls the primary to settle the floor; 2. a commit
    that did not know the shape moves all tags; 3. the poll is over; 4. the select is answered."""
    c, d, e = [await process(world, name) for name in "cde"]
    await all_known(world, c)
    poll = d.hold_poll()
    assert await versions(d) == [1]
    await poll.reached()
    await world.catch_up()
    await world.stop_replay()
    await write(c, version=2)
    poll.open()
    await settled(d)
    return older(await versions(e), [2])


async def read_after_a_commit(world: World, *readers: Process) -> list[str]:
    """The last one commits, and the first one reads, from a replica if he may."""
    reader, *_, writer = readers
    await world.stop_replay()
    await write(writer, version=2)
    await reader.heard()
    return older(await versions(reader), [2])


@guards("tags' floors")
async def test_an_answer_is_not_taken_from_a_replica_below_its_tags_floors(
    world: World,
) -> list[str]:
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, c, d)
    return await read_after_a_commit(world, d, c)


@guards("tags raise")
async def test_a_tag_that_is_moved_raises_its_floor(world: World) -> list[str]:
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, c, d)
    return await read_after_a_commit(world, d, c)


@guards("tags raise")
async def test_so_do_all_tags_that_are_moved_together(world: World) -> list[str]:
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, d)
    return await read_after_a_commit(world, d, c)


@guards("tokens first")
async def test_floors_from_before_a_token_do_not_vouch_for_its_answer(world: World) -> list[str]:
    """1. A reader looks at the floors; 2. a commit moves the tag; 3. he is answered by a replica
    that lags, and stores what it says."""
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, c, d)
    await world.stop_replay()
    look = hold_look(d)
    reader = world.start(versions(d))
    await look.reached()
    await write(c, version=2)
    await d.heard()
    look.open()
    assert await reader in ([1], [2])
    return older(await versions(d), [2])


@guards("tokens before")
async def test_an_answer_from_before_a_commit_is_not_found_after_it(world: World) -> list[str]:
    """1. The database answers; 2. a commit moves the tag; 3. the answer is stored."""
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, c, d)
    answer = hold_answer(d)
    reader = world.start(versions(d))
    await answer.reached()
    await write(c, version=2)
    await d.heard()
    answer.open()
    assert await reader == [1]
    return older(await versions(d), [2])


@guards("fresh tokens")
async def test_a_token_that_is_made_anew_leads_to_no_old_answer(world: World) -> list[str]:
    c, d = await process(world, "c"), await process(world, "d")
    await registered(world, c, d)
    assert await versions(d) == [1]
    await write(c, version=2)
    await d.heard()
    return older(await versions(d), [2])
