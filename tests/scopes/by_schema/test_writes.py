"""A write tells the keys of the schema that it wrote to, whoever writes it and however; of a write
of which nobody knows the schema, all are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from repocache import UnitOfWork
from tests.scopes.by_schema.docs_of import TENANTS, Account, Doc, Docs, Folder, Folders, Marks
from tests.shop import Shop

Write = Callable[[UnitOfWork], Awaitable[object]]
Told = set[str] | None
docs: Any = Doc.__table__
folders: Any = Folder.__table__
NAMED = Table(
    "docs", MetaData(), Column("id", Integer, primary_key=True), Column("title", Text), schema="b"
)
TO_B = {"schema_translate_map": {None: "b"}}


async def told(shop: Shop, work: UnitOfWork, *owners: str) -> Told:
    """The keys that the transaction has changed so far of these owners; None: all of them."""
    await work.session.flush()
    connection = (await work.session.connection()).sync_connection
    assert connection is not None
    changes: Any = shop.db._started.watch.transaction_of(connection).changes
    if set(owners) & set(changes.whole):
        return None
    return {key for owner in owners for key in changes.keys.get(owner, ())}


async def _entity(work: UnitOfWork) -> None:
    (await work[Docs].require(1)).title = "new"


async def _slug(work: UnitOfWork) -> None:
    (await work[Docs].require(1)).slug = "s9"


async def _added(work: UnitOfWork) -> None:
    work.add(Doc(id=9, slug="s9", title="t9"))


async def _many_added(work: UnitOfWork) -> None:
    work.add_all([Doc(slug=f"m{n}", title=f"m{n}") for n in range(2)])


async def _deleted(work: UnitOfWork) -> None:
    await work.delete(await work[Docs].require(1))


async def _declared(work: UnitOfWork) -> None:
    await work.session.execute(text("UPDATE a.docs SET title = 'new' WHERE id = 1"))
    work.changes(Docs, ids=[1])


async def _bulk(work: UnitOfWork) -> None:
    await work.session.execute(update(Doc), [{"id": 1, "title": "x"}, {"id": 2, "title": "y"}])


def core(statement: Any, *parameters: Any, **options: Any) -> Write:
    async def write(work: UnitOfWork) -> None:
        await (await work.session.connection()).execute(statement, *parameters, **options)

    return write


ROW = {"id": 9, "slug": "s9", "title": "t9"}
LIST = [{"key": 1, "title": "x"}, {"key": 2, "title": "y"}]
ONE = update(docs).where(docs.c.id == 1).values(title="x")
WRITES: dict[str, tuple[Write, Told]] = {
    "an entity": (_entity, {"doc:a:1"}),
    "a lookup's value": (_slug, {"doc:a:1", "doc-by_slug:a:s1", "doc-by_slug:a:s9"}),
    "added": (_added, {"doc:a:9", "doc-by_slug:a:s9"}),
    "ids of the database": (_many_added, None),
    "deleted": (_deleted, {"doc:a:1", "doc-by_slug:a:s1"}),
    "of the ORM, a list": (_bulk, {"doc:a:1", "doc:a:2"}),
    "of the ORM, by another column": (
        core(update(Doc).where(Doc.slug == "s1").values(title="x")),
        {"doc:a:1"},
    ),
    "inserted": (core(insert(docs).values(ROW)), {"doc:a:9", "doc-by_slug:a:s9"}),
    "an upsert": (
        core(
            upsert(docs)
            .values({**ROW, "id": 1, "slug": "s1"})
            .on_conflict_do_update(index_elements=["id"], set_={"title": "x"})
        ),
        {"doc:a:1", "doc-by_slug:a:s1"},
    ),
    "by id": (core(ONE), {"doc:a:1"}),
    "all": (core(update(docs).values(title="x")), None),
    "by other columns": (
        core(update(docs).where(docs.c.slug == "s1").values(title="x")),
        {"doc:a:1"},
    ),
    "a list": (
        core(update(docs).where(docs.c.id == bindparam("key")), LIST),
        {"doc:a:1", "doc:a:2"},
    ),
    "deleted by other columns": (
        core(delete(docs).where(docs.c.title == "a1")),
        {"doc:a:1", "doc-by_slug:a:s1"},
    ),
    "deleted by the database": (
        core(delete(folders).where(folders.c.id == 1)),
        {"doc:a:1", "doc-by_slug:a:s1"},
    ),
    "of another's schema": (core(ONE, execution_options=TO_B), {"doc:b:1"}),
    "another's, by other columns": (
        core(
            update(docs).where(docs.c.title == "b2").values(title="x", slug="z"),
            execution_options=TO_B,
        ),
        None,
    ),
    "deleted of another's by the database": (
        core(delete(folders).where(folders.c.id == 2), execution_options=TO_B),
        {"doc:b:2", "doc-by_slug:b:s2"},
    ),
    "of a schema by its name": (core(update(NAMED).where(NAMED.c.id == 1).values(title="x")), None),
    "truncated": (core(text("TRUNCATE a.docs")), None),
    "truncated with others": (core(text("TRUNCATE a.folders CASCADE")), None),
    "declared": (_declared, {"doc:a:1", "doc-by_slug:a:s1"}),
}


@pytest.mark.parametrize("name", WRITES)
async def test_what_a_write_tells(shop: Shop, name: str) -> None:
    write, expected = WRITES[name]
    async with shop.db.scoped(tenant="b"):
        pass  # this process has used both
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        try:
            await write(work)
            found = await told(shop, work, "doc", "doc-by_slug")
        finally:
            await work.rollback()
    if name == "ids of the database":
        assert found
        assert all(":a:" in key for key in found)
    elif name == "declared":
        assert found == set(), "what is declared counts at COMMIT"
    elif name == "another's, by other columns":
        assert found is None or found >= {"doc:b:2"}
    else:
        assert found == expected


async def everything(shop: Shop) -> dict[tuple[str, object], object]:
    found: dict[tuple[str, object], object] = {}
    for value in TENANTS:
        async with shop.db.scoped(tenant=value):
            for id in (1, 2, 9):
                doc = await shop.db[Docs].get(id)
                found[value, id] = doc and (doc.slug, doc.title)
                folder = await shop.db[Folders].get(id)
                found[value, "folder", id] = folder and folder.name  # type: ignore[index]
            for slug in ("s1", "s2", "s9", "z"):
                doc = await shop.db[Docs].by_slug.get(slug)
                found[value, slug] = doc and (doc.id, doc.title)
            mark = await shop.db[Marks].get((1, 1))
            found[value, "mark"] = mark and mark.words
    return found


@pytest.mark.parametrize("name", WRITES)
async def test_nobody_reads_what_is_no_more(shop: Shop, other: Shop, name: str) -> None:
    """Every caller, in both processes, reads what the database has."""
    for each in (shop, other):
        await everything(each)
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        await WRITES[name][0](work)
        bookmark = await work.commit()
    for each in (shop, other):
        async with each.db.causal_session(bookmark):
            cached = await everything(each)
            with each.db.bypass():
                assert cached == await everything(each), name


async def test_plain_sessions_and_connections_of_the_caller(shop: Shop) -> None:
    """A connection that outlives a session is of nobody's schema after it."""
    async with shop.db.engine.connect() as connection:
        async with shop.db.scoped(tenant="a"), shop.db.sessionmaker(bind=connection) as session:
            session.add(Doc(id=9, slug="s9", title="t9"))
            await session.commit()
        async with shop.db.sessionmaker(bind=connection) as session:
            with pytest.raises(Exception, match='relation "docs" does not exist'):
                await session.get(Doc, 9)
        async with shop.db.scoped(tenant="b"), shop.db.sessionmaker(bind=connection) as session:
            assert await session.get(Doc, 9) is None
    async with shop.db.causal_session(None), shop.db.scoped(tenant="a"):
        assert (await shop.db[Docs].require(9)).title == "t9"


