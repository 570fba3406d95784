"""Reads beyond the id: lookups, relationships, rows and pages.

    python3 dev.py benchmark reads

A blog of 200 posts, each with an author, three tags and ten comments. Relationships are loaded for
twenty posts at a time, warm, beside SQLAlchemy's `selectinload` on a replica; rows and pages beside
the same statements of plain sessions on a replica. One caller, closed loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from sqlalchemy import Column, ForeignKey, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

from benchmarks._harness import Bar, Call, Effort, Load, Open, in_a_row, interleave, run, under
from benchmarks._shop import POOL, plain_engine, servers
from repocache import CacheAside, Database, KeyList, KeyOwner, Lookup, Repository, Settings
from repocache.events import ignore
from repocache.testing import Endpoints

POSTS, AUTHORS, COMMENTS, TAGS = 200, 20, 10, 12
AT_ONCE = 20
POLICY = CacheAside(ttl=3600, local_ttl=3600)
BY_ID, BY_VALUE = "users by id", "users by lookup"
LOADED, SELECTED = "load= of 20 posts", "selectinload of 20 posts on a replica"
ROWS, PLAIN_ROWS = "rows()", "rows, plain"
PAGE, PLAIN_PAGE = "page() with total", "page with total, plain"


class Base(DeclarativeBase):
    """The mapping's registry."""


tagged = Table(
    "tagged",
    Base.metadata,
    Column("post_id", ForeignKey("posts.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Author(Base):
    """Of several posts."""

    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]


class Tag(Base):
    """Of several posts."""

    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Comment(Base):
    """On one post."""

    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"), index=True)
    text: Mapped[str]


class Post(Base):
    """What is listed."""

    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"), index=True)
    title: Mapped[str]
    author: Mapped[Author] = relationship()
    tags: Mapped[list[Tag]] = relationship(secondary=tagged)
    comments: Mapped[list[Comment]] = relationship(order_by=Comment.id)


class Authors(Repository[Author, int]):
    """Also by email."""

    owner, policy = KeyOwner("author"), POLICY
    by_email = Lookup(Author.email)


class Tags(Repository[Tag, int]):
    """By id."""

    owner, policy = KeyOwner("tag"), POLICY


class Comments(Repository[Comment, int]):
    """By id."""

    owner, policy = KeyOwner("comment"), POLICY


class Posts(Repository[Post, int]):
    """With what they lead to."""

    owner, policy = KeyOwner("post"), POLICY
    tags = KeyList(Post.tags)
    comments = KeyList(Post.comments)


COUNTED = select(Post.author_id, func.count()).group_by(Post.author_id)


async def make_blog(ends: Endpoints) -> None:
    async with plain_engine(ends) as engine, engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        authors = [{"id": n, "email": f"{n}@x", "name": f"a{n}"} for n in range(AUTHORS)]
        await connection.execute(insert(Author), authors)
        await connection.execute(insert(Tag), [{"id": n, "name": f"t{n}"} for n in range(TAGS)])
        posts = [{"id": n, "author_id": n % AUTHORS, "title": f"p{n}"} for n in range(POSTS)]
        await connection.execute(insert(Post), posts)
        pairs = [{"post_id": n, "tag_id": (n + t) % TAGS} for n in range(POSTS) for t in range(3)]
        await connection.execute(insert(tagged), pairs)
        comments = [
            {"id": COMMENTS * n + c, "post_id": n, "text": "she writes " * 6}
            for n in range(POSTS)
            for c in range(COMMENTS)
        ]
        await connection.execute(insert(Comment), comments)


@asynccontextmanager
async def blog(ends: Endpoints) -> AsyncIterator[Database]:
    async with Database(
        ends.primary,
        replicas=ends.replicas,
        redis=ends.redis,
        repositories=[Authors, Tags, Comments, Posts],
        settings=Settings(observe=ignore),
    ) as db:
        yield db


@asynccontextmanager
async def ours(ends: Endpoints, name: str) -> AsyncIterator[Call]:
    """Warm."""
    async with blog(ends) as db:
        authors, posts = db[Authors], db[Posts]
        emails = [f"{n}@x" for n in range(AUTHORS)]

        async def by_id(number: int) -> object:
            return await authors.get(number % AUTHORS)

        async def by_value(number: int) -> object:
            return await authors.by_email.get(emails[number % AUTHORS])

        async def loaded(number: int) -> object:
            ids = range(number % (POSTS - AT_ONCE), number % (POSTS - AT_ONCE) + AT_ONCE)
            return await posts.get_many(ids, load=[Post.author, Post.tags, Post.comments])

        async def rows(_: int) -> object:
            return await posts.rows(COUNTED)

        async def page(number: int) -> object:
            return await posts.page(
                order_by=[Post.title], offset=number % 100, limit=20, total=True
            )

        calls = {BY_ID: by_id, BY_VALUE: by_value, LOADED: loaded, ROWS: rows, PAGE: page}
        for _ in range(3):
            for number in range(0, POSTS, AT_ONCE):
                await calls[name](number)
        yield calls[name]


@asynccontextmanager
async def plain(ends: Endpoints, name: str) -> AsyncIterator[Call]:
    engine = create_async_engine(ends.replicas[0], pool_size=POOL, max_overflow=0)
    sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(engine, expire_on_commit=False)
    options = [selectinload(Post.author), selectinload(Post.tags), selectinload(Post.comments)]

    async def selected(number: int) -> object:
        begin = number % (POSTS - AT_ONCE)
        wanted = select(Post).where(Post.id.in_(range(begin, begin + AT_ONCE))).options(*options)
        async with sessions() as session:
            return (await session.scalars(wanted)).all()

    async def rows(_: int) -> object:
        async with sessions() as session:
            return (await session.execute(COUNTED)).all()

    async def page(number: int) -> object:
        listed = select(Post).order_by(Post.title, Post.id).offset(number % 100).limit(20)
        async with sessions() as session:
            items = (await session.scalars(listed)).all()
            return items, await session.scalar(select(func.count()).select_from(Post))

    calls: dict[str, Any] = {SELECTED: selected, PLAIN_ROWS: rows, PLAIN_PAGE: page}
    try:
        await calls[name](0)
        yield calls[name]
    finally:
        await engine.dispose()


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = running.endpoints()
        await make_blog(ends)
        running.catch_up()
        both: dict[str, Open] = {
            **{name: partial(ours, ends, name) for name in (BY_ID, BY_VALUE)},
        }
        table = await interleave(
            "a lookup hit beside an id hit, both in L1",
            both,
            in_a_row(range(AUTHORS), effort.closed),
            effort.rounds,
        )
        table.show((Bar(BY_VALUE, BY_ID, "cpu", 1.3),))
        for title, mine, theirs, bar in (
            ("relationships", LOADED, SELECTED, Bar(LOADED, SELECTED, "calls", 5, at_least=True)),
            ("rows", ROWS, PLAIN_ROWS, Bar(ROWS, PLAIN_ROWS, "p50", 1.1)),
            ("a page", PAGE, PLAIN_PAGE, Bar(PAGE, PLAIN_PAGE, "p50", 1.1)),
        ):
            table = await interleave(
                f"{title}, one caller",
                {theirs: partial(plain, ends, theirs), mine: partial(ours, ends, mine)},
                under(Load(1, POSTS), effort.closed),
                effort.rounds,
            )
            table.show((bar,))


if __name__ == "__main__":
    run(benchmark)
