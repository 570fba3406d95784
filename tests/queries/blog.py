"""Small tables of few values, so that conditions meet rows."""

from __future__ import annotations

from sqlalchemy import func, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from repocache.queries.sources import Sources


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    city: Mapped[str | None]
    rank: Mapped[int | None]


class Post(Base):
    __tablename__ = "post"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    author_id: Mapped[int | None]
    kind: Mapped[str | None]
    score: Mapped[int | None]
    live: Mapped[bool | None]
    author: Mapped[Author | None] = relationship(
        primaryjoin="foreign(Post.author_id) == Author.id", viewonly=True, lazy="joined"
    )
    labels: Mapped[list[Label]] = relationship(
        primaryjoin="foreign(Label.post_id) == Post.id", viewonly=True
    )


class Label(Base):
    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    post_id: Mapped[int | None]
    word: Mapped[str | None]
    weight: Mapped[int | None]


label_count = column_property(
    select(func.count(Label.id))
    .where(Label.post_id == Post.id, Label.word == "a")
    .correlate_except(Label)
    .scalar_subquery()
)
inspect(Post).add_property("label_count", label_count)

MODELS = (Author, Post, Label)
SOURCES = Sources(Base.metadata.tables.values())
