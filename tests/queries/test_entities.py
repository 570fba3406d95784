"""Statements whose answer is kept as the ids of one class."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ForeignKey, func, inspect, literal, select
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    column_property,
    joinedload,
    mapped_column,
    selectinload,
    with_loader_criteria,
    with_polymorphic,
)

from repocache.errors import QueryRefused
from repocache.queries.outlines import ids_only, shapes_of
from repocache.queries.sources import Sources
from tests.queries import blog
from tests.queries.blog import SOURCES, Author, Label

Post: Any = blog.Post


class Base(DeclarativeBase):
    pass


class Employee(Base):
    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "plain"}  # noqa: RUF012

    @hybrid_property
    def shout(self) -> Any:
        return func.upper(self.name)


class Clerk(Employee):
    desk: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "clerk"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = "manager"
    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    level: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Desk(Base):
    __tablename__ = "desk"
    id: Mapped[int] = mapped_column(primary_key=True)


shared = select(Manager.id).where(Manager.level == 3).cte("shared")
inspect(Desk).add_property(
    "chiefs", column_property(select(func.count()).select_from(shared).scalar_subquery())
)
FIRM = Sources(Base.metadata.tables.values())
other = aliased(Post)
eager = joinedload(Post.author)


def ids(statement: Any, sources: Sources = SOURCES) -> list[str]:
    return [tag.text for tag in shapes_of(ids_only(statement), sources, entities=True).tags]


@pytest.mark.parametrize(
    "statement, expected",
    [
        (select(Post), ["public.post()[id]"]),
        (select(Post).distinct(), ["public.post()[id]"]),
        (select(other).where(other.kind == "a"), ["public.post(kind)[id] kind=a"]),
        (select(Post).order_by("score"), ["public.post()[id,score]"]),
        (select(Post).options(eager).limit(3), ["public.post()[id]"]),
        (select(Post).options(selectinload(Post.labels)), ["public.post()[id]"]),
        (
            select(Post).options(eager, with_loader_criteria(Post, Post.kind == "a")),
            ["public.post(kind)[id] kind=a"],
        ),
        # By a label or a name, what is not among the columns is read all the same.
        (
            select(Post).order_by(Post.label_count),
            ["public.label(word)[id,post_id] word=a", "public.post()[id]"],
        ),
        # So is what is within a subquery.
        (
            select(aliased(Post, select(Post).where(Post.kind == "a").subquery())),
            [
                "public.label(word)[id,post_id] word=a",
                "public.post(kind)[author_id,id,live,score] kind=a",
            ],
        ),
        (
            select(Post).join(Label, Label.post_id == Post.id).where(Label.word == "a"),
            ["public.label(word)[post_id] word=a", "public.post()[id]"],
        ),
    ],
)
def test_selected_columns_do_not_matter(statement: Any, expected: list[str]) -> None:
    assert ids(statement) == expected


@pytest.mark.parametrize(
    "statement, expected",
    [
        (select(Employee), ["public.employee()[id]"]),
        (select(Clerk), ["public.employee(kind)[id] kind=clerk"]),
        (select(Manager), ["public.employee()[id]", "public.manager()[id]"]),
        (
            select(Manager).where(Manager.name == "a", Manager.level == 3),
            ["public.employee(name)[id] name=a", "public.manager(level)[id] level=3"],
        ),
        (
            select(with_polymorphic(Employee, [Manager])).where(Employee.name == "a"),
            ["public.employee(name)[id] name=a", "public.manager()[id]"],
        ),
        # Rendered among the columns, which do not matter, and named again where it does.
        (
            select(Desk).where(Desk.id.in_(select(shared.c.id))),
            ["public.desk()[id]", "public.employee()[id]", "public.manager(level)[id] level=3"],
        ),
        (select(Employee).where(Employee.shout == "A"), ["public.employee()[id,name]"]),
    ],
)
def test_a_hierarchy_is_read_as_the_orm_reads_it(statement: Any, expected: list[str]) -> None:
    assert [each for each in ids(statement, FIRM) if each] == expected


@pytest.mark.parametrize(
    "statement",
    [
        select(Post.id),
        select(Post, Author),
        select(Post, literal(1)),
        select(func.count()).select_from(Post),
        select(Post.id).union(select(Label.id)),
        select(Post).from_statement(select(Post)),
    ],
)
def test_ids_are_kept_of_one_class_alone(statement: Any) -> None:
    with pytest.raises(QueryRefused, match="select that alone"):
        shapes_of(statement, SOURCES, entities=True)


@pytest.mark.parametrize("option", [selectinload(Post.labels), joinedload(Post.author)])
def test_what_another_statement_loads_is_seen(option: Any) -> None:
    statement = select(Post).options(option)
    if "author" in str(option.context[0].path):
        assert "public.author()[city,id,rank]" in {
            tag.text for tag in shapes_of(statement, SOURCES).tags
        }
        return
    with pytest.raises(QueryRefused, match=r"Post\.labels.*read by a statement of its own"):
        shapes_of(statement, SOURCES)
