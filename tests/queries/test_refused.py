"""What is refused, in words that name the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Date,
    Integer,
    MetaData,
    Sequence,
    Table,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    lambda_stmt,
    literal,
    literal_column,
    select,
    table,
    text,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import selectinload
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.functions import FunctionElement

from repocache.errors import QueryRefused, UsageError
from repocache.queries.outlines import Outlines, shapes_of
from repocache.queries.shape import TablePlace
from repocache.queries.sources import Sources
from tests.queries.blog import SOURCES, Author, Base, Label, Post

one = select(Post.id)
stranger = Table("stranger", MetaData(), Column("id", Integer))


class Moment(FunctionElement[Any]):
    inherit_cache = True
    name = "lower"


@compiles(Moment)
def _moment(element: Moment, compiler: Any, **kw: Any) -> str:
    return "clock_timestamp()"


class Elsewhere(FunctionElement[Any]):
    inherit_cache = True


@compiles(Elsewhere, "sqlite")
def _elsewhere(element: Elsewhere, compiler: Any, **kw: Any) -> str:
    return "random()"


@pytest.mark.parametrize(
    "statement, said",
    [
        (select(func.now()), r"calls now\(\).*pass its value as a parameter"),
        (one.where(Post.score > func.random()), r"calls random\(\)"),
        (one.where(Post.id == func.nextval("x")), r"calls nextval\(\)"),
        (one.order_by(func.random()), r"calls random\(\)"),
        (select(func.current_date()), r"calls current_date\(\)"),
        (select(func.current_timestamp()), r"calls current_timestamp\(\)"),
        (select(func.current_setting("app.tenant")), r"calls current_setting\(\)"),
        (select(func.session_user()), r"calls session_user\(\)"),
        (select(func.count().filter(Post.id > func.own(Post.id))), r"calls own\(\)"),
        (select(func.own.lower(Post.kind)), r"calls own\.lower\(\)"),
        (select(func.own(Post.id).table_valued("x").c.x), r"calls own\(\)"),
        (one.where(select(func.now()).exists()), r"calls now\(\)"),
        (select(Sequence("numbers").next_value()), "next_value|sequence"),
        (select(cast(literal("now"), Date)), "casts a text to a date.*pass a date"),
        (select(cast(literal("now"), DOMAIN("day", Date))), "casts a text to a date.*pass a date"),
        (one.where(text("score > 1")), r"contains the text 'score > 1'.*tables=\[\.\.\.\]"),
        (one.order_by(text("score")), "contains the text 'score'"),
        (one.prefix_with("/*+ x */"), "contains the text"),
        (one.with_hint(Post, "ONLY"), "contains the text 'ONLY'"),
        (one.with_statement_hint("FOR UPDATE"), "contains the text 'FOR UPDATE'"),
        (select(literal_column("now()")), r"contains the text 'now\(\)'"),
        (select(column(quoted_name("now()", quote=False))), r"contains the text 'now\(\)'"),
        (one.where(Post.score.op("< now() AND")(1)), "contains the text"),
        (text("SELECT 1"), "contains the text 'SELECT 1'"),
        (text("SELECT id FROM post").columns(Post.id), "contains the text"),
        (select(Post).from_statement(text("SELECT * FROM post")), "contains the text"),
        (union(one, select(text("1 + 1"))), "contains the text"),
        (select(Moment()), "Moment, compiled by a function"),
        (one.where(Post.id.in_(select(Moment()))), "Moment, compiled by a function"),
        (union(one, one).order_by(Moment()), "Moment, compiled by a function"),
        (select(Elsewhere()), "cannot be compiled for PostgreSQL"),
        (one.with_for_update(), "locks rows.*in a unit of work"),
        (select(one.with_for_update(read=True).subquery()), "locks rows"),
        (one.select_from(Post.__table__.tablesample(5)), "TABLESAMPLE"),
        (select(stranger.c.id), "reads public.stranger, which is not among the tables"),
        (one.where(select(stranger.c.id).exists()), "reads public.stranger"),
        (select(table("pg_stat_activity", column("pid"))), "reads public.pg_stat_activity"),
        (select(table("post", column("id"), schema="shop")), "reads shop.post"),
        (select(insert(Label).values(id=1).returning(Label.id).cte().c.id), r"writes \(INSERT\)"),
        (select(update(Label).returning(Label.id).cte().c.id), r"writes \(UPDATE\)"),
        (one.add_cte(delete(Label).cte()), r"writes \(DELETE\)"),
        (one.execution_options(schema_translate_map={None: "shop"}), "schema_translate_map"),
        (delete(Post), "Delete is no statement that reads: give a select"),
        (insert(Post), "Insert is no statement"),
        (Post, "no statement that reads"),
        ("SELECT 1", "str is no statement that reads"),
        (select(Post).options(selectinload(Post.labels)), "by a statement of its own"),
        (lambda_stmt(lambda: select(func.now())), r"calls now\(\)"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_may_change_unseen(statement: Any, said: str) -> None:
    with pytest.raises(QueryRefused, match=said):
        shapes_of(statement, SOURCES)
    assert issubclass(QueryRefused, UsageError)


def test_a_refusal_is_remembered_and_explained() -> None:
    known = Outlines(SOURCES)
    for _ in range(2):
        assert known.explain(select(func.now())).startswith("refused: the statement calls now()")
    assert len(known) == 1


def test_functions_that_the_database_calls_immutable() -> None:
    sources = Sources(Base.metadata.tables.values(), functions=frozenset({"own"}))
    for function in (func.own, func.shop.own):
        found = shapes_of(one.where(function(Post.kind) == "a"), sources)
        assert [tag.text for tag in found.tags] == ["public.post()[id,kind]"]


@pytest.mark.parametrize("tables", [[Author], [Author.__table__], ["author"], ["public.author"]])
def test_text_whose_tables_are_named(tables: list[object]) -> None:
    statement = one.where(text("id IN (SELECT rank FROM author)"), Post.kind == "a")
    found = shapes_of(statement, SOURCES, tables=tables)
    assert [tag.text for tag in found.tags] == [
        "public.author()[*]",
        "public.post(kind)[id] kind=a",
    ]
    assert "declared by tables=" in str(found)
    assert "public.post(kind)" not in str(shapes_of(text("x"), SOURCES, tables=tables))


def test_after_textual_exists_columns_still_matter() -> None:
    textual = text("SELECT rank FROM author").columns(Author.rank).exists()
    statement = one.where(textual, Post.id.in_(select(Label.post_id)))
    found = shapes_of(statement, SOURCES, tables=[Author])
    assert "public.label()[post_id]" in {tag.text for tag in found.tags}


@pytest.mark.parametrize("given", ["nowhere", 5, stranger, "shop.post"])
def test_a_table_that_nobody_knows(given: object) -> None:
    with pytest.raises(QueryRefused, match="not among the tables of the metadata: give a"):
        shapes_of(text("x"), SOURCES, tables=[given])


def test_text_with_tables_still_cannot_call_the_clock() -> None:
    with pytest.raises(QueryRefused, match=r"now\(\)"):
        shapes_of(select(text("x"), func.now()), SOURCES, tables=[Post])


def test_a_view_is_what_is_beneath_it() -> None:
    metadata = MetaData()
    shown = Table("shown", metadata, Column("id", Integer), Column("kind", Integer))
    beneath = {TablePlace("public", "shown"): [TablePlace("public", "post"), ("public", "part_1")]}
    sources = Sources(
        [*Base.metadata.tables.values(), shown],
        beneath=beneath,  # type: ignore[arg-type]
        same={TablePlace("public", "part_1"): TablePlace("public", "author")},
    )
    for found in (
        shapes_of(select(shown.c.id).where(shown.c.kind == 1), sources),
        shapes_of(text("x"), sources, tables=["shown"]),
    ):
        assert [tag.text for tag in found.tags] == ["public.author()[*]", "public.post()[*]"]
    assert "public.shown is a view" in str(shapes_of(select(shown.c.id), sources))


def test_a_partition_is_the_table_that_it_is_part_of() -> None:
    part = Table("post_2024", MetaData(), Column("id", Integer), Column("author_id", Integer))
    same = {TablePlace("public", "post_2024"): TablePlace("public", "post")}
    sources = Sources([*Base.metadata.tables.values(), part], same=same)
    found = shapes_of(select(part.c.id).where(part.c.author_id == 5), sources)
    assert [tag.text for tag in found.tags] == ["public.post(author_id)[id] author_id=5"]


def test_a_parameter_that_nobody_gives() -> None:
    with pytest.raises(UsageError, match=r"a parameter 'who'.*parameters=\{\.\.\.\}"):
        shapes_of(one.where(Post.author_id == bindparam("who")), SOURCES)


@pytest.mark.parametrize("many", [False, True])
def test_parameters_by_name(many: bool) -> None:
    who: Any = bindparam("who", expanding=many)
    statement = one.where(Post.author_id.in_(who) if many else Post.author_id == who)
    given: Any = [5] if many else 5
    expected = ["public.post(author_id)[id] author_id=5"]
    known = Outlines(SOURCES)
    for found in (
        shapes_of(statement, SOURCES, {"who": given}),
        shapes_of(statement.params(who=given), SOURCES),
        known.analysis(statement.params(who=given)),
        known.analysis(statement, {"who": given}),
        known.analysis(statement.params(who=[6] if many else 6), {"who": given}),
    ):
        assert [tag.text for tag in found.tags] == expected
