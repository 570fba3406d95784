"""What bulk statements change, in the ORM's form and in Core's: exact keys where they can be had,
else the owner."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Insert,
    Integer,
    TypeDecorator,
    bindparam,
    case,
    column,
    delete,
    func,
    insert,
    lambda_stmt,
    literal,
    select,
    table,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from repocache.background.tasks import Grace
from repocache.errors import NotStarted
from tests.tracking.shop import (
    Country,
    Engineer,
    Folder,
    Order,
    Paper,
    Person,
    Post,
    Shop,
    Tag,
    User,
    orders,
    post_tag,
    posts,
)


class TwiceAsMuch(TypeDecorator[int]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        return value and 2 * value


async def run(shop: Shop, statement: Any, parameters: Any = None) -> Any:
    """Execute and commit in a plain session; the result is read in it."""
    async with shop.plain_session() as session:
        result = await session.execute(statement, parameters)
        found = result.all() if getattr(statement, "_returning", ()) else result
        await session.commit()
    return found


async def run_core(shop: Shop, statement: Any, parameters: Any = None) -> Any:
    """Execute and commit on a connection."""
    async with shop.engine.begin() as connection:
        result = await connection.execute(statement, parameters)
        return result.all() if getattr(statement, "_returning", ()) else result


def upsert(shop: Shop, model: Any) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(model) if shop.name == "postgresql" else sqlite.insert(model)


@pytest.fixture
async def three(shop: Shop) -> Shop:
    await shop.add(
        *(Post(id=number, title="old") for number in (1, 2, 3)),
        *(Order(tenant=1, number=number) for number in (1, 2)),
    )
    return shop


async def test_ids_in_where_are_taken_from_there(three: Shop) -> None:
    where: ColumnElement[bool]
    for where in (
        Post.id == 1,
        literal(1) == posts.c.id,
        (Post.id == 1) & (Post.title != "x"),
        Post.id.in_([1]),
    ):
        three.clear()
        assert (await run(three, update(Post).where(where).values(title="x"))).rowcount >= 0
        assert three.keys == {"post:1"}


async def test_where_by_id_is_not_made_to_return_rows(three: Shop) -> None:
    result = await run_core(three, update(posts).where(posts.c.id == 1).values(title="x"))
    assert result.returned_defaults_rows is None
    assert result.rowcount == 1


async def test_a_list_of_ids(three: Shop) -> None:
    await run(three, delete(Post).where(Post.id.in_([1, 3, 99])))
    assert three.keys == {"post:1", "post:3", "post:99"}


async def test_composite_ids_in_where(three: Shop) -> None:
    await run(
        three, update(Order).where(Order.number.in_([1, 2]), Order.tenant == 1).values(note="x")
    )
    assert three.keys == {"order:1:1", "order:1:2"}
    three.clear()
    await run(three, delete(Order).where(tuple_(Order.tenant, Order.number).in_([(1, 2)])))
    assert three.keys == {"order:1:2"}


async def test_an_update_by_another_column_is_seen_exactly(three: Shop) -> None:
    for execute in (run, run_core):
        three.clear()
        result = await execute(three, update(Post).where(Post.title == "old").values(title="old"))
        assert result.rowcount == 3
        assert three.keys == {"post:1", "post:2", "post:3"}


async def test_an_update_that_meets_no_row_publishes_nothing(three: Shop) -> None:
    result = await run(three, update(Post).where(Post.title == "none").values(title="x"))
    assert result.rowcount == 0
    assert three.notes.published == []


async def test_a_delete_by_another_column_is_seen_exactly(three: Shop) -> None:
    result = await run(three, delete(Post).where(Post.title == "old", Post.id > 1))
    assert result.rowcount == 2
    assert three.keys == {"post:2", "post:3"}


async def test_an_update_of_all_rows_moves_the_owner(three: Shop) -> None:
    await run(three, update(Post).values(title="x"))
    assert three.keys == {"post:*"}


async def test_update_from(three: Shop) -> None:
    statement = (
        update(posts).values(title="x").where(posts.c.id == orders.c.no, orders.c.tenant == 1)
    )
    await run_core(three, statement)
    assert three.keys == {"post:1", "post:2"}


async def test_delete_using(postgres: Shop) -> None:
    await postgres.add(Post(id=1), Post(id=2), Order(tenant=1, number=2))
    assert (await run(postgres, delete(Post).where(Post.id == Order.number))).rowcount == 1
    assert postgres.keys == {"post:2"}


@pytest.mark.parametrize("synchronize", ["auto", "evaluate", "fetch", False])
async def test_loaded_entities_stay_in_step(three: Shop, synchronize: Any) -> None:
    async with three.plain_session() as session:
        post = await session.get_one(Post, 1)
        where = Post.title == "old"
        options = {"synchronize_session": synchronize}
        result = await session.execute(
            update(Post).where(where).values(title="new"), execution_options=options
        )
        assert isinstance(result, CursorResult)
        assert result.rowcount == 3
        assert post.title == ("old" if synchronize is False else "new")
        result = await session.execute(
            delete(Post).where(Post.title == "new"), execution_options=options
        )
        assert isinstance(result, CursorResult)
        assert result.rowcount == 3
        assert (post in session) is (synchronize is False)
        await session.commit()
    assert three.keys == {"post:1", "post:2", "post:3"}


async def test_what_the_statement_itself_returns_is_read_and_given_back(three: Shop) -> None:
    rows = await run(
        three,
        update(Post).where(Post.title == "old").values(title="x").returning(Post.title, Post.id),
    )
    assert sorted(rows) == [("x", 1), ("x", 2), ("x", 3)]
    assert three.keys == {"post:1", "post:2", "post:3"}
    three.clear()
    async with three.plain_session() as session, session.begin():
        found = await session.scalars(
            update(Post).where(Post.title == "x").values(title="y").returning(Post)
        )
        assert sorted(post.id for post in found) == [1, 2, 3]
    assert three.keys == {"post:1", "post:2", "post:3"}
    three.clear()
    assert await run(three, delete(Post).where(Post.title == "none").returning(Post.id)) == []
    assert three.notes.published == []


async def test_returned_rows_without_the_id_move_the_owner(three: Shop) -> None:
    rows = await run(
        three, update(Post).where(Post.title == "old").values(title="x").returning(Post.title)
    )
    assert rows == [("x",)] * 3
    assert three.keys == {"post:*"}


async def test_returned_rows_that_are_streamed_move_the_owner(postgres: Shop) -> None:
    await postgres.add(Post(id=1, title="old"))
    async with postgres.engine.begin() as connection:
        statement = (
            update(posts).where(posts.c.title == "old").values(title="x").returning(posts.c.id)
        )
        result = await connection.stream(statement)
        assert [row.id async for row in result] == [1]
    assert postgres.keys == {"post:*"}


async def test_returned_ids_pass_through_their_types(shop: Shop) -> None:
    given = uuid.uuid4()
    await shop.add(Tag(id=given, word="old"))
    await run_core(shop, update(Tag).where(Tag.word == "old").values(word="x").returning(Tag.id))
    assert shop.keys == {f"tag:{given.hex}"}
    shop.clear()
    await run_core(shop, update(Tag).where(Tag.word == "x").values(word="y"))
    assert shop.keys == {f"tag:{given.hex}"}


async def test_a_list_of_updates(three: Shop) -> None:
    statement = update(posts).where(posts.c.id == bindparam("which")).values(title=bindparam("to"))
    await run_core(three, statement, [{"which": 1, "to": "a"}, {"which": 3, "to": "b"}])
    assert three.keys == {"post:1", "post:3"}
    three.clear()
    await run(three, update(Post), [{"id": 1, "title": "c"}, {"id": 2, "title": "d"}])
    assert three.keys == {"post:1", "post:2"}


async def test_a_list_of_updates_that_does_not_name_ids_moves_the_owner(three: Shop) -> None:
    statement = (
        update(posts).where(posts.c.title == bindparam("which")).values(title=bindparam("to"))
    )
    await run_core(three, statement, [{"which": "old", "to": "a"}, {"which": "x", "to": "b"}])
    assert three.keys == {"post:*"}


async def test_a_list_of_deletes(three: Shop) -> None:
    await run_core(
        three, delete(posts).where(posts.c.id == bindparam("which")), [{"which": 1}, {"which": 2}]
    )
    assert three.keys == {"post:1", "post:2"}


async def test_key_columns_in_set(three: Shop) -> None:
    await run_core(
        three, update(posts).where(posts.c.id == bindparam("which")), {"which": 1, "id": 11}
    )
    assert three.keys == {"post:1", "post:11"}
    three.clear()
    statement = update(orders).where(orders.c.tenant == 1, orders.c.no == bindparam("which"))
    await run_core(three, statement, [{"which": 1, "no": 11}, {"which": 2, "no": 12}])
    assert three.keys == {"order:1:1", "order:1:11", "order:1:2", "order:1:12"}


@pytest.mark.parametrize(
    "statement",
    [
        update(Order)
        .where(Order.number == 1, Order.tenant == 1)
        .values({Order.number: Order.number + 5}),
        update(Order).where(Order.note == "").values(number=Order.number + 5),
        update(orders)
        .where(orders.c.note == "")
        .values(no=orders.c.no + 5)
        .returning(orders.c.tenant, orders.c.no),
        update(orders)
        .where(orders.c.tenant == 1, orders.c.no == 1)
        .ordered_values((orders.c.no, orders.c.no + 5)),
        update(orders).values(no=case((orders.c.no == 0, 0), else_=orders.c.no + 5)),
    ],
)
async def test_key_columns_set_by_expressions_move_the_owner(three: Shop, statement: Any) -> None:
    # Twice: the second time SQLAlchemy takes the statement from its cache.
    for _ in range(2):
        three.clear()
        await run(three, statement)
        assert three.keys == {"order:*"}


async def test_key_columns_set_to_plain_values_tell_both_ids(three: Shop) -> None:
    # The second time SQLAlchemy takes the statement from its cache, with other values.
    for old, new in ((1, 5), (2, 6)):
        three.clear()
        values = update(Order).where(Order.number == old, Order.tenant == 1).values(number=new)
        await run(three, values)
        assert three.keys == {f"order:1:{old}", f"order:1:{new}"}
    three.clear()
    given = update(orders).where(orders.c.tenant == 1, orders.c.no == 5).values(no=bindparam("to"))
    await run_core(three, given, {"to": 7})
    assert three.keys == {"order:1:5", "order:1:7"}
    three.clear()
    seven = update(orders).where(orders.c.tenant == 1, orders.c.no == 7)
    await run(three, seven.values(no=literal(8, TwiceAsMuch())))
    assert three.keys == {"order:*"}, "it is sent as another value"


async def test_an_insert_is_seen_under_the_key_that_the_database_gave_it(shop: Shop) -> None:
    for execute in (run, run_core):
        shop.clear()
        result = await execute(shop, insert(Post).values(title="a"))
        assert shop.keys == {f"post:{result.inserted_primary_key[0]}"}


async def test_a_list_of_inserts(shop: Shop) -> None:
    for execute in (run, run_core):
        shop.clear()
        await execute(shop, insert(Post), [{"title": "a"}, {"title": "b"}, {"title": "c"}])
        ids = sorted(row.id for row in await run_core(shop, select(posts)))[-3:]
        # SQLite's driver returns nothing of a list.
        assert shop.keys == (
            {f"post:{id}" for id in ids} if shop.name == "postgresql" else {"post:*"}
        )
    shop.clear()
    await run_core(shop, insert(Post), [{"id": 101}, {"id": 102}])
    assert shop.keys == {"post:101", "post:102"}


async def test_a_list_of_inserts_with_ids_of_the_application_is_sent_as_it_was(shop: Shop) -> None:
    result = await run_core(shop, insert(Tag), [{"word": "a"}, {"word": "b"}])
    assert result.returned_defaults_rows is None
    ids = {row.id for row in await run_core(shop, select(Tag.__table__))}
    assert shop.keys == {f"tag:{id.hex}" for id in ids}


async def test_inserts_that_return_rows(shop: Shop) -> None:
    async with shop.plain_session() as session, session.begin():
        found = (
            await session.scalars(insert(Post).returning(Post), [{"title": "a"}, {"title": "b"}])
        ).all()
        keys = {f"post:{post.id}" for post in found}
    assert len(keys) == 2
    assert shop.keys == keys
    shop.clear()
    rows = await run_core(shop, insert(posts).values(title="c").returning(posts.c.id))
    assert shop.keys == {f"post:{rows[0].id}"}
    shop.clear()
    assert await run_core(shop, insert(posts).values(id=77).returning(posts.c.title)) == [("",)]
    assert shop.keys == {"post:77"}
    shop.clear()
    await run_core(shop, insert(posts).values(title="d").returning(posts.c.title))
    assert shop.keys == {"post:*"}


async def test_several_rows_in_values(shop: Shop) -> None:
    for _ in range(2):
        shop.clear()
        await run(
            shop, insert(Order).values([{"tenant": 1, "number": 1}, {"tenant": 1, "number": 2}])
        )
        assert shop.keys == {"order:1:1", "order:1:2"}
        await run_core(shop, delete(orders))
    shop.clear()
    await run(shop, insert(Order).values([{"tenant": 2, "number": 1}, {"tenant": 2, "number": 3}]))
    assert shop.keys == {"order:2:1", "order:2:3"}
    shop.clear()
    await run(shop, insert(Post).values([{"title": "a"}, {"title": "b"}]))
    assert shop.keys == {"post:*"}
    shop.clear()
    rows = await run(shop, insert(Post).values([{"title": "a"}, {"title": "b"}]).returning(Post.id))
    assert shop.keys == {f"post:{row.id}" for row in rows}


async def test_insert_from_select(three: Shop) -> None:
    source = select(orders.c.no + 100, orders.c.note)
    await run(three, insert(Post).from_select(["id", "title"], source))
    assert three.keys == {"post:*"}
    three.clear()
    source = select(orders.c.no + 200, orders.c.note)
    rows = await run(three, insert(Post).from_select(["id", "title"], source).returning(Post.id))
    assert three.keys == {f"post:{row.id}" for row in rows} == {"post:201", "post:202"}


async def test_upserts_on_the_key_are_seen_exactly(three: Shop) -> None:
    statement = upsert(three, Post).values(id=1, title="x")
    await run(three, statement.on_conflict_do_update(index_elements=[Post.id], set_={"title": "x"}))
    assert three.keys == {"post:1"}
    three.clear()
    await run(three, statement.on_conflict_do_nothing())
    assert three.keys == {"post:1"}
    three.clear()
    statement = upsert(three, Order).on_conflict_do_update(
        index_elements=["tenant", "no"], set_={"note": "x"}
    )
    await run(three, statement, [{"tenant": 1, "number": 1}, {"tenant": 1, "number": 9}])
    assert three.keys == {"order:1:1", "order:1:9"}


async def test_an_upsert_on_another_column_touches_a_row_that_it_does_not_name(shop: Shop) -> None:
    await shop.add(User(id=1, email="a"))
    statement = (
        upsert(shop, User)
        .values(id=2, email="a")
        .on_conflict_do_update(index_elements=["email"], set_={"name": "x"})
    )
    await run(shop, statement)
    assert shop.keys == {"user:*", "profile:*"}
    shop.clear()
    assert await run(shop, statement.returning(User.id)) == [(1,)]
    assert shop.keys == {"user:1", "profile:1"}


async def test_an_upsert_that_gives_no_id_is_seen_where_the_database_returns_it(
    postgres: Shop,
) -> None:
    await postgres.add(User(id=1, email="a"))
    statement = (
        postgresql.insert(User)
        .values(email="a")
        .on_conflict_do_update(index_elements=["email"], set_={"name": "x"})
    )
    await run(postgres, statement)
    assert postgres.keys == {"user:1", "profile:1"}
    postgres.clear()
    await run(postgres, statement, [{"email": "a"}, {"email": "b"}])
    assert postgres.keys == {"user:*", "profile:*"}


async def test_an_upsert_that_sets_the_key_moves_the_owner(postgres: Shop) -> None:
    await postgres.add(Folder(id=1), Paper(id=1, folder_id=1))
    statement = (
        postgresql.insert(Folder)
        .values(id=1)
        .on_conflict_do_update(index_elements=["id"], set_={"id": 2})
    )
    await run(postgres, statement)
    assert postgres.keys == {"folder:*", "paper:*"}


async def test_insert_or_replace_deletes_rows_that_it_does_not_name(sqlite: Shop) -> None:
    await sqlite.add(User(id=1, email="a"))
    await run(sqlite, insert(User).prefix_with("OR REPLACE").values(id=2, email="a"))
    assert sqlite.keys == {"user:*", "profile:*"}


async def test_writing_ctes_move_the_owner(postgres: Shop) -> None:
    await postgres.add(Post(id=1, title="old"))
    changed = update(Post).where(Post.id == 1).values(title="x").returning(Post.id).cte()
    for statement in (
        select(changed),
        select(func.count()).select_from(select(changed).subquery()),
        select(1).add_cte(changed),
        insert(Order).from_select(
            ["tenant", "no", "note"], select(changed.c.id, changed.c.id, literal("x"))
        ),
    ):
        postgres.clear()
        await run(postgres, statement)
        assert "post:*" in postgres.keys
    assert "order:*" in postgres.keys
    assert postgres.events == []


async def test_a_statement_hidden_in_a_lambda_is_seen(three: Shop) -> None:
    await run_core(
        three, lambda_stmt(lambda: update(posts).where(posts.c.id == 1).values(title="x"))
    )
    assert three.keys == {"post:1"}


async def test_the_sessions_connection_is_no_way_around(three: Shop) -> None:
    async with three.plain_session() as session:
        connection = await session.connection()
        await connection.execute(update(posts).where(posts.c.title == "old").values(title="x"))
        await session.commit()
    assert three.keys == {"post:1", "post:2", "post:3"}


async def test_an_association_table_moves_its_followers_alone(three: Shop) -> None:
    given = uuid.uuid4()
    await three.add(Tag(id=given))
    await run_core(three, insert(post_tag), {"post_id": 1, "tag_id": given})
    assert three.keys == {"tag:*"}


async def test_a_lightweight_table_of_the_same_name_moves_the_owners(three: Shop) -> None:
    foreign = table("post", column("id"), column("title"))
    await run_core(three, update(foreign).where(foreign.c.id == 1).values(title="x"))
    assert three.keys == {"post:*"}


async def test_a_tables_alias_moves_its_owners(postgres: Shop) -> None:
    await postgres.add(Post(id=1))
    alias: Any = posts.alias("p")
    await run_core(postgres, update(alias).where(alias.c.id == 1).values(title="x"))
    assert postgres.keys == {"post:*"}


async def test_bulk_statements_on_a_joined_hierarchy(shop: Shop) -> None:
    await shop.add(Engineer(id=1), Engineer(id=2), Person(id=3))
    await run(shop, update(Engineer).where(Engineer.language == "").values(language="x"))
    assert shop.keys == {"person:1", "person:2"}
    shop.clear()
    await run(shop, update(Person).where(Person.id > 1).values(name="x"))
    assert shop.keys == {"person:2", "person:3"}


async def test_a_delete_in_bulk_follows_foreign_keys(shop: Shop) -> None:
    await shop.add(Folder(id=1), Folder(id=2))
    await run(shop, delete(Folder).where(Folder.id == 1))
    assert shop.keys == ({"folder:1", "paper:*"} if shop.name == "sqlite" else {"folder:1"})
    shop.clear()
    await run(shop, update(Folder).where(Folder.id == 2).values(name="x"))
    assert shop.keys == {"folder:2"}
    shop.clear()
    await run(shop, update(Folder).where(Folder.id == 2).values(id=3))
    assert shop.keys == {"folder:2", "folder:3", "paper:*"}


async def test_values_that_are_no_ids_move_the_owner(sqlite: Shop) -> None:
    await sqlite.add(Post(id=1))
    await run_core(
        sqlite, update(posts).where(posts.c.id == bindparam("which")), {"which": "1", "title": "x"}
    )
    assert sqlite.keys == {"post:*"}


async def test_a_padded_key_in_where_is_not_believed(postgres: Shop) -> None:
    await postgres.add(Country(code="de"))
    await run(postgres, update(Country).where(Country.code == "de").values(name="x"))
    assert postgres.keys == {"country:de%20"}


async def test_a_failed_list_may_have_written_its_first_rows(sqlite: Shop) -> None:
    await sqlite.add(Post(id=2))
    async with sqlite.engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(insert(posts), [{"id": 1}, {"id": 2}])
        await connection.commit()
        assert (await connection.execute(select(posts.c.id))).scalars().all() == [1, 2]
    assert sqlite.keys == {"post:*"}


async def test_a_huge_list_moves_the_owner(sqlite: Shop) -> None:
    await run_core(sqlite, insert(posts), [{"id": number} for number in range(1, 10_002)])
    assert sqlite.keys == {"post:*"}


async def test_two_databases_may_share_mapped_classes(postgres: Shop, sqlite: Shop) -> None:
    async with sqlite.sessions.begin() as session:
        session.add(Post(id=1))
    assert sqlite.keys == {"post:1"}
    assert postgres.notes.published == []


async def test_a_closed_engine_is_as_it_was_but_commits_nothing(sqlite: Shop) -> None:
    await sqlite.watch.close(Grace(0.0))
    sqlite.tracker.stop()
    try:
        with pytest.raises(NotStarted):
            await run(sqlite, insert(Post).values(id=1))
        async with AsyncSession(sqlite.engine) as session:
            await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        assert sqlite.notes.published == []
        assert not {"do_rollback", "do_savepoint"} & set(sqlite.engine.sync_engine.dialect.__dict__)
    finally:
        again = Shop(sqlite.engine, sqlite.owned)
        sqlite.tracker, sqlite.watch, sqlite.notes = again.tracker, again.watch, again.notes
    async with sqlite.sessions() as session:
        assert await session.get(Post, 1) is None
    await run(sqlite, insert(Post).values(id=1))
    assert sqlite.keys == {"post:1"}


async def test_an_upsert_that_renames_is_not_told_by_what_it_returns(postgres: Shop) -> None:
    await postgres.add(Folder(id=1))
    statement = (
        postgresql.insert(Folder)
        .values(id=1)
        .on_conflict_do_update(index_elements=["id"], set_={"id": 2})
    )
    assert await run(postgres, statement.returning(Folder.id)) == [(2,)]
    assert postgres.keys == {"folder:*", "paper:*"}


def test_insert_has_the_attributes_that_are_relied_on() -> None:
    statement = Insert(posts)
    for name in (
        "_returning",
        "_return_defaults",
        "_prefixes",
        "_multi_values",
        "_post_values_clause",
    ):
        assert hasattr(statement, name)
