"""A commit has edges purge what it changed: soon, and once more when nothing of before can be on
its way."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import text, update

from repocache import ConfigurationError, OutboxMode, Settings
from repocache.alembic_ops.ddl import create_trigger
from repocache.events import Degraded, EdgePurged, EdgePurgeFailed, Published, TaskFailed
from repocache.invalidation.batch import Batch
from repocache.invalidation.familiar import FamiliarTags, ToPurge
from repocache.invalidation.outbox import Mark
from repocache.runtime import edges
from repocache.runtime.edges import PurgeQueue, RunningEdges, have_replayed
from repocache.testing import Endpoints, Servers
from tests.edges.playing import saying
from tests.purging.conftest import PlayedEdge, Sql, behind, rows_left
from tests.responses.catalog import Product, Products
from tests.shop import QUICK, Shop, until


async def rename(shop: Shop, id: int, name: str) -> None:
    async with shop.db.unit_of_work() as work:
        product = await work[Products].require(id)
        product.name = name
        await work.commit()


async def in_category(shop: Shop, category: int) -> frozenset[str]:
    """The tags of a page that lists it, once it may be kept."""
    tags: list[frozenset[str]] = []

    async def kept() -> bool:
        with shop.db.recording() as recording:
            await shop.db[Products].find(Product.category == category)
        trace = recording.trace()
        tags.append(trace.tags)
        return not shop.db._started.recordings.hindrance(recording, trace)

    await until(kept, "nothing hinders")
    return tags[-1]


async def test_what_a_commit_changed_is_purged_twice(
    shop: Shop, edge: PlayedEdge, sql: Sql
) -> None:
    await rename(shop, 1, "x")
    assert await rows_left(sql) == 1
    await until(lambda: edge.times("product:1") == 1, "purged soon")
    assert edge.times("product:*") == 1
    assert edge.times("product:2") == 0
    await until(lambda: edge.times("product:1") == 2, "purged again")
    await until(lambda: _none(sql), "nobody has to do it any more")
    await asyncio.sleep(1.0)
    assert edge.times("product:1") == 2, "no relay does"


async def _none(sql: Sql) -> bool:
    return await rows_left(sql) == 0


async def test_l1_and_redis_are_told_first(shop: Shop) -> None:
    await rename(shop, 1, "x")
    await until(lambda: bool(shop.seen.of(EdgePurged)), "purged soon")
    kinds = [type(each) for each in shop.seen if isinstance(each, Published | EdgePurged)]
    assert kinds.index(Published) < kinds.index(EdgePurged)


async def test_a_rollback_purges_nothing(shop: Shop, edge: PlayedEdge, sql: Sql) -> None:
    async with shop.db.unit_of_work() as work:
        (await work[Products].require(1)).name = "x"
        await work.session.flush()
        await work.rollback()
    await asyncio.sleep(0.5)
    assert edge.playing.purged == []
    assert await rows_left(sql) == 0


async def test_a_page_s_list_is_purged_by_one_of_its_tags(shop: Shop, edge: PlayedEdge) -> None:
    tags = await in_category(shop, 1)
    owners = {tag.partition(":")[0] for tag in tags}
    async with shop.db.unit_of_work() as work:
        work.add(Product(id=70, sku="s70", name="n", category=1))
        await work.commit()
    await until(lambda: bool(edge.names & (tags | owners)), "a tag of the page is purged")


async def test_a_familiar_table_s_tags_are_purged_one_by_one(shop: Shop, edge: PlayedEdge) -> None:
    tags = await in_category(shop, 1)
    [owner] = {tag.partition(":")[0] for tag in tags if tag.startswith("tag--")}
    for name in ("a", "b"):
        async with shop.db.unit_of_work() as work:
            await work.session.execute(update(Product).where(Product.id == 2).values(name=name))
            await work.commit()
        await until(lambda: edge.times(owner) > 0, "as a whole, at first")
        await asyncio.sleep(4.5)
    tags = await in_category(shop, 1)
    edge.playing.purged.clear()
    async with shop.db.unit_of_work() as work:
        work.add(Product(id=71, sku="s71", name="n", category=1))
        await work.commit()
    await until(lambda: bool(edge.names & tags), "the page's tag")
    assert edge.times(owner) == 0


async def test_a_table_whose_shapes_redis_has_lost_is_purged_as_a_whole(
    shop: Shop, edge: PlayedEdge, repocache_controls: Servers
) -> None:
    tags = await in_category(shop, 1)
    [owner] = {tag.partition(":")[0] for tag in tags if tag.startswith("tag--")}
    await asyncio.to_thread(repocache_controls.redis.command, "FLUSHALL")
    edge.playing.purged.clear()
    async with shop.db.unit_of_work() as work:
        work.add(Product(id=72, sku="s72", name="n", category=1))
        await work.commit()
    await until(lambda: edge.times(owner) > 0, "nobody knows which shapes pages were made of")


async def test_an_edge_that_is_away_holds_nobody_up_and_is_told_when_it_is_back(
    shop: Shop, edge: PlayedEdge, sql: Sql
) -> None:
    edge.playing.always = saying(503)
    for id in (1, 2, 3):
        await rename(shop, id, "x")
    await until(lambda: len(shop.seen.of(EdgePurgeFailed)) > 2, "it is tried")
    await asyncio.sleep(3.5)
    assert await rows_left(sql) > 0
    edge.playing.always = None
    await until(lambda: {"product:1", "product:2", "product:3"} <= edge.names, "it is told")
    await until(lambda: _none(sql), "and what was left for it", seconds=60)


async def test_a_write_from_outside_is_purged(shop: Shop, edge: PlayedEdge, sql: Sql) -> None:
    for statement in create_trigger("products", "public", "public", ()):
        await sql(statement)
    await sql("UPDATE products SET name = 'y' WHERE id = 4")
    await until(lambda: edge.times("product:4") >= 1, "soon")
    await until(lambda: edge.times("product:4") >= 2, "and again", seconds=60)
    await until(lambda: _none(sql), "nothing is left", seconds=60)


async def test_what_triggers_noticed_in_a_unit_of_work_is_purged_twice(
    shop: Shop, edge: PlayedEdge, sql: Sql
) -> None:
    for statement in create_trigger("products", "public", "public", ()):
        await sql(statement)
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE products SET name = 'y' WHERE id = 5"))
        await work.commit()
    [(said,)] = await sql("SELECT notices::text FROM repocache_purges")
    assert "products" in said, "whoever finds it there knows of the trigger's too"
    await until(lambda: edge.times("product:5") >= 2, "soon, and again")


async def test_while_redis_is_away_pages_are_purged_and_again_once_it_has_heard(
    shop: Shop, edge: PlayedEdge, sql: Sql, repocache_controls: Servers
) -> None:
    repocache_controls.redis.freeze()
    try:
        await rename(shop, 1, "x")
        await until(lambda: edge.times("product:1") >= 1, "the edge is told at once")
    finally:
        repocache_controls.redis.thaw()
    await until(lambda: _none(sql), "nothing is left", seconds=60)
    published = next(at for at, each in enumerate(shop.seen) if isinstance(each, Published))
    purged = [at for at, each in enumerate(shop.seen) if isinstance(each, EdgePurged)]
    assert any(at > published for at in purged)


async def test_a_new_history_purges_everything(shop: Shop, edge: PlayedEdge) -> None:
    shop.db._history_changed("another")
    await until(lambda: edge.times("*") == 2, "what was kept may show lost commits")


async def test_the_second_purge_waits_for_replicas(
    shop: Shop, edge: PlayedEdge, repocache_controls: Servers
) -> None:
    replica = repocache_controls.replicas[0]
    await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_pause()")
    try:
        await rename(shop, 1, "x")
        await until(lambda: edge.times("product:1") == 1, "purged soon")
        await asyncio.sleep(3.5)
        assert edge.times("product:1") == 1, "it is in the rotation, and behind"
    finally:
        await asyncio.to_thread(replica.sql, "SELECT pg_wal_replay_resume()")
    await until(lambda: edge.times("product:1") == 2, "purged again")


def test_without_replicas_nothing_is_waited_for() -> None:
    assert have_replayed([], 1.0)


def test_too_many_commits_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is forgotten: neither a key, nor a row that a relay would do otherwise."""
    monkeypatch.setattr(edges, "MOST_LATER", 3)
    queue = PurgeQueue(after=4.5)
    marks = [Mark(number, 0) for number in range(8)]
    for number, mark in enumerate(marks):
        queue.committed(Batch({"product": frozenset([f"product:{number}"])}), [mark])
        assert len(queue.later) <= 3
    told = frozenset(f"product:{number}" for number in range(8))
    assert queue.take_soon().keys == {"product": told}
    due = queue.take_due(math.inf)
    assert frozenset().union(*(each.batch.keys["product"] for each in due)) == told
    assert [row for each in due for row in each.rows] == marks


