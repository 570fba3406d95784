"""What goes, or changes, with a deleted row by foreign keys' actions is invalidated by key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    bindparam,
    delete,
    event,
    func,
    insert,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

from repocache.errors import ConfigurationError
from repocache.keys import Follow, KeyOwner, Keys
from repocache.testing import Servers
from repocache.tracking import Owned, OwnedTables
from tests.tracking.shop import Shop, opened

metadata = MetaData()
city = Table(
    "city", metadata, Column("id", Integer, primary_key=True), Column("code", String, unique=True)
)
house = Table(
    "house",
    metadata,
    Column("city_id", ForeignKey("city.id", ondelete="CASCADE"), primary_key=True),
    Column("no", Integer, primary_key=True),
)
room = Table(
    "room",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("city_id", Integer),
    Column("no", Integer),
    ForeignKeyConstraint(["city_id", "no"], ["house.city_id", "house.no"], ondelete="CASCADE"),
)
guest = Table(
    "guest",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("born", ForeignKey("city.code", ondelete="SET NULL")),
)
link = Table(
    "city_tag",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("city_id", ForeignKey("city.id", ondelete="CASCADE")),
    Column("tag_id", Integer),
)
tree = Table(
    "tree",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("above", ForeignKey("tree.id", ondelete="CASCADE")),
)


class Lower(TypeDecorator[str]):
    """Kept in small letters."""

    impl = String
    cache_ok = True

    def bind_expression(self, bindparam: BindParameter[str]) -> ColumnElement[str]:
        return func.lower(bindparam, type_=String)


shelf = Table(
    "shelf",
    metadata,
    Column("code", Lower(20), primary_key=True),
    Column("no", Integer, primary_key=True),
)
book = Table(
    "book",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", Lower(20)),
    Column("no", Integer),
    ForeignKeyConstraint(["code", "no"], ["shelf.code", "shelf.no"], ondelete="CASCADE"),
)
TABLES = [city, house, room, guest, link, tree, shelf, book]


def owned(*follows: str | Follow) -> OwnedTables:
    owners = [
        Owned(Keys(KeyOwner("city"), (int,)), {city: (city.c.id,)}),
        Owned(Keys(KeyOwner("house"), (int, int)), {house: (house.c.city_id, house.c.no)}),
        Owned(Keys(KeyOwner("room"), (int,)), {room: (room.c.id,)}),
        Owned(Keys(KeyOwner("guest"), (int,)), {guest: (guest.c.id,)}),
        Owned(Keys(KeyOwner("tree"), (int,)), {tree: (tree.c.id,)}),
        Owned(Keys(KeyOwner("book"), (int,)), {book: (book.c.id,)}),
        Owned(Keys(KeyOwner("tags_of", follows=follows), (int,)), {}),
    ]
    return OwnedTables(owners, TABLES)


BY_KEY = Follow("city_tag", key="city_id")


@pytest.fixture(scope="module")
def towns_url(repocache_servers: Servers) -> Iterator[str]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    script = ";".join(str(CreateTable(each).compile(dialect=dialect)) for each in TABLES)
    primary = repocache_servers.primary
    primary.create_database("repocache_towns")
    primary.sql(f"SET ROLE app; {script}", "repocache_towns")
    yield primary.url(database="repocache_towns")
    primary.drop_database("repocache_towns")


@pytest.fixture
async def towns(towns_url: str) -> AsyncIterator[Shop]:
    """Cities 1 and 2, each with two houses, three rooms, a guest and two tags."""
    engine = create_async_engine(towns_url)
    async with engine.begin() as connection:
        await connection.execute(
            text(f"TRUNCATE {', '.join(each.name for each in TABLES)} RESTART IDENTITY")
        )
        for id in (1, 2):
            await connection.execute(insert(city), {"id": id, "code": f"c{id}"})
            await connection.execute(insert(house), [{"city_id": id, "no": no} for no in (1, 2)])
            await connection.execute(
                insert(room),
                [{"id": 10 * id + n, "city_id": id, "no": 1 + n % 2} for n in range(3)],
            )
            await connection.execute(insert(guest), {"id": id, "born": f"c{id}"})
            await connection.execute(
                insert(link), [{"city_id": id, "tag_id": tag} for tag in (7, 8)]
            )
        await connection.execute(insert(tree), [{"id": 1, "above": None}, {"id": 2, "above": 1}])
    async with opened(engine, owned(BY_KEY)) as shop:
        yield shop


async def run(towns: Shop, *statements: object) -> set[str]:
    towns.clear()
    async with towns.engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)  # type: ignore[call-overload]
    return towns.keys


OF_CITY_1 = {
    "city:1",
    "house:1:1",
    "house:1:2",
    "room:10",
    "room:11",
    "room:12",
    "guest:1",
    "tags_of:1",
}


async def test_all_that_goes_with_a_row_is_invalidated_by_key(towns: Shop) -> None:
    """Through a composite key and two levels, a key that is not the primary one, and a table
    without a class."""
    assert await run(towns, delete(city).where(city.c.id == 1)) == OF_CITY_1


async def test_also_from_the_middle(towns: Shop) -> None:
    found = await run(towns, delete(house).where(house.c.city_id == 1, house.c.no.in_([1, 2])))
    assert found == {"house:1:1", "house:1:2", "room:10", "room:11", "room:12"}


async def test_a_row_without_children_is_itself_alone(towns: Shop) -> None:
    await run(towns, insert(city).values(id=3, code="c3"))
    assert await run(towns, delete(city).where(city.c.id == 3)) == {"city:3"}


async def test_a_row_that_is_not_there_reaches_nobody_else(towns: Shop) -> None:
    assert await run(towns, delete(city).where(city.c.id == 99)) <= {"city:99"}


async def test_a_list_of_deletions(towns: Shop) -> None:
    towns.clear()
    async with towns.engine.begin() as connection:
        await connection.execute(
            delete(city).where(city.c.id == bindparam("gone")), [{"gone": 1}, {"gone": 2}]
        )
    assert {*OF_CITY_1, "city:2", "room:21", "guest:2"} <= towns.keys


async def test_a_grandchild_that_is_added_before_the_lock_is_seen(towns: Shop) -> None:
    """As above, one level lower: the room holds its house, which goes itself and is locked before
    rooms are read."""
    async with towns.engine.connect() as other:
        await other.execute(text("INSERT INTO room (id, city_id, no) VALUES (99, 1, 1)"))
        deleting = asyncio.ensure_future(run(towns, delete(city).where(city.c.id == 1)))
        await asyncio.sleep(0.1)
        assert not deleting.done()
        await other.commit()
    await asyncio.wait([deleting])
    keys = {key for published in towns.notes.published for key in published.keys}
    assert {*OF_CITY_1, "room:99"} <= keys


WHOLE = {"house:*", "room:*", "guest:*", "tags_of:*"}


async def test_rows_that_a_statement_does_not_name_move_owners_as_a_whole(towns: Shop) -> None:
    assert await run(towns, delete(city).where(city.c.code == "c1")) == {"city:1", *WHOLE}


async def test_rows_that_are_named_by_more_than_their_key_are_asked_about(towns: Shop) -> None:
    """As a mapper with a version_id_col does."""
    found = await run(towns, delete(city).where(city.c.id == 1, city.c.code == "c1"))
    assert found == OF_CITY_1
    assert await run(towns, delete(city).where(city.c.id == 2, city.c.code == "c1")) == {"city:2"}


@pytest.mark.parametrize(
    "unlike", [city.c.code == "c9", city.c.code.like("x%")], ids=["equality", "more"]
)
async def test_a_row_that_is_not_deleted_is_not_waited_for(
    towns: Shop, unlike: ColumnElement[bool]
) -> None:
    """1. another transaction has the row; 2. a DELETE names it, and says what it is not."""
    async with towns.engine.begin() as other:
        await other.execute(update(city).where(city.c.id == 1).values(code=city.c.code))
        async with asyncio.timeout(10):
            found = await run(towns, delete(city).where(city.c.id == 1, unlike))
    assert "city:1" in found or not found


async def test_rows_are_locked_in_the_order_of_their_keys(towns: Shop) -> None:
    """1. row 1 lies behind row 2 in the table, and another transaction has it; 2. a DELETE of both
    waits, and has nothing that the other may still want."""
    await run(towns, update(city).where(city.c.id == 1).values(code=city.c.code))
    as_they_lie = [text(f"SET LOCAL enable_{way} = off") for way in ("indexscan", "bitmapscan")]
    async with towns.engine.begin() as other:
        await other.execute(text("SELECT FROM city WHERE id = 1 FOR UPDATE"))
        deleting = asyncio.ensure_future(
            run(towns, *as_they_lie, delete(city).where(city.c.id.in_([2, 1])))
        )
        await asyncio.sleep(0.1)
        assert not deleting.done()
        await other.execute(text("SELECT FROM city WHERE id = 2 FOR UPDATE NOWAIT"))
    await deleting


async def test_a_type_that_compares_in_its_own_words_is_not_asked_about_with_others(
    towns: Shop,
) -> None:
    """Else no row would be found, and none that goes along."""
    async with towns.engine.begin() as connection:
        await connection.execute(insert(shelf), {"code": "A", "no": 1})
        await connection.execute(insert(book), {"id": 5, "code": "A", "no": 1})
    assert await run(towns, delete(shelf).where(shelf.c.code == "A", shelf.c.no == 1)) == {"book:*"}


async def test_a_circle_moves_the_owner_as_a_whole(towns: Shop) -> None:
    assert await run(towns, delete(tree).where(tree.c.id == 1)) == {"tree:*"}


async def test_who_adds_a_child_meanwhile_waits_and_is_refused(towns: Shop) -> None:
    """1. the parent is locked, its children are read; 2. another transaction adds one; 3. the
    parent goes."""
    towns.clear()
    adding: asyncio.Task[object] | None = None

    async def add() -> None:
        async with towns.engine.begin() as other:
            await other.execute(text("INSERT INTO house (city_id, no) VALUES (1, 99)"))

    async with towns.engine.begin() as connection:
        await connection.execute(delete(city).where(city.c.id == 1))
        adding = asyncio.ensure_future(add())
        await asyncio.sleep(0.1)
        assert not adding.done()
    with pytest.raises(Exception, match="foreign key"):
        await adding
    [published] = towns.notes.published
    assert set(published.keys) == OF_CITY_1


async def test_a_child_that_is_added_before_the_lock_is_seen(towns: Shop) -> None:
    """1. a child is added, and not committed; 2. a DELETE waits for its lock on the parent; 3. it
    commits."""
    other = towns.engine.connect()
    connection = await other.start()
    await connection.execute(text("INSERT INTO house (city_id, no) VALUES (1, 99)"))
    towns.clear()
    deleting = asyncio.ensure_future(run(towns, delete(city).where(city.c.id == 1)))
    await asyncio.sleep(0.1)
    assert not deleting.done()
    await connection.commit()
    await other.close()
    await asyncio.wait([deleting])
    keys = {key for published in towns.notes.published for key in published.keys}
    assert {*OF_CITY_1, "house:1:99"} <= keys


async def test_without_the_right_to_lock_owners_are_moved_as_a_whole_and_nothing_fails(
    towns: Shop, repocache_servers: Servers
) -> None:
    primary = repocache_servers.primary
    primary.sql("REVOKE UPDATE ON room FROM app", "repocache_towns")
    try:
        found = await run(towns, delete(city).where(city.c.id == 1))
    finally:
        primary.sql("GRANT UPDATE ON room TO app", "repocache_towns")
    assert found == {"city:1", *WHOLE}


async def test_rows_that_a_policy_hides_go_too_and_move_owners_as_a_whole(
    towns: Shop, repocache_servers: Servers
) -> None:
    """Foreign keys' actions see all rows, whoever deletes."""
    primary = repocache_servers.primary
    hide = "CREATE POLICY hide ON room USING (id <> 10); ALTER TABLE room {} ROW LEVEL SECURITY"
    primary.sql(f"{hide.format('ENABLE')}, FORCE ROW LEVEL SECURITY", "repocache_towns")
    try:
        found = await run(towns, delete(city).where(city.c.id == 1))
    finally:
        shown = (
            "DROP POLICY hide ON room; ALTER TABLE room DISABLE ROW LEVEL SECURITY, NO FORCE "
            "ROW LEVEL SECURITY"
        )
        primary.sql(shown, "repocache_towns")
    assert primary.sql("SELECT id FROM room WHERE city_id = 1", "repocache_towns") == []
    assert found == {"city:1", *WHOLE}


