"""However much a statement asks for, it has few tags."""

import pytest
from sqlalchemy import and_, or_, select

from repocache.queries.alternatives import MOST_SHAPES, MOST_TAGS
from repocache.queries.outlines import shapes_of
from tests.queries.blog import SOURCES, Author, Label, Post

one = select(Post.id)


@pytest.mark.parametrize(
    "statement, conditions, number",
    [
        (one.where(Post.author_id.in_(range(MOST_TAGS))), {("author_id",)}, MOST_TAGS),
        (one.where(Post.author_id.in_(range(MOST_TAGS + 1))), {()}, 1),
        (one.where(Post.author_id.in_(range(100_000)), Post.kind == "a"), {("kind",)}, 1),
        (one.where(Post.author_id.in_(range(50)), Post.kind.in_(["a", "b", "c"])), {("kind",)}, 3),
        (
            one.where(Post.author_id.in_(range(30)), Post.kind.in_(["a", "b", "c"])),
            {("author_id", "kind")},
            90,
        ),
    ],
)
def test_the_column_with_most_values_only_matters(
    statement: object, conditions: object, number: int
) -> None:
    found = shapes_of(statement, SOURCES)
    assert len(found.tags) == number
    assert {shape.conditions for shape in found.shapes} == conditions
    assert all({"author_id"} <= set(shape.columns) for shape in found.shapes)


def test_tables_share_the_bound() -> None:
    statement = (
        select(Post.id, Label.id, Author.id)
        .where(Post.author_id.in_(range(90)), Post.kind == "a")
        .where(Label.post_id.in_(range(8)), Author.city.in_(["a", "b"]))
    )
    found = shapes_of(statement, SOURCES)
    assert {shape.conditions for shape in found.shapes} == {
        ("author_id", "kind"),
        ("post_id",),
        ("city",),
    }
    more = shapes_of(statement.where(Author.rank.in_(range(6))), SOURCES)
    assert len(more.tags) <= MOST_TAGS
    assert {shape.conditions for shape in more.shapes} == {
        ("kind",),
        ("post_id",),
        ("city", "rank"),
    }


def test_many_alternatives_are_none() -> None:
    names = ("author_id", "kind", "score")
    some = [
        and_(
            *(
                getattr(Post, name) == value
                for name, value in zip(names[:at], (1, "a", 1), strict=False)
            )
        )
        for at in (1, 2, 3)
    ]
    assert [shape.conditions for shape in shapes_of(one.where(or_(*some)), SOURCES).shapes] == [
        ("author_id",)
    ]
    assert MOST_SHAPES == 8


def test_an_analysis_says_what_it_is() -> None:
    said = str(
        shapes_of(one.where(Post.kind == "a").join(Label, Label.post_id == Post.id), SOURCES)
    )
    assert (
        said
        == """invalidated by
  public.label()[post_id]
  public.post(kind)[id] kind=a
  writes to public.label whose values are not known
  writes to public.post whose values are not known
coarse
  public.label: no column is compared with a value by = or IN in every case"""
    )
