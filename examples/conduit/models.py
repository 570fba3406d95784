"""The tables: ordinary SQLAlchemy. Nothing here knows of caches."""

from __future__ import annotations

import datetime

from sqlalchemy import Column, DateTime, ForeignKey, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SITE = 1
"""The id of the only site."""


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime.datetime: DateTime(timezone=True)}  # noqa: RUF012


article_tags = Table(
    "article_tags",
    Base.metadata,
    Column("article_id", ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", ForeignKey("tags.name"), primary_key=True),
)


class Site(Base):
    """One row, that all articles and tags belong to: what "all of them, in order" is a list of."""

    __tablename__ = "sites"
    id: Mapped[int] = mapped_column(primary_key=True)
    articles: Mapped[list[Article]] = relationship(order_by="Article.id.desc()")
    tags: Mapped[list[Tag]] = relationship(order_by="Tag.name")


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    username: Mapped[str] = mapped_column(unique=True)
    #: Deferred: what is not loaded is in no cache.
    password_hash: Mapped[str] = mapped_column(deferred=True)
    bio: Mapped[str | None]
    image: Mapped[str | None]
    articles: Mapped[list[Article]] = relationship(
        back_populates="author", order_by="Article.id.desc()"
    )
    favourites: Mapped[list[Favourite]] = relationship(order_by="Favourite.article_id.desc()")
    follows: Mapped[list[Follow]] = relationship(foreign_keys="Follow.follower_id")


class Follow(Base):
    __tablename__ = "follows"
    follower_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    followed_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    followed: Mapped[User] = relationship(foreign_keys=[followed_id])


class Tag(Base):
    __tablename__ = "tags"
    name: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"), default=SITE)
    articles: Mapped[list[Article]] = relationship(
        secondary=article_tags, back_populates="tags", order_by=article_tags.c.article_id.desc()
    )


class Article(Base):
    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    description: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime.datetime] = mapped_column(default=now, onupdate=now)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"), default=SITE)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    author: Mapped[User] = relationship(back_populates="articles")
    tags: Mapped[list[Tag]] = relationship(
        secondary=article_tags, back_populates="articles", order_by=article_tags.c.tag
    )
    comments: Mapped[list[Comment]] = relationship(
        order_by="Comment.id.desc()", passive_deletes="all"
    )


class Favourite(Base):
    __tablename__ = "favourites"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    article_id: Mapped[int] = mapped_column(
        ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True
    )
    article: Mapped[Article] = relationship()


class Comment(Base):
    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime.datetime] = mapped_column(default=now, onupdate=now)
    article_id: Mapped[int] = mapped_column(ForeignKey("articles.id", ondelete="CASCADE"))
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    author: Mapped[User] = relationship()
