"""Statements and writes drawn at random: what is cached is what the database answers, after every
commit, in both processes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from repocache.repository.tag_floors import TagFloors
from repocache.testing import Endpoints
from repocache.tracking.listener import Tracker
from tests.cached.live import Differs, compare
from tests.fuzzing import TIMES


@pytest.fixture(scope="session")
def repocache_template() -> str:
    return "template1"


async def test_a_cached_answer_is_that_of_the_database(repocache_endpoints: Endpoints) -> None:
    tally = await compare(repocache_endpoints, Random(TIMES), 20 * TIMES)
    assert tally.changed > 5, "or nothing was tried"
    assert tally.kept > tally.pairs / 10, "or every write invalidates everything"


async def test_a_write_that_tells_no_tag_is_found(
    repocache_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(self: Any, changes: Any, sent: Any, result: Any) -> None:
        before = len(changes._journal)
        touch(self, changes, sent, result)
        changes._journal[before:] = [
            each for each in changes._journal[before:] if not each.prefix.startswith("tag--")
        ]

    touch = Tracker._touch
    monkeypatch.setattr(Tracker, "_touch", told)
    with pytest.raises(Differs):
        await compare(repocache_endpoints, Random(3), 60)


async def test_a_miss_that_asks_for_no_floor_is_found(
    repocache_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a bookmark: a session that has one asks for its position besides."""

    async def above(self: Any, want: Any, tags: Any) -> Any:
        return want._replace(floor=0)

    monkeypatch.setattr(TagFloors, "above", above)
    monkeypatch.setattr("tests.cached.live.BOOKMARKS", False)
    with pytest.raises(Differs):
        await compare(repocache_endpoints, Random(3), 60)
