"""Of two who have seen the same, one alone changes it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from repocache.errors import PreconditionFailed
from tests.pages.site import Site
from tests.responses.catalog import Products
from tests.shop import Shop


async def etag_of(client: httpx.AsyncClient, path: str) -> str:
    return str((await client.get(path)).headers["etag"])


async def test_who_has_seen_what_is_there_may_change_it(
    site: Site, client: httpx.AsyncClient
) -> None:
    etag = await etag_of(client, "/edit/1")
    done = await client.put("/edit/1", json="a", headers={"if-match": etag})
    assert (done.status_code, done.json()) == (200, "a")
    late = await client.put("/edit/1", json="b", headers={"if-match": etag})
    assert (late.status_code, late.content) == (412, b"")
    assert (await client.get("/edit/1")).json() == "a"
    assert (await client.put("/edit/1", json="c")).status_code == 200, "who says nothing may"


@pytest.mark.parametrize("forged", ['"forged"', 'W/"x"', "nonsense", '"' + "x" * 9000 + '"'])
async def test_a_forged_etag_changes_nothing(client: httpx.AsyncClient, forged: str) -> None:
    done = await client.put("/edit/1", json="a", headers={"if-match": forged})
    assert done.status_code == 412
    assert (await client.get("/edit/1")).json() == "n1"


async def test_many_at_once_of_one_state_one_changes_it(site: Site, other: Site) -> None:
    async with site.client() as client, other.client() as elsewhere:
        for turn in range(5):
            etag = await etag_of(client, "/edit/2")
            lines = {"if-match": etag}
            answers = await asyncio.gather(
                *(
                    each.put("/edit/2", json=f"t{turn}n{number}", headers=lines)
                    for number, each in enumerate([client, elsewhere] * 4)
                )
            )
            statuses = sorted(each.status_code for each in answers)
            assert statuses == [200] + [412] * 7, statuses
            [won] = [each.json() for each in answers if each.status_code == 200]
            assert (await client.get("/edit/2")).json() == won


async def test_what_is_to_be_new_must_not_be_there(client: httpx.AsyncClient) -> None:
    done = await client.put("/edit/1", json="a", headers={"if-none-match": "*"})
    assert done.status_code == 412


async def test_a_unit_of_work_holds_what_something_was_made_of(site: Site) -> None:
    shop: Shop = site.shop
    db = shop.db
    with db.recording() as recording:
        await db[Products].get_many([1, 2])
        await db[Products].get(99)
    trace = recording.trace()
    async with db.unit_of_work() as work:
        await work.hold(trace)
        (await work[Products].require(1)).name = "held"
        await work.commit()
    async with db.unit_of_work() as work:
        with pytest.raises(PreconditionFailed, match="Products 1"):
            await work.hold(trace)
        await work.rollback()
