"""A user of Redis with no more rights than docs/redis.md names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from repocache import KeyOwner, Repository, Settings, WriteThrough
from repocache.events import CacheFailed, PublishFailed, Served
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, Country, Users, open_shop, until

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
SETTINGS = Settings(topology=QUICK, app="shop-of-one")


class StrictCountries(Repository[Country, str]):
    owner = KeyOwner("country")
    policy = WriteThrough(strict=True)


async def test_the_rights_named_are_enough(repocache_servers: Servers, repocache_endpoints: Endpoints) -> None:
    [line] = re.findall(r"^ACL SETUSER .*$", PAGE, re.MULTILINE)
    words = line.replace("<app>", SETTINGS.app).replace("<password>", "own").split()
    redis = repocache_servers.redis
    redis.command(*words)
    try:
        ends = replace(repocache_endpoints, redis=f"redis://{words[2]}:own@{redis.host}:{redis.port}/0")
        repositories = (Users, StrictCountries)
        async with (
            open_shop(ends, SETTINGS, repositories) as shop,
            open_shop(ends, SETTINGS, repositories) as other,
        ):
            await shop.users.get(7)
            await other.users.get(7)
            assert other.seen.of(Served)[-1].tier == "l2"
            await shop.rename(7, "Ada")

            async def heard() -> bool:
                user = await other.users.get(7)
                return user is not None and user.name == "Ada"

            await until(heard, "the other has heard of it")
            async with shop.db.unit_of_work() as work:
                (await work[StrictCountries].require("de")).name = "Germany"
                await work.commit()
            assert (await other.db[StrictCountries].require("de")).name == "Germany"
            for each in (shop, other):
                assert not each.seen.of(CacheFailed)
                assert not each.seen.of(PublishFailed)
    finally:
        redis.command("ACL", "DELUSER", words[2])
