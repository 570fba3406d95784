"""Whatever stands in the outbox: the relay lives, good rows are delivered, and the others give
way."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from repocache.events import RelayFailed, TaskFailed
from repocache.invalidation.outbox import TABLE
from tests.fuzzing import examples
from tests.outbox.conftest import Sql
from tests.shop import Shop, until


class Long:
    """A text longer than a row that is read, which no report shows."""

    def __repr__(self) -> str:
        return "LONG"


class Deep(NamedTuple):
    """Lists in lists."""

    depth: int


class Row(NamedTuple):
    """Of anybody's."""

    notices: Any
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
NUMBERS = (
    st.integers() | st.sampled_from([2**63, -(2**63), 2**64, 10**400]) | st.floats(allow_nan=False)
)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS | WORDS | st.just(Long())
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(TEXTS | st.sampled_from("kot"), inner, max_size=4)
    ),
    max_leaves=12,
)
NOTICE = (
    st.fixed_dictionaries(
        {"k": st.lists(WORDS | JSON, max_size=5), "o": st.lists(WORDS | JSON, max_size=5)}
    )
    | st.fixed_dictionaries(
        {"t": WORDS, "rows": st.lists(st.dictionaries(st.just("id"), JSON) | JSON, max_size=3)}
    )
    | st.fixed_dictionaries(
        {"t": WORDS | JSON}, optional={"rows": JSON, "k": JSON, "o": JSON, "more": JSON}
    )
)
DEEP = st.builds(Deep, st.integers(500, 3_000)).map(
    lambda deep: [{"t": "public.users", "rows": deep}]
)


def encoded(value: Any) -> str:
    """With ints of any size, and an infinity that is a number of 5,001 digits to PostgreSQL."""
    match value:
        case Deep():
            return "[" * value.depth + "]" * value.depth
        case list():
            return f"[{', '.join(map(encoded, value))}]"
        case dict():
            items = (f"{encoded(key)}: {encoded(each)}" for key, each in value.items())
            return f"{{{', '.join(items)}}}"
        case float() if math.isinf(value):
            return "1e5000"
        case Long():
            return f'"{"a" * 1_200_000}"'
        case _:
            return json.dumps(value)


ROWS = st.builds(
    Row,
    DEEP | JSON | NOTICE | st.lists(NOTICE, max_size=3),
    st.none() | WORDS | TEXTS,
    st.integers(-(2**31), 2**31 - 1) | st.integers(0, 12),
    st.sampled_from(["-infinity", "infinity", "epoch", "4713-01-01 BC", "290000-01-01", "now"]),
    st.none() | TEXTS,
)
PUT = text(
    f"INSERT INTO {TABLE} (notices, source, tries, due, why) VALUES (CAST(CAST(:notices AS text) "
    "AS jsonb), CAST(:source AS text), CAST(:tries AS integer), CAST(CAST(:due AS text) AS "
    "timestamptz), CAST(:why AS text))"
)


async def delivered_beside(rows: list[Row], shop: Shop, engine: AsyncEngine, sql: Sql) -> None:
    """Good rows among these, before and after."""
    good = Row([{"k": ["user:7"], "o": ["order"]}], None, 0, "now", None)
    async with engine.begin() as connection:
        for row in [good, *rows, good]:
            await connection.execute(PUT, row._replace(notices=encoded(row.notices))._asdict())
    [(moment,)] = await sql("SELECT clock_timestamp()\\:\\:text")
    del shop.seen[:]

    async def given_way() -> bool:
        """Nothing is as it was but what is another service's, or whose time had not come."""
        [(same,)] = await sql(
            f"SELECT count(*) FROM {TABLE} WHERE due <= '{moment}'".replace(":", "\\:")
            + " AND (source IS NULL OR source IN ('public.users', 'public.orders'))"
        )
        return bool(same == 0)

    await until(given_way, "all were delivered or gave way")
    assert (
        await sql(
            f"SELECT id FROM {TABLE} WHERE notices = '{encoded(good.notices)}'".replace(":", "\\:")
        )
        == []
    )
    assert shop.seen.of(RelayFailed) + shop.seen.of(TaskFailed) == []
    await sql(f"DELETE FROM {TABLE}")


def drawn() -> list[list[Row]]:
    """Before anything runs: Hypothesis bears nobody beside it who draws at random."""
    found: list[list[Row]] = []

    @settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(ROWS, min_size=1, max_size=12))
    def draw(rows: list[Row]) -> None:
        found.append(rows)

    draw()
    return found


async def test_good_rows_are_delivered_beside_any_others(
    shop: Shop, engine: AsyncEngine, sql: Sql
) -> None:
    for rows in drawn():
        try:
            await delivered_beside(rows, shop, engine, sql)
        except Exception as error:
            raise AssertionError(f"with {rows}") from error
