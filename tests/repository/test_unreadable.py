"""A row that cannot be read fails those who asked for it, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from sqlalchemy import Integer, cast, text

from repocache.errors import CodecError
from repocache.events import Filled, Served
from repocache.records import RedisRecords
from repocache.repository.unreadable import read_apart
from repocache.testing import Endpoints, Servers
from tests.papers import MAKE, UNREADABLE, Desk, Paper, Papers, open_desk, run
from tests.shop import until

GOOD = [f"p{number}" for number in range(10)]


@pytest.fixture
async def desk(repocache_endpoints: Endpoints, repocache_servers: Servers) -> AsyncIterator[Desk]:
    await run(repocache_endpoints, *MAKE)
    repocache_servers.catch_up()
    async with open_desk(repocache_endpoints) as opened:
        yield opened


async def answers(papers: Papers, *ids: str) -> dict[str, Paper | BaseException | None]:
    """What callers of one moment are told, each of one paper."""
    told = await asyncio.gather(*map(papers.get, ids), return_exceptions=True)
    return dict(zip(ids, told, strict=True))


def check(told: Mapping[str, Paper | BaseException | None]) -> None:
    """The unreadable ones have their errors, the rest their papers."""
    for id, answer in told.items():
        if id in UNREADABLE:
            assert isinstance(answer, CodecError)
            assert str(answer).startswith(f"Paper {id!r} cannot be read: ")
            assert UNREADABLE[id] in str(answer)
            assert answer.__cause__ is not None
        else:
            assert isinstance(answer, Paper)
            assert (answer.id, answer.title) == (id, "t")


@pytest.mark.parametrize("bad", UNREADABLE)
async def test_one_bad_row_of_a_batch_fails_its_own_caller_only(desk: Desk, bad: str) -> None:
    check(await answers(desk.papers, *GOOD[:5], bad, *GOOD[5:]))


async def test_several_bad_rows_and_many_callers_of_one(desk: Desk) -> None:
    papers = desk.papers
    check(await answers(papers, *UNREADABLE, *GOOD))
    twice = await asyncio.gather(papers.get("far"), papers.get("far"), return_exceptions=True)
    assert [type(each) for each in twice] == [CodecError, CodecError]


async def test_the_rows_beside_a_bad_one_are_cached_and_its_lease_is_given_back(desk: Desk) -> None:
    check(await answers(desk.papers, "label", *GOOD))
    await until(lambda: len(desk.seen.of(Filled)) == len(GOOD), "the others are filled")
    assert {event.key for event in desk.seen.of(Filled)} == {f"paper:{id}" for id in GOOD}
    records = desk.db._started.cache.shared.records
    assert isinstance(records, RedisRecords)
    assert await records._link.call("KEYS", "*paper:label") == []
    desk.seen.clear()
    check(await answers(desk.papers, "label", *GOOD))
    tiers = [event.tier for event in desk.seen.of(Served)]
    assert tiers == ["l2"] * len(GOOD)


async def test_a_bad_row_that_was_mended_is_read(
    desk: Desk, repocache_endpoints: Endpoints, repocache_servers: Servers
) -> None:
    check(await answers(desk.papers, "label", "p1"))
    await run(repocache_endpoints, "UPDATE papers SET state = 'signed' WHERE id = 'label'")
    repocache_servers.catch_up()
    assert (await desk.papers.require("label")).state == "signed"


@pytest.mark.parametrize("bad", UNREADABLE)
async def test_who_asks_for_many_is_told_of_the_bad_one(desk: Desk, bad: str) -> None:
    for papers in (desk.papers, desk.papers.on_primary()):
        with pytest.raises(CodecError, match=f"Paper '{bad}' cannot be read"):
            await papers.get_many([*GOOD, bad])


async def test_past_the_cache_and_in_a_unit_of_work_it_is_the_same_error(desk: Desk) -> None:
    with pytest.raises(CodecError, match="Paper 'far' cannot be read: ValueError: year 20000"):
        await desk.papers.on_primary().get("far")
    with pytest.raises(CodecError, match="a row of Paper cannot be read: LookupError"):
        await desk.papers.find(Paper.id == "label")
    async with desk.db.unit_of_work() as work:
        with pytest.raises(CodecError, match="Paper 'far' cannot be read: ValueError: year 20000"):
            await work[Papers].get("far")
        with pytest.raises(CodecError, match="a row of Paper cannot be read: LookupError"):
            await work[Papers].get_many(["p1", "label"])
        with pytest.raises(CodecError, match="a row of Paper cannot be read: LookupError"):
            await work[Papers].find(Paper.id == "label")
        assert (await work[Papers].require("p1")).id == "p1"


async def test_an_error_of_the_callers_own_condition_is_the_databases(desk: Desk) -> None:
    with pytest.raises(Exception, match="invalid input syntax") as raised:
        await desk.papers.find(cast(Paper.title, Integer) == 1)
    assert not isinstance(raised.value, CodecError)


async def test_a_statement_that_fails_for_all_is_sent_once(
    desk: Desk, repocache_endpoints: Endpoints
) -> None:
    await run(repocache_endpoints, "ALTER TABLE papers DROP COLUMN title")
    told = await asyncio.gather(*map(desk.papers.on_primary().get, GOOD), return_exceptions=True)
    assert not any(isinstance(each, CodecError) for each in told)
    assert all("does not exist" in str(each) for each in told)
    with pytest.raises(Exception, match="does not exist"):
        async with desk.db.snapshot() as snapshot:
            await snapshot.execute(text("SELECT title FROM papers"))


async def test_halves_cost_little_and_are_bounded() -> None:
    asked: list[int] = []
    bad: set[int] = set()

    async def read(ids: Sequence[int]) -> dict[int, tuple[int]]:
        asked.append(len(ids))
        if bad.intersection(ids):
            raise LookupError("a label")
        return {id: (id,) for id in ids}

    def refuse(id: int, error: Exception) -> CodecError:
        return CodecError(f"{id}: {error}")

    every = list(range(512))
    for bad, most in (({7}, 19), ({7, 8}, 37), (set(every), 1023)):
        asked.clear()
        rows = await read_apart(every, read, refuse)
        assert len(asked) <= most
        assert {id for id, row in rows.items() if isinstance(row, CodecError)} == bad
        assert {id: row for id, row in rows.items() if id not in bad} == {
            id: (id,) for id in every if id not in bad
        }
