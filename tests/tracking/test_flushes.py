"""What the ORM's flushes change: seen in the statements that they send, whatever part of the ORM
sends them."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.sql import text

from tests.tracking.shop import (
    Country,
    Draft,
    Engineer,
    Folder,
    Order,
    Paper,
    Person,
    Post,
    Shop,
    Tag,
    User,
)


async def test_an_inserted_entity_is_seen_under_the_key_that_the_database_gave_it(
    shop: Shop,
) -> None:
    async with shop.sessions.begin() as session:
        user = User(email="a")
        session.add(user)
    assert shop.keys == {f"user:{user.id}", f"profile:{user.id}"}


async def test_many_inserted_entities_are_seen_each(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        users = [User(email=str(number)) for number in range(5)]
        session.add_all(users)
    assert shop.keys == {f"{prefix}:{user.id}" for user in users for prefix in ("user", "profile")}


async def test_ids_made_by_the_application_are_seen(shop: Shop) -> None:
    given = uuid.uuid4()
    async with shop.sessions.begin() as session:
        tags = [Tag(id=given), Tag(), Tag()]
        session.add_all(tags)
    assert shop.keys == {f"tag:{tag.id.hex}" for tag in tags}


async def test_an_update_is_seen(shop: Shop) -> None:
    await shop.add(User(id=1, email="a"), User(id=2, email="b"))
    async with shop.sessions.begin() as session:
        user = await session.get_one(User, 1)
        user.name = "Ada"
    assert shop.keys == {"user:1", "profile:1"}


async def test_many_updates_in_one_flush_are_seen(shop: Shop) -> None:
    await shop.add(*(Post(id=number) for number in range(1, 6)))
    async with shop.sessions.begin() as session:
        for post in await session.scalars(select(Post).where(Post.id > 2)):
            post.title = "new"
    assert shop.keys == {"post:3", "post:4", "post:5"}


async def test_an_update_by_an_expression_is_seen(shop: Shop) -> None:
    await shop.add(User(id=1, email="a"))
    async with shop.sessions.begin() as session:
        user = await session.get_one(User, 1)
        user.logins = User.logins + 1
    assert shop.keys == {"user:1", "profile:1"}


async def test_an_update_without_net_change_is_not_published(shop: Shop) -> None:
    await shop.add(User(id=1, email="a", name="Ada"))
    async with shop.sessions.begin() as session:
        user = await session.get_one(User, 1)
        user.name = "Bob"
        user.name = "Ada"
    assert shop.notes.published == []


async def test_a_delete_is_seen(shop: Shop) -> None:
    await shop.add(Post(id=1), Post(id=2))
    async with shop.sessions.begin() as session:
        await session.delete(await session.get_one(Post, 1))
    assert shop.keys == {"post:1"}


async def test_orphans_are_seen(shop: Shop) -> None:
    await shop.add(User(id=1, email="a", posts=[Post(id=1), Post(id=2)]))
    async with shop.sessions.begin() as session:
        user = await session.get_one(User, 1, options=[selectinload(User.posts)])
        user.posts.remove(user.posts[0])
    assert shop.keys == {"post:1"}


async def test_keys_set_through_collections_are_seen(shop: Shop) -> None:
    await shop.add(User(id=1, email="a"), Post(id=7))
    async with shop.sessions.begin() as session:
        user = await session.get_one(User, 1, options=[selectinload(User.posts)])
        user.posts.append(await session.get_one(Post, 7))
    assert shop.keys == {"post:7"}


async def test_foreign_keys_that_the_orm_nulls_are_seen(shop: Shop) -> None:
    await shop.add(User(id=1, email="a", drafts=[Draft(id=3), Draft(id=4)]))
    async with shop.sessions.begin() as session:
        user = await session.get_one(
            User, 1, options=[selectinload(User.drafts), selectinload(User.posts)]
        )
        await session.delete(user)
    assert shop.keys == {"user:1", "profile:1", "draft:3", "draft:4"}


async def test_rows_of_a_followed_association_table_move_their_follower(shop: Shop) -> None:
    await shop.add(Post(id=1), Tag(word="x"))
    async with shop.sessions.begin() as session:
        post = await session.get_one(Post, 1, options=[selectinload(Post.tags)])
        post.tags.append((await session.scalars(select(Tag))).one())
    assert shop.keys == {"tag:*"}


async def test_a_post_update_is_seen(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        user = User(id=1, email="a")
        user.posts.append(Post(id=5))
        user.favourite = user.posts[0]
        session.add(user)
    shop.clear()
    async with shop.sessions.begin() as session:
        user = await session.get_one(User, 1, options=[selectinload(User.favourite)])
        user.favourite = None
    assert shop.keys == {"user:1", "profile:1"}


async def test_a_changed_primary_key_counts_under_both_ids(shop: Shop) -> None:
    await shop.add(Order(tenant=1, number=2), Post(id=1))
    async with shop.sessions.begin() as session:
        (await session.get_one(Order, (1, 2))).number = 3
        (await session.get_one(Post, 1)).id = 9
    assert shop.keys == {"order:1:2", "order:1:3", "post:1", "post:9"}


async def test_composite_keys_are_in_the_keys_order(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        session.add_all([Order(number=5, tenant=1), Order(number=6, tenant=2)])
    assert shop.keys == {"order:1:5", "order:2:6"}
    shop.clear()
    async with shop.sessions.begin() as session:
        (await session.get_one(Order, (1, 5))).note = "x"
        await session.delete(await session.get_one(Order, (2, 6)))
    assert shop.keys == {"order:1:5", "order:2:6"}


async def test_a_write_to_either_table_of_a_joined_hierarchy_reaches_its_owner(shop: Shop) -> None:
    async with shop.sessions.begin() as session:
        session.add_all([Engineer(id=1, kind="engineer"), Person(id=2)])
    assert shop.keys == {"person:1", "person:2"}
    for column in ("language", "name"):
        shop.clear()
        async with shop.sessions.begin() as session:
            setattr(await session.get_one(Engineer, 1), column, "x")
        assert shop.keys == {"person:1"}
    shop.clear()
    async with shop.sessions.begin() as session:
        await session.delete(await session.get_one(Engineer, 1))
    assert shop.keys == {"person:1"}


async def test_what_the_database_deletes_by_a_foreign_key_is_invalidated(shop: Shop) -> None:
    await shop.add(Folder(id=1), Folder(id=2), Paper(id=1, folder_id=1))
    async with shop.sessions.begin() as session:
        await session.delete(await session.get_one(Folder, 1))
    assert shop.keys == {"folder:1", "paper:*" if shop.name == "sqlite" else "paper:1"}


async def test_what_the_database_updates_by_a_foreign_key_moves_its_owner(shop: Shop) -> None:
    await shop.add(Folder(id=1), Paper(id=1, folder_id=1))
    async with shop.sessions.begin() as session:
        (await session.get_one(Folder, 1)).name = "x"
    assert shop.keys == {"folder:1"}
    shop.clear()
    async with shop.sessions.begin() as session:
        (await session.get_one(Folder, 1)).id = 2
    assert shop.keys == {"folder:1", "folder:2", "paper:*"}


async def test_of_a_padded_key_only_what_the_database_returns_counts(postgres: Shop) -> None:
    async with postgres.sessions.begin() as session:
        session.add(Country(code="de"))
    assert postgres.keys == {"country:*"}
    postgres.clear()
    async with postgres.plain_session() as session, session.begin():
        (await session.scalars(select(Country))).one().name = "x"
    assert postgres.keys == {"country:de%20"}


@pytest.mark.parametrize("many", [1, 3])
async def test_bulk_save_and_bulk_mappings_are_seen(shop: Shop, many: int) -> None:
    await shop.add(*(Post(id=number) for number in range(1, many + 1)))
    keys = {f"post:{number}" for number in range(1, many + 1)}

    def save(session: Session) -> None:
        posts = session.scalars(select(Post)).all()
        session.expunge_all()
        for post in posts:
            post.title = "saved"
        session.bulk_save_objects(posts)

    def update(session: Session) -> None:
        session.bulk_update_mappings(
            Post.__mapper__, [{"id": number, "title": "y"} for number in range(1, many + 1)]
        )

    for change in (save, update):
        shop.clear()
        async with shop.plain_session() as session, session.begin():
            await session.run_sync(change)
        assert shop.keys == keys


async def test_bulk_inserts_without_ids_are_seen(shop: Shop) -> None:
    async with shop.plain_session() as session, session.begin():
        await session.run_sync(
            lambda s: s.bulk_insert_mappings(Post.__mapper__, [{"title": "a"}, {"title": "b"}])
        )
        await session.run_sync(lambda s: s.bulk_save_objects([Post(title="c"), Post(title="d")]))
        ids = (await session.scalars(select(Post.id))).all()
    assert len(ids) == 4
    # SQLite's driver returns nothing of a list.
    assert shop.keys == ({f"post:{id}" for id in ids} if shop.name == "postgresql" else {"post:*"})


async def test_reading_changes_nothing(shop: Shop) -> None:
    await shop.add(User(id=1, email="a"))
    async with shop.sessions.begin() as session:
        await session.get(User, 1)
        await session.execute(select(func.count()).select_from(User))
        await session.execute(text("SELECT 1"))
    assert shop.notes.published == []
    assert shop.events == []
