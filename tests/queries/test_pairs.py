"""A write that changes an answer moves one of its tags: statements and writes drawn at random."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.queries import outlines
from repocache.queries.alternatives import Alternatives
from repocache.queries.conditions import Some
from repocache.queries.outlines import Outlines, ids_only, shapes_of
from repocache.queries.recorder import Recorder
from repocache.queries.sheet import Sheet
from repocache.testing import Endpoints
from tests.fuzzing import TIMES, examples
from tests.queries import touched
from tests.queries.blog import SOURCES, Base, Post
from tests.queries.pairs import Missed, Pairs, Tally, on_sqlite
from tests.queries.statements import Drawing


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


def _nothing(*args: object) -> None: ...


def _every_condition(self: Some, table: int, value_of: object) -> Alternatives:
    return self.parts[0].of(table, value_of)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "where, name, broken",
    [
        (Recorder, "_note", _nothing),
        (Some, "of", _every_condition),
        (touched, "_is_same", lambda old, new: True),
        (touched, "_add_tag", _nothing),
    ],
    ids=["a column that matters", "the rest of an OR", "a change", "a tag"],
)
def test_what_is_forgotten_is_seen(
    where: object, name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(Missed):
        on_sqlite(Random(3), 1_000)


def test_a_structure_that_is_known_gives_what_a_first_look_gives() -> None:
    known, drawing = Outlines(SOURCES, most=10_000), Drawing(Random(5))
    for _ in range(600):
        drawn = drawing.statement()
        statement = ids_only(drawn.statement) if drawn.entities else drawn.statement
        found = known.analysis(statement, entities=drawn.entities)
        assert found == shapes_of(statement, SOURCES, entities=drawn.entities)
    assert len(known) < 590, "or none was known"


def test_the_longest_unused_structure_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    class Counted(Recorder):
        def __init__(self, statement: Any, sheet: Sheet) -> None:
            looked_at.append(statement)
            super().__init__(statement, sheet)

    monkeypatch.setattr(outlines, "Recorder", Counted)
    known = Outlines(SOURCES, most=2)
    one = select(Post.id)
    two, three = one.limit(1), one.offset(1)
    for statement in (one, two, one, three, one):
        known.analysis(statement)
    assert looked_at == [one, two, three]
    assert len(known) == 2
