"""Bookmarks that keep reads at the primary: one client cannot spend what it may carry for
others."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from proof.acceptance.test_replicas_lost import locked_users
from repocache import PrimaryBudgetExceeded, Settings, TopologySettings
from repocache.bookmark import Bookmark
from repocache.nodes import budget
from repocache.testing import Endpoints
from tests.shop import Order, Orders, Shop, User, in_rotation, open_shop, until

READS = 4
NARROW = TopologySettings(sample_every=0.05, max_lag=5.0, primary_reads=READS, primary_wait=0.3)
PLAIN = Settings(topology=NARROW)
SIGNING = Settings(topology=NARROW, secrets=("a secret of sixteen",), accept_unsigned=True)
PINS = Bookmark("", None, {}, covered=True, expires=4e9)
"""Written, nobody knows where: what anybody can make, as often as he likes."""


async def attack(shop: Shop, number: int, client: str | None) -> str:
    """A bookmark for each request, and a read that takes long."""
    forged = Bookmark("", None, {}, covered=True, expires=4e9 + number).encode()
    try:
        async with shop.db.causal_session(forged, client=client):
            await shop.users.find(User.id == 7)
    except PrimaryBudgetExceeded as error:
        return "one client" if "one client" in str(error) else "full"
    return "served"


async def good(shop: Shop, client: str | None) -> str:
    """Somebody who has written, in a session of its own."""
    try:
        async with shop.db.causal_session(PINS, client=client):
            found = await shop.db[Orders].find(Order.tenant == 1)
    except PrimaryBudgetExceeded:
        return "full"
    return "served" if len(found) == 3 else "wrong"


async def under_attack(
    endpoints: Endpoints, attacker: str | None, client: str | None, settings: Settings = PLAIN
) -> tuple[Counter[str], ...]:
    async with open_shop(endpoints, settings) as shop:
        await in_rotation(shop)
        async with locked_users(endpoints.primary):
            attacks = [asyncio.create_task(attack(shop, number, attacker)) for number in range(50)]
            await asyncio.sleep(0.05)
            outcomes = [await good(shop, client) for _ in range(5)]
            await until(
                lambda: sum(each.done() for each in attacks) >= 50 - READS,
                "those who waited are refused",
            )
        return Counter(outcomes), Counter(await asyncio.gather(*attacks))


@pytest.mark.parametrize(
    "attacker, client", [("10.0.0.1", "10.0.0.2"), (None, None)], ids=["named", "unsigned"]
)
async def test_a_client_leaves_half_of_the_primary_to_others(
    repocache_endpoints: Endpoints, attacker: str | None, client: str | None
) -> None:
    outcomes, attacks = await under_attack(repocache_endpoints, attacker, client)
    assert outcomes == {"served": 5}
    assert attacks == {"served": READS // 2, "one client": 50 - READS // 2}


async def test_nor_do_strangers_while_bookmarks_need_not_be_signed(
    repocache_endpoints: Endpoints,
) -> None:
    outcomes, attacks = await under_attack(repocache_endpoints, None, None, SIGNING)
    assert outcomes == {"served": 5}
    assert attacks == {"served": READS // 2, "one client": 50 - READS // 2}


async def test_without_shares_it_has_all(
    repocache_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHARES", 1)
    outcomes, _ = await under_attack(repocache_endpoints, None, None)
    assert outcomes == {"full": 5}
