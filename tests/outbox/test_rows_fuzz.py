"""Whatever stands in the outbox: the relay lives, good rows are delivered, and the others give way."""

from __future__ import annotations

import asyncio
import json
import math
import os
from concurrent.futures import Future
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.events import RelayFailed, TaskFailed
from repocache.invalidation.outbox import TABLE
from tests.outbox.conftest import Sql
from tests.shop import Shop, until

EXAMPLES = int(os.environ.get("REPOCACHE_FUZZ_ROWS", "40"))
"""More of them for a longer run."""
LONG = 1_200_000


class Row(NamedTuple):
    """Of anybody's."""

    notices: str
    source: str | None
    tries: int
    due: str
    why: str | None


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
WORDS = st.sampled_from(
    [
        "user",
        "order",
        "x",
        "user:7",
        "order:1:2",
        "x:1",
        "user:",
        ":7",
        "user:%zz",
        "public.users",
        "public.strange",
        "rows",
    ]
)
NUMBERS = st.integers() | st.sampled_from([2**63, -(2**63), 2**64, 10**400]) | st.floats(allow_nan=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS | WORDS | st.just("a" * LONG)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS | st.sampled_from("kot"), inner, max_size=4),
    max_leaves=12,
)
NOTICE = (
    st.fixed_dictionaries({"k": st.lists(WORDS | JSON, max_size=5), "o": st.lists(WORDS | JSON, max_size=5)})
    | st.fixed_dictionaries({"t": WORDS, "rows": st.lists(st.dictionaries(st.just("id"), JSON) | JSON, max_size=3)})
    | st.fixed_dictionaries({"t": WORDS | JSON}, optional={"rows": JSON, "k": JSON, "o": JSON, "more": JSON})
)
DEEP = st.integers(500, 3_000).map(lambda depth: f'[{{"t": "public.users", "rows": {"[" * depth}{"]" * depth}}}]')


def encoded(value: Any) -> str:
    """With ints of any size, and an infinity that is a number of 5,001 digits to PostgreSQL."""
    match value:
        case list():
            return f"[{', '.join(map(encoded, value))}]"
        case dict():
            return f"{{{', '.join(f'{encoded(key)}: {encoded(each)}' for key, each in value.items())}}}"
        case float() if math.isinf(value):
            return "1e5000"
        case _:
            return json.dumps(value)


ROWS = st.builds(
    Row,
    DEEP | (JSON | NOTICE | st.lists(NOTICE, max_size=3)).map(encoded),
    st.none() | WORDS | TEXTS,
    st.integers(-(2**31), 2**31 - 1) | st.integers(0, 12),
    st.sampled_from(["-infinity", "infinity", "epoch", "4713-01-01 BC", "290000-01-01", "now"]),
    st.none() | TEXTS,
)
PUT = text(
    f"INSERT INTO {TABLE} (notices, source, tries, due, why) VALUES (CAST(CAST(:notices AS text) AS jsonb),"
    " CAST(:source AS text), CAST(:tries AS integer), CAST(CAST(:due AS text) AS timestamptz), CAST(:why AS text))"
)


async def delivered_beside(rows: list[Row], shop: Shop, engine: AsyncEngine, sql: Sql) -> None:
    """Good rows among these, before and after."""
    good = Row('[{"k": ["user:7"], "o": ["order"]}]', None, 0, "now", None)
    async with engine.begin() as connection:
        for row in [good, *rows, good]:
            await connection.execute(PUT, row._asdict())
    del shop.seen[:]

    async def given_way() -> bool:
        """Nothing is due but what is another service's, or whose time has not come."""
        [(due,)] = await sql(
            f"SELECT count(*) FROM {TABLE} WHERE due <= clock_timestamp()"
            " AND (source IS NULL OR source IN ('public.users', 'public.orders'))"
        )
        return due == 0

    await until(given_way, "all were delivered or gave way")
    assert await sql(f"SELECT id FROM {TABLE} WHERE notices = '{good.notices}'".replace(":", "\\:")) == []
    assert shop.seen.of(RelayFailed) + shop.seen.of(TaskFailed) == []
    await sql(f"DELETE FROM {TABLE}")


async def test_good_rows_are_delivered_beside_any_others(shop: Shop, engine: AsyncEngine, sql: Sql) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(ROWS, min_size=1, max_size=12))
    def run(rows: list[Row]) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(delivered_beside(rows, shop, engine, sql), loop)
        done.result()

    await asyncio.to_thread(run)
