"""From a statement to its tags: one case for each form."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Float,
    Integer,
    String,
    and_,
    any_,
    bindparam,
    case,
    cast,
    collate,
    column,
    distinct,
    except_,
    exists,
    func,
    lambda_stmt,
    lateral,
    literal,
    literal_column,
    not_,
    or_,
    select,
    table,
    true,
    tuple_,
    type_coerce,
    union,
    union_all,
    values,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased, joinedload, load_only, with_loader_criteria

from repocache.queries.outlines import shapes_of
from tests.queries import blog
from tests.queries.blog import SOURCES, Author, Label

Post: Any = blog.Post
P: Any = Post.__table__
A: Any = Author.__table__
any_of: Any = any_


def tags(statement: Any, **options: Any) -> set[str]:
    return {tag.text for tag in shapes_of(statement, SOURCES, **options).tags}


def post(conditions: str, matters: str, *pairs: str) -> set[str]:
    return _tags("post", conditions, matters, *pairs)


def _tags(name: str, conditions: str, matters: str, *pairs: str) -> set[str]:
    shape = f"public.{name}({conditions})[{matters}]"
    return {f"{shape} {pair}" for pair in pairs} or {shape}


def distinct_on(statement: Any, *columns: Any) -> Any:
    """As each version of SQLAlchemy wants it."""
    form = getattr(postgresql, "distinct_on", None)
    return statement.distinct(*columns) if form is None else statement.ext(form(*columns))


one = select(Post.id)
other = aliased(Post)
recent = select(Post.id, Post.kind).where(Post.author_id == 5).cte("recent")
sub = select(Post.id, Post.kind).where(Post.author_id == 5).subquery()
both_kinds = union_all(
    select(Post.id).where(Post.kind == "a"), select(Post.id).where(Post.kind == "b")
).subquery()
tree = select(Label.id, Label.post_id).where(Label.word == "a").cte("tree", recursive=True)
tree = tree.union_all(select(Label.id, Label.post_id).where(Label.post_id == tree.c.id))


@pytest.mark.parametrize(
    "statement, expected",
    [
        (one, post("", "id")),
        (one.where(Post.author_id == 5), post("author_id", "id", "author_id=5")),
        (one.where(5 == Post.author_id), post("author_id", "id", "author_id=5")),  # noqa: SIM300
        (one.filter_by(author_id=5), post("author_id", "id", "author_id=5")),
        (
            one.where(Post.author_id == 5, Post.kind == "a"),
            post("author_id,kind", "id", "author_id=5&kind=a"),
        ),
        (
            one.where(Post.author_id.in_([5, 6, None])),
            post("author_id", "id", "author_id=5", "author_id=6"),
        ),
        (one.where(Post.author_id.in_([])), set()),
        (one.where(Post.author_id == 5, Post.author_id == 6), set()),
        (one.where(Post.author_id == bindparam("who", None, Integer)), set()),
        (one.where(Post.author_id == None), post("", "author_id,id")),  # noqa: E711
        (one.where(Post.author_id != 5), post("", "author_id,id")),
        (one.where(Post.author_id.not_in([5])), post("", "author_id,id")),
        (one.where(not_(Post.author_id == 5)), post("", "author_id,id")),
        (
            one.where(not_(and_(Post.author_id == 5, Post.kind == "a"))),
            post("", "author_id,id,kind"),
        ),
        (one.where(Post.author_id > 5), post("", "author_id,id")),
        (one.where(Post.author_id == Post.score), post("", "author_id,id,score")),
        (one.where(Post.author_id == Post.score + 1), post("", "author_id,id,score")),
        (one.where(Post.author_id == literal(5) + 1), post("", "author_id,id")),
        (one.where(func.lower(Post.kind) == "a"), post("", "id,kind")),
        (one.where(Post.kind.like("a%")), post("", "id,kind")),
        (one.where(collate(Post.kind, "de_DE") == "a"), post("", "id,kind")),
        (one.where(cast(Post.kind, Integer) == 5), post("", "id,kind")),
        (one.where(type_coerce(Post.kind, Integer) == 5), post("", "id,kind")),
        # A value that the column would not give says nothing.
        (one.where(Post.author_id == literal("5", String)), post("", "author_id,id")),
        (one.where(Post.author_id == literal(5.5, Float)), post("", "author_id,id")),
        (one.where(Post.author_id == literal(True)), post("", "author_id,id")),
        # Booleans.
        (one.where(Post.live), post("live", "id", "live=true")),
        (one.where(~Post.live), post("live", "id", "live=false")),
        (one.where(Post.live == True), post("live", "id", "live=true")),  # noqa: E712
        (one.where(Post.live.is_(False)), post("live", "id", "live=false")),
        (one.where(Post.live.is_not(True)), post("", "id,live")),
        (one.where(Post.live.is_(None)), post("", "id,live")),
        # OR.
        (
            one.where(or_(Post.author_id == 5, Post.kind == "a")),
            post("author_id", "id,kind", "author_id=5") | post("kind", "author_id,id", "kind=a"),
        ),
        (
            one.where(or_(Post.author_id == 5, Post.author_id == 6)),
            post("author_id", "id", "author_id=5", "author_id=6"),
        ),
        (one.where(or_(Post.author_id == 5, Post.score > 1)), post("", "author_id,id,score")),
        (
            one.where(or_(Post.author_id == 5, and_(Post.author_id == 5, Post.kind == "a"))),
            post("author_id", "id,kind", "author_id=5"),
        ),
        (
            one.where(or_(Post.author_id == 5, and_(Post.author_id == 6, Post.kind == "a"))),
            post("author_id", "id,kind", "author_id=5")
            | post("author_id,kind", "id", "author_id=6&kind=a"),
        ),
        (
            one.where(or_(and_(Post.author_id == 5, Post.kind == "a"), true())),
            post("", "id"),
        ),
        # Pairs, and arrays.
        (
            one.where(tuple_(Post.kind, Post.author_id).in_([("a", 5), ("b", 6), ("c", None)])),
            post("author_id,kind", "id", "author_id=5&kind=a", "author_id=6&kind=b"),
        ),
        (
            one.where(Post.author_id == any_of([5, 6])),
            post("author_id", "id", "author_id=5", "author_id=6"),
        ),
        (
            one.where(Post.author_id == any_of(literal([5], ARRAY(Integer)))),
            post("author_id", "id", "author_id=5"),
        ),
        (one.where(Post.author_id < any_of([5, 6])), post("", "author_id,id")),
        (
            one.where(tuple_(Post.kind, Label.word).in_([("a", "b")])),
            post("", "id,kind") | _tags("label", "", "word"),
        ),
        # What else is read.
        (
            one.where(Post.author_id == 5).order_by(Post.score),
            post("author_id", "id,score", "author_id=5"),
        ),
        (
            one.where(Post.author_id == 5).order_by(Post.author_id),
            post("author_id", "id", "author_id=5"),
        ),
        (select(func.count()).select_from(Post), post("", "")),
        (select(func.count("*")).select_from(Post), post("", "")),
        (select(literal_column("*")).select_from(P), post("", "*")),
        (select(func.count(distinct(Post.kind))), post("", "kind")),
        (select(func.sum(Post.score)).where(Post.kind == "a"), post("kind", "score", "kind=a")),
        (
            select(Post.kind, func.count()).group_by(Post.kind).having(Post.kind == "a"),
            post("", "kind"),
        ),
        (
            select(func.row_number().over(partition_by=Post.kind, order_by=Post.score)),
            post("", "kind,score"),
        ),
        (select(case((Post.kind == "a", Post.score), else_=0)), post("", "kind,score")),
        (select(func.count().filter(Post.kind == "a")), post("", "kind")),
        (distinct_on(one, Post.kind), post("", "id,kind")),
        (select(func.to_jsonb(P.table_valued())), post("", "*")),
        (select(column("kind")).select_from(P), post("", "*")),
        (select(P.c.id, column("xmin", _selectable=P)), post("", "*")),
        # Joins.
        (
            one.join(Label, Label.post_id == Post.id).where(Post.author_id == 5),
            post("author_id", "id", "author_id=5") | _tags("label", "", "post_id"),
        ),
        (
            one.join(Label, and_(Label.post_id == Post.id, Label.word == "a", Post.kind == "a")),
            post("kind", "id", "kind=a") | _tags("label", "word", "post_id", "word=a"),
        ),
        (
            one.outerjoin(
                Label, and_(Label.post_id == Post.id, Label.word == "a", Post.kind == "a")
            ),
            post("", "id,kind") | _tags("label", "word", "post_id", "word=a"),
        ),
        (
            one.outerjoin(Label, Label.post_id == Post.id).where(Label.word == "a"),
            post("", "id") | _tags("label", "word", "post_id", "word=a"),
        ),
        (
            one.join(
                Label,
                and_(Label.post_id == Post.id, Label.word == "a", Post.kind == "a"),
                full=True,
            ),
            post("", "id,kind") | _tags("label", "", "post_id,word"),
        ),
        (
            select(Label.id).outerjoin(
                Post.__table__.join(A, and_(A.c.id == P.c.author_id, A.c.city == "a")),
                P.c.id == Label.post_id,
            ),
            post("", "author_id,id")
            | _tags("author", "city", "id", "city=a")
            | _tags("label", "", "id,post_id"),
        ),
        (
            one.join(other, and_(other.score == Post.score, other.kind == "b")).where(
                Post.kind == "a"
            ),
            post("kind", "id,score", "kind=a") | post("kind", "score", "kind=b"),
        ),
        (
            one.where(Post.id == Label.post_id, Label.word == "a"),
            post("", "id") | _tags("label", "word", "post_id", "word=a"),
        ),
        # Subqueries.
        (
            one.where(exists().where(Label.post_id == Post.id, Label.word == "a")),
            post("", "id") | _tags("label", "word", "post_id", "word=a"),
        ),
        (
            one.where(~exists().where(Label.post_id == Post.id, Post.kind == "a")),
            post("", "id,kind") | _tags("label", "", "post_id"),
        ),
        (
            one.where(select(Label).where(Label.word == "a").distinct().exists()),
            post("", "id") | _tags("label", "word", "id,post_id,weight", "word=a"),
        ),
        (
            one.where(
                select(func.unnest(literal_column("null")), Label.id)
                .where(Label.word == "a")
                .exists()
            ),
            post("", "id") | _tags("label", "word", "", "word=a"),
        ),
        (
            one.where(Post.labels.any(Label.word == "a")),
            post("", "id") | _tags("label", "word", "post_id", "word=a"),
        ),
        (
            one.where(Post.author.has(Author.city == "a")),
            post("", "author_id,id") | _tags("author", "city", "id", "city=a"),
        ),
        (
            one.where(Post.author_id.in_(select(Author.id).where(Author.city == "a"))),
            post("", "author_id,id") | _tags("author", "city", "id", "city=a"),
        ),
        (
            one.where(
                Post.author_id == select(Author.id).where(Author.city == "a").scalar_subquery()
            ),
            post("", "author_id,id") | _tags("author", "city", "id", "city=a"),
        ),
        (
            one.where(Post.kind == "a", Post.id.in_(select(other.id).where(other.kind == "b"))),
            post("kind", "id", "kind=a", "kind=b"),
        ),
        (select(sub.c.id).where(sub.c.kind == "a"), post("author_id", "id,kind", "author_id=5")),
        (
            select(recent.c.id).where(exists().where(Label.post_id == recent.c.id)),
            post("author_id", "id,kind", "author_id=5") | _tags("label", "", "post_id"),
        ),
        (
            select(
                Author.id,
                lateral(select(Post.id).where(Post.author_id == Author.id, Post.kind == "a")).c.id,
            ),
            post("kind", "author_id,id", "kind=a") | _tags("author", "", "id"),
        ),
        (
            select(tree.c.id),
            _tags("label", "word", "id,post_id", "word=a") | _tags("label", "", "id,post_id"),
        ),
        (
            one.where(
                Post.kind == "a",
                exists().where(other.score == Post.author_id, other.kind == "b"),
            ),
            post("kind", "author_id,id", "kind=a") | post("kind", "score", "kind=b"),
        ),
        # Set operations.
        (
            union(one.where(Post.kind == "a"), select(Label.id).where(Label.word == "b")).order_by(
                "id"
            ),
            post("kind", "id", "kind=a") | _tags("label", "word", "id", "word=b"),
        ),
        (except_(one, select(Label.post_id)), post("", "id") | _tags("label", "", "post_id")),
        (select(both_kinds.c.id), post("kind", "id", "kind=a", "kind=b")),
        (union(one, one).order_by(Post.score), post("", "id,score")),
        # No table at all.
        (select(literal(1)), set()),
        (select(func.generate_series(1, 3)), set()),
        (select(values(column("x", Integer), name="v").data([(1,)]).c.x), set()),
        # The same table by other objects.
        (select(P.alias("x").alias("y").c.id), post("", "id") | post("", "*")),
        (select(table("post", column("id"))), post("", "id")),
        (
            select(table("post", column("id"), column("kind")).c.id).where(column("kind") == "a"),
            post("", "*"),
        ),
        # The ORM's own.
        (one.options(with_loader_criteria(Post, Post.kind == "a")), post("kind", "id", "kind=a")),
        (
            select(Post).options(
                load_only(Post.kind), joinedload(Post.author).load_only(Author.city)
            ),
            post("", "author_id,id,kind") | _tags("author", "", "city,id"),
        ),
        (
            lambda_stmt(lambda: select(Post.id).where(Post.kind == "a")),
            post("kind", "id", "kind=a"),
        ),
    ],
    ids=lambda value: " ".join(sorted(value))[:60] if isinstance(value, set) else "",
)
def test_the_tags_of(statement: Any, expected: set[str]) -> None:
    assert tags(statement) == expected
