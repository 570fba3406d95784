"""What was found wrong by somebody who wrote a service with them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Column, ForeignKey, Table, and_, func, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

from repocache import Database, KeyList, KeyOwner, Repository
from repocache.errors import MappingRefused
from repocache.repository.relations import Relations
from repocache.testing import Endpoints, Servers
from tests.keylists.blog import Post, Posts
from tests.lookups.accounts import open_accounts
from tests.shop import Shop


class Base(DeclarativeBase):
    pass


follows = Table(
    "follows",
    Base.metadata,
    Column("follower", ForeignKey("persons.id"), primary_key=True),
    Column("followed", ForeignKey("persons.id"), primary_key=True),
)


class Person(Base):
    """Follows others of its kind, and has notes, some of which are hidden."""

    __tablename__ = "persons"
    id: Mapped[int] = mapped_column(primary_key=True)
    active: Mapped[bool]
    following: Mapped[list[Person]] = relationship(
        secondary=follows,
        primaryjoin=lambda: Person.id == follows.c.follower,
        secondaryjoin=lambda: Person.id == follows.c.followed,
        order_by=follows.c.followed,
    )
    followers: Mapped[list[Person]] = relationship(
        secondary=follows,
        primaryjoin=lambda: Person.id == follows.c.followed,
        secondaryjoin=lambda: Person.id == follows.c.follower,
        order_by=follows.c.follower,
        viewonly=True,
    )
    in_order: Mapped[list[Person]] = relationship(
        secondary=follows,
        primaryjoin=lambda: Person.id == follows.c.follower,
        secondaryjoin=lambda: Person.id == follows.c.followed,
        order_by=lambda: Person.active,
        viewonly=True,
    )
    shown: Mapped[list[Note]] = relationship(
        primaryjoin=lambda: and_(Person.id == Note.person, Note.visible), viewonly=True
    )
    hidden: Mapped[list[Note]] = relationship(
        primaryjoin=lambda: and_(Person.id == Note.person, ~Note.visible), viewonly=True
    )
    named: Mapped[list[Note]] = relationship(
        primaryjoin=lambda: and_(Person.id == Note.person, func.starts_with(Note.text, "x")),
        viewonly=True,
    )


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[int] = mapped_column(ForeignKey("persons.id"))
    visible: Mapped[bool]
    text: Mapped[str]
    writer: Mapped[Person | None] = relationship(
        primaryjoin=lambda: and_(Note.person == Person.id, Person.active), viewonly=True
    )


class Loose(Base):
    """Nobody's: there is no repository."""

    __tablename__ = "loose"
    id: Mapped[int] = mapped_column(primary_key=True)


class Persons(Repository[Person, int]):
    owner = KeyOwner("person")
    following = KeyList(Person.following)
    followers = KeyList(Person.followers)


class Notes(Repository[Note, int]):
    owner = KeyOwner("note")


