"""A running fleet is given secrets in two steps, and no session or cache misses a write
meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from repocache.errors import ConfigurationError
from repocache.events import BookmarkRefused, CacheFailed
from repocache.settings import Settings
from repocache.testing import Endpoints, Servers
from tests.shop import QUICK, Shop, open_shop, until

SECRETS = ("a secret of sixteen",)
NONE = Settings(topology=QUICK)
FIRST = Settings(topology=QUICK, secrets=SECRETS, accept_unsigned=True)
LAST = Settings(topology=QUICK, secrets=SECRETS)


async def hears(reader: Shop, writer: Shop, name: str) -> None:
    """The session's next request finds its write, and other reads of that process do soon, whose L1
    had the row."""
    await reader.users.get(7)
    async with writer.db.causal_session() as session:
        await writer.rename(7, name)
        text = session.encode()
    async with reader.db.causal_session(text) as session:
        assert session.bookmark.position
        assert (await reader.users.require(7)).name == name

    async def is_known() -> bool:
        return (await reader.users.require(7)).name == name

    await until(is_known, f"{name} is known")


@pytest.mark.parametrize("steps", [(NONE, FIRST), (FIRST, LAST)], ids=["first", "second"])
async def test_a_fleet_is_given_secrets(
    repocache_controls: Servers, repocache_endpoints: Endpoints, steps: Sequence[Settings]
) -> None:
    async with (
        open_shop(repocache_endpoints, steps[0]) as one,
        open_shop(repocache_endpoints, steps[1]) as other,
    ):
        for replica in repocache_controls.replicas:
            await asyncio.to_thread(replica.pause_replay)
        await hears(one, other, "Ada")
        await hears(other, one, "Grace")
        for shop in (one, other):
            assert shop.seen.of(BookmarkRefused) == []
            assert shop.seen.of(CacheFailed) == []


async def test_in_one_step_it_would_miss_some(repocache_endpoints: Endpoints) -> None:
    """Whoever has secrets, and nothing more, takes nothing of who has none: which is what they are
    for."""
    async with (
        open_shop(repocache_endpoints, NONE) as one,
        open_shop(repocache_endpoints, LAST) as other,
    ):
        async with one.db.causal_session() as session:
            await one.rename(7, "Ada")
            text = session.encode()
        async with other.db.causal_session(text) as session:
            assert not session.bookmark.position
        assert [event.why for event in other.seen.of(BookmarkRefused)] == ["signature"]
        await until(lambda: bool(other.seen.of(CacheFailed)), "the message was not heard")


def test_without_secrets_it_says_nothing() -> None:
    with pytest.raises(
        ConfigurationError, match=r"accept_unsigned=True\): it is of use with Settings\(secrets="
    ):
        Settings(accept_unsigned=True)
