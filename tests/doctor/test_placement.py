"""Which tier should own what: each answer by the numbers that lead to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from repocache import Database
from repocache.cli.advise import chosen_owners, numbers_of, read_all
from repocache.cli.frame import CommandRefused
from repocache.cli.scraped import OwnerFigures, figures_of, parse, scrape
from repocache.doctor.placement import OwnerNumbers, Reply, place
from repocache.runtime.description import OwnerDescription, OwnerKind, Tier
from tests.cli.shop_of_all import EVERYTHING
from tests.doctor.conftest import Ground

OWNER = OwnerDescription(
    prefix="user",
    kind=OwnerKind.REPOSITORY,
    declared="Users",
    source="shop.Users",
    key="user:{id: int}",
    pattern="cache-aside",
    times=None,
    tiers=tuple(Tier),
    written_by="reads fill it",
    tables=("public.users",),
)
READ = {"l1": 900.0, "l2": 50.0, "database": 50.0}
NUMBERS = OwnerNumbers(local_bytes=64 << 20, reads=READ, rows=5_000, bytes=1 << 20, distinct=100)


@pytest.mark.parametrize(
    "changed, told",
    [
        ({}, "the program"),
        ({"inserted": 5}, "L1 over Redis"),
        ({"inserted": 5, "bytes": 1 << 40}, "Redis: SharedOnly"),
        ({"updated": 100}, "Redis: SharedOnly"),
        ({"updated": 100, "reads": {"l2": 300.0, "database": 700.0}}, "Redis, stored by commits"),
        ({"updated": 700}, "a replica"),
        ({"inserted": 20_000}, "the primary: WriteAround"),
        ({"updated": 5, "reads": {"l1": 3.0}}, "the numbers do not say"),
        ({"updated": 5, "reads": None, "scans": 10_000}, "L1 over Redis"),
        ({"rows": None, "reads": None}, "the numbers do not say"),
    ],
)
def test_who_should_own_it(changed: dict[str, object], told: str) -> None:
    found = place(OWNER, replace(NUMBERS, **changed))  # type: ignore[arg-type]
    assert found.advice.startswith(told), found
    assert all(step.reply is not Reply.YES for step in found.steps[:-1])


def test_what_is_strict_stays_out_of_processes() -> None:
    found = place(replace(OWNER, is_strict=True), replace(NUMBERS, updated=5))
    assert found.advice.startswith("Redis")


def test_rows_of_a_scope_are_no_shared_cache_s() -> None:
    found = place(replace(OWNER, scope="tenant"), replace(NUMBERS, updated=5))
    [outside] = [step for step in found.steps if "browser" in step.question]
    assert outside.reply is Reply.NO


def test_what_else_the_numbers_say() -> None:
    slow = replace(NUMBERS, updated=5, load=0.2, serial=7)
    told = " ".join(place(OWNER, slow).beside)
    assert "200 ms" in told
    assert "get_many()" in told
    assert place(OWNER, replace(NUMBERS, updated=5)).beside == ()


SCRAPED = """
# HELP repocache_reads_total Reads answered
# TYPE repocache_reads_total counter
repocache_reads_total{owner="user",tier="l1"} 90.0
repocache_reads_total{owner="user",tier="database"} 1e1 1700000000
repocache_load_seconds_sum{owner="user",node="primary"} 2.5
repocache_load_seconds_count{owner="user",node="primary"} 10
repocache_keys_distinct{owner="us\\"er"} 3
broken{
repocache_reads_total{owner="user",tier="l1"} many
"""


def test_what_processes_tell() -> None:
    found = figures_of(list(parse(SCRAPED)) * 2)
    assert found["user"] == OwnerFigures({"l1": 180.0, "database": 20.0}, 5.0, 20.0)
    assert found["user"].share("l1") == 0.9


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:1/metrics", "x"])
def test_endpoints_that_cannot_be_had(url: str) -> None:
    with pytest.raises(CommandRefused, match="--metrics"):
        scrape([url])


async def test_by_postgres_s_own_counts(ground: Ground) -> None:
    ground.sql("INSERT INTO authors SELECT g, g || '@x', '' FROM generate_series(1, 50) g")
    ground.sql("SELECT count(*) FROM authors; SELECT pg_stat_force_next_flush()")
    db = Database(ground.ends.primary, redis=ground.ends.redis, repositories=EVERYTHING)
    owners = chosen_owners(db, "Authors")
    counts = await read_all(db, owners)
    [owner] = owners
    numbers = numbers_of(owner, counts, None, 1)
    assert numbers.inserted == 50
    assert (numbers.scans or 0) >= 1
    assert numbers.reads is None


async def test_servers_that_are_away(ground: Ground) -> None:
    nowhere = "postgresql+asyncpg://app@127.0.0.1:1/shop"
    db = Database(nowhere, redis=ground.ends.redis, repositories=EVERYTHING)
    counts = await read_all(db, chosen_owners(db, None))
    assert counts["primary"].unreachable
