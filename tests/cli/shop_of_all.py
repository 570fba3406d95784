"""An application that declares every kind of owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import (
    CacheAside,
    CachedQueries,
    Count,
    KeyList,
    KeyOwner,
    Lookup,
    Reader,
    ReadThrough,
    Repository,
    WriteBehind,
    WriteThrough,
)


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    secret: Mapped[str] = mapped_column(default="hunter2")
    posts: Mapped[list[Post]] = relationship(back_populates="author", order_by="Post.id")


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id", ondelete="CASCADE"))
    author: Mapped[Author] = relationship(back_populates="posts")


class Hit(Base):
    __tablename__ = "hits"
    id: Mapped[int] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(default=0)


class Authors(Repository[Author, int]):
    """People who write. They may have posts."""

    owner = KeyOwner("author")
    policy = CacheAside(ttl=300, local_ttl=10)
    by_email = Lookup(Author.email)
    posts = KeyList(Author.posts)
    post_count = Count(Post.author_id)


class Posts(Repository[Post, int]):
    owner = KeyOwner("post")
    policy = WriteThrough(ttl=60)
    queries = CachedQueries(ttl=30)


class Hits(WriteBehind[Hit, int]):
    owner = KeyOwner("hit")


class Price(msgspec.Struct, frozen=True):
    cents: int


class Prices(ReadThrough[int, Price]):
    owner = KeyOwner("price")

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, Price]:
        return {key: Price(key) for key in keys}


EVERYTHING = (Authors, Posts, Hits, Prices)