async def test_leaving_purges_what_waits(
    repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql
) -> None:
    async with behind(repocache_endpoints, edge) as shop:
        await rename(shop, 1, "x")
    assert edge.times("product:1") >= 1
    assert await rows_left(sql) == 1, "the second purge is another process's"
    async with behind(repocache_endpoints, edge):
        before = edge.times("product:1")
        await until(lambda: edge.times("product:1") > before, "a relay has it purged", seconds=30)
        await until(lambda: _none(sql), "nothing is left")


async def test_a_relay_keeps_what_an_edge_does_not_take(
    repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql
) -> None:
    async with behind(repocache_endpoints, edge) as shop:
        await rename(shop, 1, "x")
    assert await rows_left(sql) == 1
    await sql("UPDATE repocache_purges SET due = clock_timestamp()")
    edge.playing.always, before = saying(503), edge.times("product:1")
    async with behind(repocache_endpoints, edge) as shop:
        await until(lambda: len(shop.seen.of(EdgePurgeFailed)) > 1, "it is tried, and again")
        assert await rows_left(sql) == 1
        edge.playing.always = None
        await until(lambda: edge.times("product:1") > before, "it is purged", seconds=60)
        await until(lambda: _none(sql), "nothing is left")


async def test_leaving_purges_what_was_about_to_be(
    repocache_endpoints: Endpoints, edge: PlayedEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. What a commit has told is taken, to be purged; 2. the database is left."""
    begun, original = asyncio.Event(), FamiliarTags.narrowed

    async def narrowed(self: FamiliarTags, batch: Batch, history: str) -> ToPurge:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return await original(self, batch, history)

    monkeypatch.setattr(FamiliarTags, "narrowed", narrowed)
    async with behind(repocache_endpoints, edge) as shop:
        await rename(shop, 1, "x")
        await begun.wait()
    assert edge.times("product:1") >= 1


async def test_leaving_purges_what_was_about_to_be_purged_again(
    repocache_endpoints: Endpoints,
    edge: PlayedEdge,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same of a second purge that no relay would do."""
    await sql("DROP TABLE repocache_purges")
    begun, original = asyncio.Event(), RunningEdges.deliver

    async def deliver(self: RunningEdges, batch: Batch) -> None:
        begun.set()
        await asyncio.Event().wait()
        await original(self, batch)

    monkeypatch.setattr(RunningEdges, "deliver", deliver)
    async with behind(repocache_endpoints, edge) as shop:
        await rename(shop, 1, "x")
        await until(lambda: edge.times("product:1") == 1, "soon")
        await begun.wait()
    assert edge.times("product:1") == 2


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "no table"])
async def test_what_fails_unexpectedly_is_purged_all_the_same(
    repocache_endpoints: Endpoints,
    edge: PlayedEdge,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    rows: bool,
) -> None:
    if not rows:
        await sql("DROP TABLE repocache_purges")
    original, failing = FamiliarTags.narrowed, [True]

    async def narrowed(self: FamiliarTags, batch: Batch, history: str) -> ToPurge:
        if failing[0]:
            raise RuntimeError("a fault of ours")
        return await original(self, batch, history)

    monkeypatch.setattr(FamiliarTags, "narrowed", narrowed)
    async with behind(repocache_endpoints, edge) as shop:

        async def fails_until(times: int) -> None:
            failing[0], failed = True, len(shop.seen.of(TaskFailed))
            await until(lambda: len(shop.seen.of(TaskFailed)) > failed, "it is told")
            assert edge.times("product:1") < times
            failing[0] = False
            await until(lambda: edge.times("product:1") == times, "it is purged")

        await rename(shop, 1, "x")
        await fails_until(1)
        await fails_until(2)


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "no table"])
async def test_without_the_table_the_process_itself_purges_twice(
    repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql, rows: bool
) -> None:
    if not rows:
        await sql("DROP TABLE repocache_purges")
    async with behind(repocache_endpoints, edge) as shop:
        missing = [each.what for each in shop.seen.of(Degraded)]
        assert ("purges" in missing) is not rows
        await rename(shop, 1, "x")
        await until(lambda: edge.times("product:1") == 2, "soon, and again")


