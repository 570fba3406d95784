"""Posts with comments in an order of their own, and with labels by an association table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, ForeignKey, Table, insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import CacheAside, Count, KeyList, KeyOwner, Repository, Settings
from repocache.testing import Endpoints
from tests.shop import QUICK, Shop, in_rotation, open_shop

POLICY = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)


class Base(DeclarativeBase):
    pass


labelled = Table(
    "labelled",
    Base.metadata,
    Column("post_id", ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True),
    Column("label", ForeignKey("labels.name", ondelete="CASCADE"), primary_key=True),
)


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    comments: Mapped[list[Comment]] = relationship(
        back_populates="post", order_by=lambda: [Comment.place.desc(), Comment.id]
    )
    labels: Mapped[list[Label]] = relationship(secondary=labelled, back_populates="posts")


class Comment(Base):
    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int | None] = mapped_column(ForeignKey("posts.id", ondelete="SET NULL"))
    place: Mapped[int] = mapped_column(default=0)
    text: Mapped[str]
    post: Mapped[Post | None] = relationship(back_populates="comments")


class Label(Base):
    __tablename__ = "labels"
    name: Mapped[str] = mapped_column(primary_key=True)
    posts: Mapped[list[Post]] = relationship(secondary=labelled, back_populates="labels")


class Posts(Repository[Post, int]):
    owner = KeyOwner("post")
    policy = POLICY
    comments = KeyList(Post.comments)
    labels = KeyList(Post.labels)
    comment_count = Count(Comment.post_id)


class Comments(Repository[Comment, int]):
    owner = KeyOwner("comment")
    policy = POLICY


class Labels(Repository[Label, str]):
    owner = KeyOwner("label")
    policy = POLICY
    posts = KeyList(Label.posts)


REPOSITORIES = (Posts, Comments, Labels)


async def make_blog(url: str) -> None:
    """Posts 1 to 5; post n has n - 1 comments, of places 0, 1, ..., and the labels a and b if it is
    even."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Post), [{"id": n, "title": f"p{n}"} for n in range(1, 6)])
        comments = [
            {"id": 10 * n + c, "post_id": n, "place": c, "text": f"c{c}"}
            for n in range(1, 6)
            for c in range(n - 1)
        ]
        await connection.execute(insert(Comment), comments)
        await connection.execute(insert(Label), [{"name": each} for each in "abc"])
        marks = [{"post_id": n, "label": each} for n in (2, 4) for each in "ab"]
        await connection.execute(insert(labelled), marks)
    await engine.dispose()


@asynccontextmanager
async def open_blog(
    ends: Endpoints, settings: Settings | None = None, repositories: Any = REPOSITORIES
) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    settings = settings or Settings(topology=QUICK)
    async with open_shop(ends, settings, repositories) as shop:
        await in_rotation(shop)
        yield shop