async def test_a_transaction_stays_in_the_schema_that_it_began_in(shop: Shop) -> None:
    async with shop.db.causal_session(None):
        async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
            doc = await work[Docs].require(1)
            async with shop.db.scoped(tenant="b"):
                doc.title = "new"
                assert await told(shop, work, "doc") == {"doc:a:1"}
            await work.commit()
        for value, title in (("a", "new"), ("b", "b1")):
            async with shop.db.scoped(tenant=value):
                assert (await shop.db[Docs].require(1)).title == title


async def test_a_schema_that_was_not_asked_about_is_anybody_s(shop: Shop) -> None:
    """A statement may name it without `db.scoped`."""
    async with shop.db.unit_of_work() as work:
        await core(ONE, execution_options=TO_B)(work)
        assert await told(shop, work, "doc") is None
        assert await told(shop, work, "mark") is None
        assert await told(shop, work, "account") == set()
        await work.rollback()


async def test_savepoints_take_back_their_own(shop: Shop) -> None:
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        await core(ONE)(work)
        async with work.savepoint() as savepoint:
            await core(delete(docs).where(docs.c.id == 2))(work)
            await savepoint.rollback()
        assert await told(shop, work, "doc") == {"doc:a:1"}
        await work.rollback()


async def test_what_all_share_is_told_as_ever(shop: Shop) -> None:
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        work.add(Account(id=8, name="eight"))
        assert await told(shop, work, "account") == {"account:8"}
        assert await told(shop, work, "doc", "folder", "mark") == set()
        await work.rollback()


