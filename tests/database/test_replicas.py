"""`db.replicas = [...]` while it runs."""

from __future__ import annotations

import asyncio

import pytest

from repocache import Database, Replica
from repocache.errors import ConfigurationError, OtherLoop
from repocache.events import Routed, Unguarded
from repocache.testing import Endpoints
from tests.database.test_loops import without_complaints
from tests.shop import REPOSITORIES, Shop, User, Users, in_rotation, open_shop

AFAR = "postgresql://app@192.0.2.1/shop"
"""Nobody is there (RFC 5737), and it is no address of this machine."""


async def answering(shop: Shop, reads: int = 60) -> set[str]:
    """The nodes that answer reads past the cache."""
    shop.seen.clear()
    for _ in range(reads):
        await shop.users.find(limit=1)
    return {each.node for each in shop.seen.of(Routed)}


async def test_reads_go_to_those_that_were_given_last(repocache_endpoints: Endpoints) -> None:
    first, second = repocache_endpoints.replicas
    async with open_shop(repocache_endpoints) as shop:
        await in_rotation(shop)
        assert len(await answering(shop)) == 2
        for given, names in (
            ([Replica(first, name="one")], {"one"}),
            ([Replica(first, name="one"), Replica(second, name="two")], {"one", "two"}),
            ([], {"primary"}),
        ):
            shop.db.replicas = given
            await in_rotation(shop)
            assert await answering(shop) == names
            assert {each.name for each in shop.db.replicas} | {"primary"} == names | {"primary"}
        await shop.rename(7, "Ada")
        async with shop.db.causal_session():
            await shop.rename(7, "Grace")
            assert (await shop.users.require(7)).name == "Grace"


async def test_a_session_reads_its_writes_from_one_that_has_just_joined(
    repocache_endpoints: Endpoints,
) -> None:
    first, second = repocache_endpoints.replicas
    async with open_shop(repocache_endpoints) as shop:
        for number in range(30):
            async with shop.db.causal_session():
                await shop.rename(7, f"n{number}")
                shop.db.replicas = [(first, second)[number % 2]]
                [user] = await shop.users.find(User.id == 7)
                assert user.name == f"n{number}"


async def test_what_it_leaves_open_is_told(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        before = len(shop.seen.of(Unguarded))
        shop.db.replicas = [*shop.db.replicas, AFAR]
        assert [each.what for each in shop.seen.of(Unguarded)[before:]] == ["TLS to 192.0.2.1"]
        shop.db.replicas = shop.db.replicas[:2]
        assert len(shop.seen.of(Unguarded)) == before + 1


async def test_what_cannot_be_changes_nothing(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        before = shop.db.replicas
        with pytest.raises(ConfigurationError, match="replicas: the URL's option sslmode=maybe"):
            shop.db.replicas = [f"{AFAR}?sslmode=maybe"]

        def elsewhere() -> None:
            shop.db.replicas = []

        with pytest.raises(OtherLoop):
            await asyncio.to_thread(elsewhere)
        assert shop.db.replicas == before


async def test_before_the_start(repocache_endpoints: Endpoints) -> None:
    db = Database(repocache_endpoints.primary, replicas=[AFAR], repositories=REPOSITORIES)
    db.replicas = repocache_endpoints.replicas
    async with db:
        assert len(db.nodes) == 3
    db.replicas = []
    async with db:
        assert [each.name for each in db.nodes] == ["primary"]


def test_after_its_loop_was_closed(repocache_endpoints: Endpoints) -> None:
    """Nothing of it runs: the next loop has those that were given last."""
    db = Database(
        repocache_endpoints.primary,
        replicas=repocache_endpoints.replicas,
        repositories=REPOSITORIES,
    )

    async def enters() -> None:
        await db.__aenter__()

    async def enters_again() -> None:
        for given in ((), repocache_endpoints.replicas, repocache_endpoints.replicas[1:]):
            db.replicas = given
        async with db:
            assert len(db.nodes) == 2
            assert (await db[Users].require(7)).id == 7

    with without_complaints():
        asyncio.run(enters())
        asyncio.run(enters_again())