async def test_many_rows_are_not_asked_about(towns: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repocache.tracking.foreseen.MOST_ASKED", 1)
    found = await run(towns, delete(city).where(city.c.id.in_([1, 2])))
    assert found == {"city:1", "city:2", *WHOLE}


async def test_a_followed_table_gives_keys(towns: Shop) -> None:
    assert await run(towns, insert(link).values(city_id=2, tag_id=9)) == {"tags_of:2"}
    assert await run(towns, update(link).where(link.c.city_id == 2).values(tag_id=10)) == {
        "tags_of:2"
    }
    assert await run(towns, delete(link).where(link.c.city_id == 2)) == {"tags_of:2"}
    assert await run(towns, delete(link).where(link.c.tag_id == 7)) == {"tags_of:1"}
    assert await run(towns, update(link).where(link.c.city_id == 1).values(city_id=2)) == {
        "tags_of:1",
        "tags_of:2",
    }


async def test_a_followed_row_that_changes_its_key_unnamed_moves_the_owner(towns: Shop) -> None:
    assert await run(towns, update(link).where(link.c.tag_id == 7).values(city_id=2)) == {
        "tags_of:*"
    }


async def test_a_key_that_is_null_is_nobodys(towns: Shop) -> None:
    assert await run(
        towns, insert(link).values(city_id=None, tag_id=9), insert(guest).values(id=77)
    ) == {"guest:77"}


@pytest.mark.parametrize("key", ["nothing", ("city_id", "tag_id"), ()])
def test_a_follow_names_columns_that_are_there_as_many_as_the_key_has(
    key: str | tuple[str, ...],
) -> None:
    with pytest.raises(ConfigurationError, match=r"Follow|columns"):
        owned(Follow("city_tag", key=key))


def test_a_follow_of_an_unknown_table_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="city_tags"):
        owned(Follow("city_tags", key="city_id"))


def test_what_follows_a_table_is_moved_by_a_deletion_that_reaches_it() -> None:
    assert "tags_of" in owned("room").of(city).deleted
    assert owned("room").of(guest).deleted == frozenset()


async def test_one_question_is_for_the_lock_and_one_for_each_level(towns: Shop) -> None:
    await run(towns, delete(city).where(city.c.id == 1))
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement.split(maxsplit=1)[0])

    event.listen(towns.engine.sync_engine, "before_cursor_execute", note)
    try:
        await run(towns, delete(city).where(city.c.id == 2))
    finally:
        event.remove(towns.engine.sync_engine, "before_cursor_execute", note)
    assert sorted(asked) == ["DELETE", "SELECT", "SELECT", "SELECT"]
