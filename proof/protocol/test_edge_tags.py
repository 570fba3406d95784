"""Which tags a commit has an edge purge, though Redis forgets which there are: what a process that
purges knows of a table's record, in the steps of `models/edge_tags.py`."""

from __future__ import annotations

from proof.protocol import edge_switches
from proof.protocol.guard import guards
from proof.protocol.process import Process
from proof.protocol.shelves import TAGS, all_known, evict_own, process, versions, write
from proof.protocol.world import World
from repocache.invalidation.batch import Batch
from repocache.invalidation.familiar import FamiliarTags, ToPurge
from repocache.tags import known_shapes, told_tags

__all__ = ["edge_switches"]

SETTLED = 10.0
"""Seconds until a page of an older record has arrived."""


class Table:
    """`c` commits and purges, by a clock that is played; `d` renders a page of a select of it.
    `kept`: the version that the edge's page shows."""

    def __init__(self, c: Process, d: Process) -> None:
        self.kept: int | None = None
        self.row = 1
        self.now = 0.0
        self._c = c
        self._d = d
        self._familiar = FamiliarTags(c.records, frozenset([TAGS]), SETTLED, lambda: self.now)
        self._tag = ""

    async def rendered(self) -> int:
        """A page, on its way; the select's shape is registered."""
        with self._d.db.recording() as recording:
            [version] = await versions(self._d)
        [self._tag] = [tag for tag in recording.trace().tags if tag.startswith(f"{TAGS}:")]
        return version

    async def commit(self) -> None:
        """Redis is told."""
        self.row += 1
        await write(self._c, version=self.row)
        await self._d.heard()

    async def look(self) -> ToPurge:
        """For the tags of a commit that knew the select's shape."""
        shape = self._tag.split(":")[1]
        told = Batch({TAGS: frozenset([self._tag, known_shapes(TAGS, [shape])])})
        assert told_tags(told.keys)
        return await self._familiar.narrowed(told, self._c.topology.lineage.history)

    def purge(self, found: ToPurge) -> None:
        """The edge is asked to."""
        tags = found.batch.keys.get(TAGS, frozenset())
        if TAGS in found.batch.owners or self._tag in tags:
            self.kept = None

    async def purge_first(self) -> None:
        self.purge(await self.look())

    async def purge_again(self) -> None:
        """And it answers."""
        found = await self.look()
        self.purge(found)
        self._familiar.purged(found)

    def answered(self, found: ToPurge) -> None:
        self._familiar.purged(found)

    async def becomes_familiar(self) -> None:
        """By two commits, one long after the other, with nothing on its way."""
        for _ in range(2):
            await self.commit()
            await self.purge_first()
            self.now += 2 * SETTLED
            await self.purge_again()

    def stale(self) -> list[str]:
        """Once all is quiet."""
        if self.kept is None or self.kept == self.row:
            return []
        return [f"the edge keeps {self.kept}, the row is {self.row}"]


async def open_table(world: World) -> Table:
    c, d = await process(world, "c"), await process(world, "d")
    await all_known(world, c)
    table = Table(c, d)
    await table.rendered()
    return table


@guards("strange tags")
async def test_of_a_record_that_is_not_familiar_all_is_purged(world: World) -> list[str]:
    """1. The edge has a page; 2. Redis loses the record that lists its select; 3. a commit finds no
    shape to tell."""
    table = await open_table(world)
    table.kept = await table.rendered()
    await evict_own(world.a)
    await table.commit()
    await table.purge_first()
    await table.purge_again()
    return table.stale()


@guards("another record's tags")
async def test_a_record_made_anew_is_not_familiar(world: World) -> list[str]:
    """The same, once the lost record was familiar."""
    table = await open_table(world)
    await table.becomes_familiar()
    table.kept = await table.rendered()
    await evict_own(world.a)
    await table.commit()
    await table.purge_first()
    await table.purge_again()
    return table.stale()


@guards("a lost record's tags")
async def test_a_record_that_is_not_there_is_not_familiar(world: World) -> list[str]:
    """1. A commit is told; 2. Redis loses the record; 3. the edge is purged."""
    table = await open_table(world)
    await table.becomes_familiar()
    table.kept = await table.rendered()
    await table.commit()
    await evict_own(world.a)
    await table.purge_first()
    await table.purge_again()
    return table.stale()


@guards("proven tags")
async def test_a_record_is_not_familiar_at_second_sight(world: World) -> list[str]:
    """1. A page is on its way; 2. its record is lost; 3. a commit is purged; 4. the page arrives,
    and the commit is purged again."""
    table = await open_table(world)
    page = await table.rendered()
    await evict_own(world.a)
    await table.commit()
    await table.purge_first()
    table.kept = page
    await table.purge_again()
    return table.stale()


@guards("ripe tags")
async def test_nor_before_pages_of_older_records_have_arrived(world: World) -> list[str]:
    """1. A commit is purged; 2. a page is on its way; 3. its record is lost; 4. another commit; 5.
    both are purged, the page arrives, and the later one is purged again."""
    table = await open_table(world)
    await table.commit()
    await table.purge_first()
    page = await table.rendered()
    await evict_own(world.a)
    await table.commit()
    await table.purge_first()
    await table.purge_again()
    table.kept = page
    table.now += 2 * SETTLED
    await table.purge_again()
    return table.stale()


@guards("tags ripe before")
async def test_nor_by_a_purge_that_was_sent_before_that(world: World) -> list[str]:
    """The same, and the edge answers late."""
    table = await open_table(world)
    await table.commit()
    await table.purge_first()
    page = await table.rendered()
    await evict_own(world.a)
    await table.commit()
    await table.purge_first()
    found = await table.look()
    table.purge(found)
    table.kept = page
    table.now += 2 * SETTLED
    table.answered(found)
    await table.purge_again()
    return table.stale()


@guards("the same record's tags")
async def test_a_purge_makes_no_later_record_familiar(world: World) -> list[str]:
    """1. A commit's second purge is sent; 2. a page is on its way; 3. its record is lost; 4. a
    commit, and its first purge; 5. the edge answers the purge before; 6. the page arrives."""
    table = await open_table(world)
    await table.commit()
    await table.purge_first()
    table.now += 2 * SETTLED
    found = await table.look()
    table.purge(found)
    page = await table.rendered()
    await evict_own(world.a)
    await table.commit()
    await table.purge_first()
    table.answered(found)
    table.kept = page
    await table.purge_again()
    return table.stale()
