"""What a deploy may do to a cached table, with the old and the new release side by side: nothing of
another shape is read, and what either writes invalidates both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from repocache import Bookmark, Settings
from repocache.testing import Endpoints
from tests.deploys.releases import BEFORE, MIGRATIONS, Release, first, migrate
from tests.shop import QUICK, Shop, in_rotation, open_shop


@asynccontextmanager
async def opened(ends: Endpoints, release: Release) -> AsyncIterator[Shop]:
    async with open_shop(ends, Settings(topology=QUICK), release.repositories) as shop:
        await in_rotation(shop)
        yield shop


async def titles(shop: Shop, release: Release) -> tuple[Any, list[str]]:
    """Of one note by its id, and of all of them by a cached select."""
    notes = shop.db[release.notes]
    one = await notes.get(1)
    found = await notes.find(order_by=[release.note.id])
    return (
        None if one is None else getattr(one, release.title),
        [getattr(each, release.title) for each in found],
    )


async def rename(shop: Shop, release: Release, title: str) -> Bookmark:
    async with shop.db.unit_of_work() as work:
        note = await work[release.notes].require(1)
        setattr(note, release.title, title)
        bookmark: Bookmark = await work.commit()
    return bookmark


@pytest.mark.parametrize("kind", MIGRATIONS)
async def test_both_releases_read_rightly_and_invalidate_each_other(
    repocache_endpoints: Endpoints, kind: str
) -> None:
    make_old, make_new, statements = MIGRATIONS[kind]
    old, new = make_old(), make_new()
    await migrate(repocache_endpoints.primary, BEFORE)
    async with opened(repocache_endpoints, old) as before:
        for _ in range(3):
            assert await titles(before, old) == ("t1", ["t1", "t2", "t3", "t4", "t5"])
        await migrate(repocache_endpoints.primary, statements)
        async with opened(repocache_endpoints, new) as after:
            sides = ((before, old), (after, new))
            for _ in range(3):
                for shop, release in sides:
                    assert await titles(shop, release) == ("t1", ["t1", "t2", "t3", "t4", "t5"])
            for at, (shop, release) in enumerate(sides):
                bookmark = await rename(shop, release, f"x{at}")
                for other, its in sides:
                    async with other.db.causal_session(bookmark):
                        for _ in range(3):
                            assert await titles(other, its) == (
                                f"x{at}",
                                [f"x{at}", "t2", "t3", "t4", "t5"],
                            )


async def test_a_split_table_s_rows_are_told_by_what_is_followed(
    repocache_endpoints: Endpoints,
) -> None:
    """The old release writes the pages where they were; a trigger brings them over, and the new
    owner follows that table."""
    _, make_new, statements = MIGRATIONS["split a table"]
    old, new = first(), make_new()
    await migrate(repocache_endpoints.primary, (*BEFORE, *statements))
    [extents] = new.others
    async with opened(repocache_endpoints, new) as after:
        async with after.db.unit_of_work() as work:
            extent = await work[extents].require(1)
            extent.pages = 77
            bookmark = await work.commit()
        async with after.db.causal_session(bookmark):
            assert (await after.db[extents].require(1)).pages == 77
        bookmark = await rename(after, new, "y")
        async with after.db.causal_session(bookmark):
            # The trigger has written the old pages over it.
            assert (await after.db[extents].require(1)).pages == 10
    async with opened(repocache_endpoints, old) as before:
        assert (await titles(before, old))[0] == "y"


async def test_a_value_of_another_type_is_not_read(repocache_endpoints: Endpoints) -> None:
    make_old, make_new, _ = MIGRATIONS["widen a type"]
    old, new = make_old(), make_new()
    await migrate(repocache_endpoints.primary, BEFORE)
    async with (
        opened(repocache_endpoints, old) as before,
        opened(repocache_endpoints, new) as after,
    ):
        for _ in range(3):
            for shop, release, kind in ((before, old, int), (after, new, float)):
                notes = shop.db[release.notes]
                [note] = await notes.find(release.note.id == 2)
                assert type(note.pages) is type((await notes.require(2)).pages) is kind
