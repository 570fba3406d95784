"""Ids, lookups, key lists and counts over types that make values of their own: what is cached hears
of every write, however it is made."""

from __future__ import annotations

import enum
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.types import TypeDecorator

from repocache import CacheAside, Count, InvalidId, KeyList, KeyOwner, Lookup, Repository
from repocache.testing import Endpoints
from tests.packages.places import POLICIES, under
from tests.shop import Shop, in_rotation, open_shop


class Code(TypeDecorator[uuid.UUID]):
    """A UUID as a text with a letter before it."""

    impl = sa.String(40)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return None if value is None else f"c{value}"

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return None if value is None else uuid.UUID(value[1:])


class Mail(TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return None if value is None else value.lower()

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return value


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[uuid.UUID] = mapped_column(Code(), primary_key=True)
    mail: Mapped[str] = mapped_column(Mail(), unique=True)
    posts: Mapped[list[Post]] = relationship(lazy="selectin", back_populates="author")


class Post(Base):
    __tablename__ = "post"
    id: Mapped[uuid.UUID] = mapped_column(Code(), primary_key=True)
    author_id: Mapped[uuid.UUID] = mapped_column(Code(), sa.ForeignKey("author.id"))
    author: Mapped[Author] = relationship(lazy="joined", back_populates="posts")


class Vote(Base):
    __tablename__ = "vote"
    post_id: Mapped[uuid.UUID] = mapped_column(Code(), primary_key=True)
    mood: Mapped[Mood] = mapped_column(primary_key=True)
    final: Mapped[bool] = mapped_column(primary_key=True)
    weight: Mapped[int]


class Authors(Repository[Author, uuid.UUID]):
    owner = KeyOwner("author")
    by_mail = Lookup(Author.mail)
    posts = KeyList(Author.posts)
    post_count = Count(Post.author_id)


class Posts(Repository[Post, uuid.UUID]):
    owner = KeyOwner("post")


class Votes(Repository[Vote, tuple[uuid.UUID, Mood, bool]]):
    owner = KeyOwner("vote")


def id_of(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


@pytest.fixture(params=POLICIES, ids=lambda policy: type(policy).__name__)
async def two(
    request: pytest.FixtureRequest, repocache_endpoints: Endpoints
) -> AsyncIterator[tuple[Shop, Shop, Any]]:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(sa.insert(Author), [author(n) for n in (1, 2)])
        await connection.execute(
            sa.insert(Post), [{"id": id_of(10 + n), "author_id": id_of(1)} for n in (1, 2)]
        )
    await engine.dispose()
    authors: Any = under(Authors, request.param)
    every = [authors, Posts, Votes]
    async with (
        open_shop(repocache_endpoints, repositories=every) as here,
        open_shop(repocache_endpoints, repositories=every) as there,
    ):
        await in_rotation(here)
        await in_rotation(there)
        yield here, there, authors


def author(number: int) -> dict[str, Any]:
    return {"id": id_of(number), "mail": f"{number}@X"}


async def seen(shop: Shop, authors: Any, number: int) -> tuple[Any, ...]:
    """All that is cached of an author."""
    repository = shop.db[authors]
    found = await repository.get(id_of(number), load=[Author.posts])
    if found is None:
        return (None, await repository.post_count.get(id_of(number)))
    by_mail = await repository.by_mail.get(found.mail)
    return (
        found.mail,
        None if by_mail is None else by_mail.id,
        {each.id for each in found.posts},
        await repository.post_count.get(id_of(number)),
    )


async def test_every_write_is_heard(two: tuple[Shop, Shop, Any]) -> None:
    here, there, authors = two
    own = id_of(1)
    for shop in (here, there, here, there):
        assert await seen(shop, authors, 1) == ("1@x", own, {id_of(11), id_of(12)}, 2)
    writes: list[tuple[Any, tuple[Any, ...]]] = [
        (
            sa.insert(Post).values(id=id_of(13), author_id=own),
            ("1@x", own, {id_of(11), id_of(12), id_of(13)}, 3),
        ),
        (
            sa.update(Author).where(Author.id == own).values(mail="New@X"),
            ("new@x", own, {id_of(11), id_of(12), id_of(13)}, 3),
        ),
        (
            sa.update(Post).where(Post.id == id_of(13)).values(author_id=id_of(2)),
            ("new@x", own, {id_of(11), id_of(12)}, 2),
        ),
        (sa.delete(Post).where(Post.author_id == own), ("new@x", own, set(), 0)),
        (sa.delete(Author).where(Author.id.in_([own])), (None, 0)),
    ]
    bookmark = None
    for statement, expected in writes:
        async with here.db.unit_of_work() as work:
            await work.session.execute(statement)
            bookmark = await work.commit()
        for shop in (here, there):
            async with shop.db.causal_session(bookmark):
                assert await seen(shop, authors, 1) == expected
        assert await seen(here, authors, 1) == expected
    async with here.db.causal_session(bookmark):
        assert await here.db[authors].by_mail.get("new@x") is None
        assert (await seen(here, authors, 2))[3] == 1


async def test_flushes_are_heard(two: tuple[Shop, Shop, Any]) -> None:
    here, there, authors = two
    for shop in (here, there):
        assert (await seen(shop, authors, 2))[0] == "2@x"
    async with here.db.unit_of_work() as work:
        for number in (1, 2):
            (await work[authors].require(id_of(number))).mail = f"{number}@NEW"
        work.add(Post(id=id_of(20), author_id=id_of(2)))
        assert (await work[authors].by_mail.require("2@new")).id == id_of(2)
        bookmark = await work.commit()
    for shop in (here, there):
        async with shop.db.causal_session(bookmark):
            assert await seen(shop, authors, 2) == ("2@new", id_of(2), {id_of(20)}, 1)


async def test_one_row_has_one_value(two: tuple[Shop, Shop, Any]) -> None:
    here, _, authors = two
    with pytest.raises(InvalidId, match="has '1@x', and one row has one id"):
        await here.db[authors].by_mail.get("1@X")
    with pytest.raises(InvalidId, match="not of the key's type UUID"):
        await here.db[authors].get(f"c{id_of(1)}")


async def test_parts_of_a_key_keep_their_types(two: tuple[Shop, Shop, Any]) -> None:
    here, there, _ = two
    id = (id_of(11), Mood.GOOD, True)
    assert await there.db[Votes].get(id) is None
    async with here.db.unit_of_work() as work:
        work.add(Vote(post_id=id[0], mood=id[1], final=id[2], weight=3))
        bookmark = await work.commit()
    for shop in (here, there, there):
        async with shop.db.causal_session(bookmark):
            vote = await shop.db[Votes].require(id)
            assert (vote.post_id, vote.mood, vote.final, vote.weight) == (*id, 3)
    with pytest.raises(InvalidId):
        await here.db[Votes].get((id_of(11), Mood.GOOD, 1))  # type: ignore[arg-type]
    with pytest.raises(InvalidId):
        await here.db[Votes].get((id_of(11), "good", True))  # type: ignore[arg-type]


async def test_find_loads_nothing_eagerly(two: tuple[Shop, Shop, Any]) -> None:
    here, _, _ = two
    statements: list[str] = []

    def hear(*given: Any) -> None:
        statements.append(given[2])

    for node in (here.db.engine.sync_engine,):
        sa.event.listen(node, "before_cursor_execute", hear)
    posts = here.db[Posts].on_primary()
    [first, _] = await posts.find(order_by=[Post.id])
    with pytest.raises(DetachedInstanceError, match=r"load=\[Post.author\]"):
        _ = first.author
    [first, _] = await posts.find(order_by=[Post.id], load=[Post.author])
    assert first.author.mail == "1@x"
    assert not any("JOIN" in each for each in statements if "FROM post" in each)


def test_policies_are_of_this_test() -> None:
    assert any(isinstance(each, CacheAside) for each in POLICIES)
