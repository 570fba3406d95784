"""A write that changes an answer moves one of its tags: statements and writes drawn at random."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.testing import Endpoints
from tests.fuzzing import TIMES, examples
from tests.queries.blog import Base
from tests.queries.pairs import Pairs, Tally, on_sqlite


@settings(max_examples=examples(60))
@given(random=st.randoms(use_true_random=False))
def test_no_changed_answer_is_missed(random: Random) -> None:
    on_sqlite(random, 2)


async def test_nor_on_postgresql(repocache_endpoints: Endpoints) -> None:
    engine = create_async_engine(repocache_endpoints.primary)

    def run(connection: Connection) -> Tally:
        Base.metadata.create_all(connection)
        pairs = Pairs(connection, Random(TIMES), full=False)
        for _ in range(100 * TIMES):
            pairs.statement()
        return pairs.tally

    async with engine.connect() as connection:
        tally = await connection.run_sync(run)
    await engine.dispose()
    assert tally.changed > 10, "or nothing was tried"
    assert tally.quiet > tally.pairs / 4, "or every write moves everything"


def test_a_tag_too_few_is_seen(monkeypatch) -> None: ...