async def test_without_the_table_a_second_purge_that_fails_is_tried_again(
    repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql
) -> None:
    await sql("DROP TABLE repocache_purges")
    async with behind(repocache_endpoints, edge) as shop:
        await rename(shop, 1, "x")
        await until(lambda: edge.times("product:1") == 1, "soon")
        edge.playing.always = saying(503)
        await until(lambda: len(shop.seen.of(EdgePurgeFailed)) > 1, "and again, in vain")
        edge.playing.always = None
        await until(lambda: edge.times("product:1") == 2, "and again")


async def test_a_missing_table_is_an_error_where_the_outbox_is_required(
    repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql
) -> None:
    await sql("DROP TABLE repocache_purges")
    settings = Settings(topology=QUICK, outbox=OutboxMode.REQUIRED)
    with pytest.raises(ConfigurationError, match="create_repocache_purges"):
        async with behind(repocache_endpoints, edge, settings):
            pass


DYING = Path(__file__).parent / "dying.py"


@pytest.mark.parametrize("where", ["committed", "soon", "later"])
async def test_what_a_dead_process_has_not_purged_is_purged(
    repocache_endpoints: Endpoints, edge: PlayedEdge, sql: Sql, where: str
) -> None:
    """Killed right after COMMIT, before the first purge, and before the second."""
    ends = repocache_endpoints
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(DYING),
        where,
        ends.primary,
        ends.redis,
        edge.url,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert await process.wait() == 9
    assert await rows_left(sql) == 1
    before = edge.times("product:1")
    async with behind(ends, edge):
        await until(lambda: edge.times("product:1") > before, "a relay has it purged", seconds=60)
        await until(lambda: _none(sql), "nothing is left", seconds=60)
