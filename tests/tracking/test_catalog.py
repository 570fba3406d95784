"""What only the database knows of its tables and functions, and what is written through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    Text,
    column,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    update,
)
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.events import UndeclaredWrite
from repocache.testing import Servers
from tests.tracking.shop import Shop, opened
from tests.tracking.stage import SCRIPT, animal, asked, desk, dog, entry_low, event, lamp, owned

DATABASE, TEMPLATE = "repocache_stage", "repocache_stage_template"


@pytest.fixture(scope="session")
def template(repocache_servers: Servers) -> Iterator[None]:
    primary = repocache_servers.primary
    primary.create_database(TEMPLATE)
    primary.sql(f"ALTER DATABASE {TEMPLATE} OWNER TO app", TEMPLATE)
    primary.sql(f"SET ROLE app; {SCRIPT}", TEMPLATE)
    yield
    primary.drop_database(TEMPLATE)


@pytest.fixture
async def stage(repocache_servers: Servers, template: None) -> AsyncIterator[Shop]:
    """A new copy for each test."""
    primary = repocache_servers.primary
    primary.create_database(DATABASE, TEMPLATE)
    primary.sql(f"ALTER DATABASE {DATABASE} SET search_path = public, stage")
    engine = create_async_engine(primary.url(database=DATABASE))
    catalog, functions = await asked(engine)
    try:
        async with opened(engine, owned(catalog), functions) as shop:
            yield shop
    finally:
        primary.drop_database(DATABASE)


def other(name: str, *columns: str, schema: str | None = None) -> Table:
    """A Table object of a MetaData that nobody knows."""
    kinds = {"note": Text, "name": Text, "label": Text, "line": Text}
    ids = [
        Column(each, kinds.get(each, Integer), primary_key=each in {"id", "year"})
        for each in columns
    ]
    return Table(name, MetaData(), *ids, schema=schema)


async def written(stage: Shop, statement: Any) -> set[str]:
    stage.clear()
    async with stage.engine.begin() as connection:
        await connection.execute(statement)
    return {key for each in stage.notes.published for key in each.keys}


def undeclared(stage: Shop) -> list[str]:
    return [each.statement for each in stage.events if isinstance(each, UndeclaredWrite)]


firm, site = other("firm", "id", "code", "name"), other("site", "id", "code", schema="hidden")
old, ancient = (
    other("event_old", "id", "year", "note"),
    other("event_ancient", "id", "year", "note", schema="hidden"),
)
entry = other("entry", "id", "note")
labelled, short = other("labelled", "id", "label"), other("short", "id", "label", schema="hidden")

TOLD: dict[str, tuple[Any, set[str]]] = {
    "a cascade through a table of no metadata": (delete(firm), {"desk:*"}),
    "a cascade from a table of another schema": (delete(site), {"desk:*"}),
    "a cascade from a lightweight table": (delete(table("firm", column("id"))), {"desk:*"}),
    "a cascading update of a column that no metadata has": (
        update(firm).values(code=11),
        {"desk:*"},
    ),
    "an update of a column that nothing refers to": (update(firm).values(name="x"), set()),
    "a foreign key that has no action in the database": (
        delete(desk).where(desk.c.id == 2),
        {"desk:2"},
    ),
    "a partition": (
        update(old).where(old.c.id == 1, old.c.year == 500).values(note="z"),
        {"event:1:500"},
    ),
    "a partition of a partition, by another column": (
        update(ancient).where(ancient.c.note == "x").values(note="z"),
        {"event:1:500"},
    ),
    "an insert into a partition": (
        insert(other("event_new", "id", "year")).values(id=3, year=2001),
        {"event:3:2001"},
    ),
    "a partition as a lightweight table": (
        update(table("event_new", column("note"))).values(note="z"),
        {"event:*", "entry_low:*"},
    ),
    "a cascade from a partition": (
        delete(old).where(old.c.id == 1, old.c.year == 500),
        {"event:1:500", "entry_low:*"},
    ),
    "the parent of an owned partition": (
        update(entry).where(entry.c.note == "y").values(note="z"),
        {"entry_low:2"},
    ),
    "an inheriting table": (
        update(dog).where(dog.c.tag == 20).values(name="z"),
        {"dog:20", "animal:2"},
    ),
    "an inherited table": (
        update(animal).where(animal.c.id == 2).values(name="z"),
        {"dog:*", "animal:2"},
    ),
    "a view": (update(labelled).where(labelled.c.id == 1).values(label="z"), {"desk:*"}),
    "a view of a view, in another schema": (insert(short).values(id=9, label="z"), {"desk:*"}),
    "a lightweight view": (
        delete(table("labelled", column("id"))).where(column("id") == 2),
        {"desk:*"},
    ),
    "a view of a table that cascades": (delete(other("firm_name", "id")), {"desk:*"}),
    "a CTE that writes a view": (
        select(update(labelled).values(label="z").returning(labelled.c.id).cte()),
        {"desk:*"},
    ),
    "a rule": (insert(other("mailbox", "id", "line")).values(id=1, line="z"), {"desk:*"}),
    "what a view shows that is read and followed": (
        insert(other("payment", "id")).values(id=1),
        {"lamp:*", "follower:*"},
    ),
    "a table by its schema, which the search path names too": (
        update(other("lamp", "id", "watts", schema="stage"))
        .values(watts=60)
        .where(column("id") == 1),
        {"lamp:1", "follower:1"},
    ),
    "a truncated partition": (text("TRUNCATE event_new CASCADE"), {"event:*", "entry_low:*"}),
    "the truncated parent of an owned partition": (text("TRUNCATE entry"), {"entry_low:*"}),
    "a truncated table whose children are of no metadata": (
        text("TRUNCATE firm CASCADE"),
        {"desk:*", "tool:*"},
    ),
}


@pytest.mark.parametrize("case", TOLD)
async def test_what_a_write_reaches_in_the_database_is_announced(stage: Shop, case: str) -> None:
    statement, keys = TOLD[case]
    found = await written(stage, statement)
    assert found == keys
    assert undeclared(stage) == []


async def test_owners_are_announced_as_before_where_the_database_says_nothing_else(
    stage: Shop,
) -> None:
    assert await written(stage, update(event).where(event.c.note == "y").values(note="z")) == {
        "event:2:2020"
    }
    assert await written(stage, insert(desk).values(label="c")) == {"desk:3"}
    assert await written(stage, update(entry_low).where(entry_low.c.id == 1).values(note="z")) == {
        "entry_low:1"
    }
    assert await written(stage, update(lamp).where(lamp.c.id == 1).values(watts=1)) == {
        "lamp:1",
        "follower:1",
    }


@pytest.mark.parametrize("view", ["wish", "blank"])
@pytest.mark.parametrize("lightweight", [True, False])
async def test_what_a_views_trigger_writes_is_not_told_by_the_catalogue(
    stage: Shop, view: str, lightweight: bool
) -> None:
    given = table(view, column("id")) if lightweight else other(view, "id")
    assert await written(stage, update(given).values(id=1)) == (
        {"desk:*"} if view == "wish" else set()
    )
    (statement,) = undeclared(stage)
    assert statement.startswith(f"UPDATE {view} SET")
    async with stage.engine.connect() as connection:
        assert set(await connection.scalars(select(animal.c.name))) == {"granted"}


WRITING: dict[str, Any] = {
    "a function": select(func.touch(1)),
    "as a table": select(func.touch(1).table_valued("id").render_derived()),
    "in a condition": select(desk.c.id).where(func.touch(desk.c.id) > 0),
    "in a subquery": select(select(func.touch(1)).scalar_subquery()),
    "in a fragment of text": select(literal_column("touch(1)")),
    "in a text": text("SELECT touch(1)"),
    "in a text with a comment": text("SELECT touch /* it */ (:id)").bindparams(id=1),
    "in a text with columns": text("SELECT touch(1) AS id").columns(desk.c.id),
    "in an INSERT": insert(other("firm", "id")).values(id=func.touch(1) + 100),
    "in a union": select(func.touch(1)).union(select(func.touch(2))),
    "through another function": select(func.touch_by_another(1)),
    "with a quoted name": select(func.Touch(1)),
    "of a schema": select(func.hidden.stroke(2)),
    "with an overload that writes": select(func.mixed("x")),
    "with a body of SQL": select(func.atomic(2)),
}
READING: dict[str, Any] = {
    "one of PostgreSQL's": select(
        func.lower("A"), func.nextval("desk_id_seq"), func.clock_timestamp()
    ),
    "a volatile one that reads": select(func.looks(1)),
    "a volatile one that calls PostgreSQL's": select(func.draws()),
    "one that is declared stable": select(func.declared(1)),
    "words that stand before a parenthesis": select(
        literal("1").cast(Text(collation="C")),
        func.coalesce(None, 1),
        func.count().filter(literal(1).in_([1, 2])).over(partition_by=literal(1)),
        func.generate_series(1, 2).table_valued("n").render_derived(name="series").c.n,
    ),
    "a common table": select(
        select(literal(1).label("n")).cte("numbers", recursive=True, nesting=True)
    ),
    "in text": text("SELECT lower ('touch(1)') -- touch(1)"),
    "an INSERT": insert(other("firm", "id")).values(id=func.abs(-5)),
}


@pytest.mark.parametrize("case", WRITING)
async def test_a_function_that_may_write_has_to_be_declared(stage: Shop, case: str) -> None:
    async with stage.engine.connect() as connection:
        await connection.execute(WRITING[case])
        await connection.rollback()
        assert undeclared(stage) == []
        await connection.execute(WRITING[case])
        await connection.commit()
    assert len(undeclared(stage)) == 1


async def test_a_declared_call_is_no_event(stage: Shop) -> None:
    async with stage.unit_of_work() as work:
        await work.session.execute(select(func.touch(1)))
        work.declare("desk", ["desk:1"])
        await work.commit()
    assert stage.keys == {"desk:1"}
    assert undeclared(stage) == []


async def test_a_function_that_is_younger_than_the_question_may_write(stage: Shop) -> None:
    await written(stage, text("CREATE FUNCTION young(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"))
    await written(stage, select(func.young(1)))
    assert len(undeclared(stage)) == 1


@pytest.mark.parametrize("case", READING)
async def test_what_reads_alone_is_no_event(stage: Shop, case: str) -> None:
    await written(stage, READING[case])
    assert undeclared(stage) == []