@pytest.fixture
async def people(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        rows = [{"id": n, "active": n > 1} for n in (1, 2, 3)]
        await connection.execute(insert(Person), rows)
        pairs = [{"follower": 1, "followed": 2}, {"follower": 1, "followed": 3}]
        await connection.execute(insert(follows), pairs)
        notes = [{"id": n, "person": 1, "visible": n == 1, "text": f"t{n}"} for n in (1, 2)]
        await connection.execute(insert(Note), notes)
    await engine.dispose()
    async with open_accounts(repocache_endpoints, repositories=[Persons, Notes]) as shop:
        yield shop


async def test_a_class_that_leads_to_itself(people: Shop) -> None:
    load: Relations = [Person.following, Person.followers]
    async with people.db.reading() as session:
        options = [selectinload(Person.following), selectinload(Person.followers)]
        theirs = (await session.scalars(select(Person).options(*options))).all()
        expected = {each.id: both(each) for each in theirs}
    for _ in range(2):
        found = await people.db[Persons].get_many([1, 2, 3], load=load)
        assert {id: both(each) for id, each in found.items()} == expected
    assert expected[1] == ([2, 3], [])
    async with people.db.causal_session(None):
        async with people.db.unit_of_work() as work:
            person = await work[Persons].require(3, load=[Person.following])
            person.following.append(await work[Persons].require(1))
            await work.commit()
        assert both(await people.db[Persons].require(1, load=load)) == ([2, 3], [3])
        assert both(await people.db[Persons].require(3, load=load)) == ([1], [1])


def both(person: Person) -> tuple[list[int], list[int]]:
    return [each.id for each in person.following], [each.id for each in person.followers]


async def test_a_condition_that_compares_nothing_is_a_condition(people: Shop) -> None:
    [note] = (await people.db[Notes].get_many([1], load=[Note.writer])).values()
    assert note.writer is None, "the person is not active"
    load: Relations = [Person.shown, Person.hidden, Person.named]
    person = await people.db[Persons].require(1, load=load)
    assert [[each.id for each in some] for some in (person.shown, person.hidden, person.named)] == [
        [1],
        [2],
        [],
    ]


@pytest.mark.parametrize("name", ["shown", "hidden", "named"])
def test_such_a_relationship_is_no_key_list(name: str) -> None:
    class Listed(Repository[Person, int]):
        owner = KeyOwner("listed")
        all = KeyList(getattr(Person, name))

    with pytest.raises(MappingRefused, match=f"Person.{name} does not lead to many"):
        Database("sqlite+aiosqlite:////nowhere", repositories=[Listed, Notes])


def test_a_list_in_the_order_of_another_table_is_refused() -> None:
    class Listed(Repository[Person, int]):
        owner = KeyOwner("listed")
        all = KeyList(Person.in_order)

    with pytest.raises(MappingRefused, match="ordered by what is no column of follows"):
        Database("sqlite+aiosqlite:////nowhere", repositories=[Listed])


async def test_a_session_sees_what_it_wrote_where_nobody_owns_it(
    people: Shop, repocache_servers: Servers
) -> None:
    for replica in repocache_servers.replicas:
        replica.pause_replay()
    try:
        async with people.db.causal_session(None) as session:
            async with people.db.unit_of_work() as work:
                work.add(Loose(id=1))
                bookmark = await work.commit()
            assert bookmark.position
            assert bookmark.covered
            text_of = session.encode()
        async with people.db.causal_session(text_of), people.db.reading() as read:
            assert await read.get(Loose, 1) is not None
        async with people.db.causal_session(bookmark):
            assert len(await people.db[Persons].rows(select(Loose.id))) == 1
        async with people.db.causal_session(None):
            async with people.db.sessionmaker() as plain:
                await plain.execute(text("INSERT INTO loose VALUES (2)"))
                await plain.commit()
            assert len(await people.db[Persons].rows(select(Loose.id))) == 2
        async with people.db.causal_session(None), people.db.unit_of_work() as work:
            await work[Persons].require(1)
            assert (await work.commit()).position == 0, "it wrote nothing"
    finally:
        for replica in repocache_servers.replicas:
            replica.resume_replay()


async def test_a_declared_change_tells_what_leads_from_the_rows(shop: Shop) -> None:
    posts = shop.db[Posts]
    await posts.require(1, load=[Post.labels])
    async with shop.db.causal_session(None):
        async with shop.db.unit_of_work() as work:
            await work.session.execute(text("INSERT INTO labelled VALUES (1, 'c')"))
            await work.session.execute(text("INSERT INTO comments VALUES (99, 1, 0, 'new')"))
            work.changes(Posts, ids=[1])
            await work.commit()
        post = await posts.require(1, load=[Post.labels, Post.comments])
        assert [each.name for each in post.labels] == ["c"]
        assert [each.id for each in post.comments] == [99]
        assert await posts.comment_count.get(1) == 1
