"""The rights that docs/behind.md names are enough, and not one is too many."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from repocache import Settings
from repocache.errors import BehindUnavailable
from repocache.testing import Endpoints, Servers
from tests.behind.counters import PageView, PageViews, counting
from tests.shop import QUICK

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS = Settings(topology=QUICK, app="shop-of-one")


def words(page: str) -> list[str]:
    [line] = [
        line
        for line in re.findall(r"^ACL SETUSER .*$", (DOCS / page).read_text(), re.MULTILINE)
        if "sentinel" not in line
    ]
    found: list[str] = line.replace("<app>", SETTINGS.app).replace("<password>", "own").split()
    return found


BASE, MORE = words("redis.md"), words("behind.md")
EXTRA = [word for word in MORE if word.startswith("+")]


@pytest.fixture
def placed(repocache_servers: Servers, repocache_endpoints: Endpoints) -> Iterator[Endpoints]:
    """Users of this name have the rights of docs/redis.md alone."""
    redis = repocache_servers.redis
    redis.command(*BASE)
    place = f"redis://{BASE[2]}:own@{redis.host}:{redis.port}/0"
    yield dataclasses.replace(repocache_endpoints, redis=place)
    redis.command("ACL", "DELUSER", BASE[2])


async def do_everything(ends: Endpoints) -> None:
    async with counting(ends, [PageViews], SETTINGS) as place:
        views = place.db[PageViews]
        await views.add(7, hits=1)
        await views.put(PageView(id=8, title="a"))
        assert (await views.require(7)).hits == 1
        await views.backlog()
        await views.flushed()
        await views.add(7, hits=1)
        assert (await views.require(7)).hits == 2
        await views.flushed()


async def test_they_are_enough(placed: Endpoints, repocache_servers: Servers) -> None:
    repocache_servers.redis.command(*MORE)
    repocache_servers.redis.command("ACL", "LOG", "RESET")
    await do_everything(placed)
    log = str(repocache_servers.redis.command("ACL", "LOG"))
    refused = set(re.findall(r"'object', '([^']+)'", log))
    assert refused <= {"config|get", "client|setinfo"}


@pytest.mark.parametrize("right", EXTRA)
async def test_none_is_too_many(right: str, placed: Endpoints, repocache_servers: Servers) -> None:
    repocache_servers.redis.command(*MORE)
    repocache_servers.redis.command("ACL", "SETUSER", BASE[2], f"-{right[1:]}")
    with pytest.raises(BehindUnavailable):
        await do_everything(placed)