async def test_through_a_view_that_lies_elsewhere(shop: Shop) -> None:
    """Nobody can tell whose rows a statement of it writes: all are told."""
    async with shop.db.unit_of_work() as work:
        for schema in ("public", "b"):
            sql = f"CREATE VIEW {schema}.shown AS SELECT id, title FROM a.docs"
            await work.session.execute(text(sql))
        work.changes(Docs)
        await work.commit()
    for value in TENANTS:
        async with shop.db.scoped(tenant=value):
            pass
    for named, value in (("public", "a"), ("b", "a"), ("", "b")):
        view = Table(
            "shown", MetaData(), Column("id", Integer), Column("title", Text), schema=named or None
        )
        async with shop.db.scoped(tenant=value), shop.db.unit_of_work() as work:
            await core(update(view).values(title="x").where(view.c.id == 1))(work)
            assert await told(shop, work, "doc") is None, named
            await work.rollback()


async def test_through_a_view_of_its_own(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("CREATE VIEW a.shown AS SELECT id, title FROM a.docs"))
        work.changes(Docs)
        await work.commit()
    view = Table("shown", MetaData(), Column("id", Integer), Column("title", Text))
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        await core(update(view).values(title="x").where(view.c.id == 1))(work)
        assert await told(shop, work, "doc") is None
        assert await told(shop, work, "mark") == set()
        await work.rollback()


SHOUT = """
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.slug := upper(NEW.slug); RETURN NEW; END'
"""


async def test_what_the_database_alone_says_of_a_schema(shop: Shop) -> None:
    """A foreign key that the metadata does not have, and a trigger that gives rows other values."""
    made = (
        "ALTER TABLE a.marks ADD FOREIGN KEY (doc_id) REFERENCES a.docs ON DELETE CASCADE",
        SHOUT,
        "CREATE TRIGGER shout BEFORE UPDATE ON a.docs FOR EACH ROW EXECUTE FUNCTION shout()",
    )
    async with shop.db.unit_of_work() as work:
        for sql in made:
            await work.session.execute(text(sql))
        work.changes(Docs)
        await work.commit()
    async with shop.db.unit_of_work() as work:
        await work.session.execute(text("TRUNCATE a.docs CASCADE"))
        assert await told(shop, work, "mark") is None
        await work.rollback()
    for value in ("a", "b"):  # this process has used both
        async with shop.db.scoped(tenant=value), shop.db.unit_of_work() as work:
            named = Table("docs", MetaData(), Column("id", Integer, primary_key=True), schema=value)
            await core(delete(named).where(named.c.id == 1))(work)
            assert await told(shop, work, "mark") is None
            await work.rollback()
    for value, mark in (("a", {"mark:a:1:1"}), ("b", set())):
        async with shop.db.scoped(tenant=value), shop.db.unit_of_work() as work:
            await core(delete(docs).where(docs.c.id == 1))(work)
            assert await told(shop, work, "mark") == mark
            await work.rollback()
        async with shop.db.scoped(tenant=value), shop.db.unit_of_work() as work:
            await core(update(docs).where(docs.c.id == 1).values(slug="new"))(work)
            lookups = await told(shop, work, "doc-by_slug")
            assert (
                lookups is None
                if value == "a"
                else lookups
                == {
                    "doc-by_slug:b:s1",
                    "doc-by_slug:b:new",
                }
            )
            await work.rollback()


async def test_a_lookup_s_value_is_read_where_the_statement_writes(shop: Shop) -> None:
    async with shop.db.scoped(tenant="b"), shop.db.unit_of_work() as work:
        (await work[Docs].require(1)).slug = "only"
        await work.commit()
    async with shop.db.scoped(tenant="a"), shop.db.unit_of_work() as work:
        renamed = update(docs).where(docs.c.id == 1).values(slug="new")
        await core(renamed, execution_options=TO_B)(work)
        assert await told(shop, work, "doc-by_slug") == {
            "doc-by_slug:b:only",
            "doc-by_slug:b:new",
        }
        await work.rollback()
