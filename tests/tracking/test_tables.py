"""From a table to its owners, and along foreign keys to those whom a write reaches in the database
alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    Computed,
    Date,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    Uuid,
    column,
    table,
    true,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.sql.expression import TableClause

from repocache.errors import ConfigurationError
from repocache.keys import KeyOwner, Keys
from repocache.tracking import Owned, OwnedTables
from repocache.tracking.owners import NOBODY


def owner(table: Table, follows: tuple[str, ...] | None = None) -> Owned:
    return Owned(Keys(KeyOwner(table.name, follows), (int,)), {table: tuple(table.primary_key)})


def make(metadata: MetaData, name: str, *columns: Column[Any], schema: str | None = None) -> Table:
    return Table(name, metadata, Column("id", Integer, primary_key=True), *columns, schema=schema)


def child(
    metadata: MetaData,
    name: str,
    parent: str,
    ondelete: str | None = None,
    onupdate: str | None = None,
) -> Table:
    return make(
        metadata, name, Column("parent", ForeignKey(parent, ondelete=ondelete, onupdate=onupdate))
    )


def test_deletes_cascade_through_tables_that_nobody_owns() -> None:
    metadata = MetaData()
    top = make(metadata, "top")
    child(metadata, "middle", "top.id", ondelete="CASCADE")
    bottom = child(metadata, "bottom", "middle.id", ondelete="SET NULL")
    beyond = child(metadata, "beyond", "bottom.id", ondelete="CASCADE")
    tables = OwnedTables([owner(top), owner(bottom), owner(beyond)], metadata.tables.values())
    # A row of bottom stays, so nothing beyond it is deleted.
    assert tables.of(top).deleted == {"bottom"}
    assert tables.of(bottom).deleted == {"beyond"}
    assert tables.of(beyond).deleted == frozenset()
    assert tables.of(top).updated == {}


def test_updates_cascade_by_column() -> None:
    metadata = MetaData()
    top = make(metadata, "top", Column("code", Integer, unique=True), Column("name", String))
    middle = make(
        metadata, "middle", Column("code", ForeignKey("top.code", onupdate="CASCADE"), unique=True)
    )
    bottom = child(metadata, "bottom", "middle.code", onupdate="CASCADE")
    aside = child(metadata, "aside", "middle.id", onupdate="CASCADE")
    tables = OwnedTables([owner(top), owner(bottom), owner(aside)], metadata.tables.values())
    assert tables.of(top).updated == {"code": {"bottom"}}
    assert tables.of(middle).updated == {"code": {"bottom"}, "id": {"aside"}}


def test_a_deleted_row_that_nulls_a_referenced_column() -> None:
    metadata = MetaData()
    top = make(metadata, "top")
    make(metadata, "middle", Column("ref", ForeignKey("top.id", ondelete="SET NULL"), unique=True))
    bottom = child(metadata, "bottom", "middle.ref", onupdate="CASCADE")
    tables = OwnedTables([owner(bottom)], metadata.tables.values())
    assert tables.of(top).deleted == {"bottom"}


def test_a_table_that_refers_to_itself() -> None:
    metadata = MetaData()
    tree = child(metadata, "tree", "tree.id", ondelete="CASCADE", onupdate="CASCADE")
    tables = OwnedTables([owner(tree)], metadata.tables.values())
    assert tables.of(tree).deleted == {"tree"}
    assert tables.of(tree).updated == {"id": {"tree"}}


def test_the_foreign_key_of_joined_inheritance_is_no_news() -> None:
    metadata = MetaData()
    base = make(metadata, "base")
    part = Table(
        "part", metadata, Column("id", ForeignKey("base.id", ondelete="CASCADE"), primary_key=True)
    )
    both = Owned(Keys(KeyOwner("thing"), (int,)), {base: (base.c.id,), part: (part.c.id,)})
    other = Owned(Keys(KeyOwner("part"), (int,)), {part: (part.c.id,)})
    tables = OwnedTables([both, other], metadata.tables.values())
    assert tables.of(base).deleted == {"part"}


def test_what_an_owner_follows_by_name_is_all_that_it_follows() -> None:
    metadata = MetaData()
    top = make(metadata, "top")
    log = make(metadata, "log", schema="audit")
    bottom = child(metadata, "bottom", "top.id", ondelete="CASCADE")
    tables = OwnedTables([owner(bottom, ("audit.log",))], metadata.tables.values())
    assert tables.of(log).written == {"bottom"}
    assert tables.of(top) == NOBODY
    assert OwnedTables([owner(bottom, ())], metadata.tables.values()).of(top) == NOBODY


def test_a_followed_table_that_nobody_knows() -> None:
    table = make(MetaData(), "top")
    with pytest.raises(ConfigurationError, match="'top' follows 'tpo'"):
        OwnedTables([owner(table, ("tpo",))], [table])


def test_other_tables_of_the_same_name() -> None:
    metadata = MetaData()
    owned, elsewhere = make(metadata, "thing"), make(metadata, "thing", schema="other")
    tables = OwnedTables([owner(owned)], metadata.tables.values())
    assert tables.of(elsewhere) == NOBODY
    assert tables.of(make(MetaData(), "thing", schema="third")).written == {"thing"}
    assert tables.of(owned.alias()).written == {"thing"}
    assert tables.of(make(MetaData(), "x").join(owned, true())).written == {"thing"}
    assert tables.of(make(MetaData(), "unknown")) == NOBODY


def test_other_table_objects_of_one_table() -> None:
    metadata, again = MetaData(), MetaData()
    owned = make(metadata, "thing", Column("version", Integer, onupdate=1, unique=True))
    child(metadata, "part", "thing.version", onupdate="CASCADE")
    part = make(again, "part", schema="public")
    tables = OwnedTables([owner(owned), owner(part)], metadata.tables.values())
    twin = Table(
        "thing", again, Column("id", Integer, key="number"), Column("version", Integer, key="v")
    )
    found = tables.of(twin)
    assert [each.columns for each in found.keyed] == [(twin.c.number,)]
    assert found.updated == {"v": {"part"}}
    assert found.unsaid == {"v"}
    assert tables.of(twin) is found
    assert [each.keys.prefix for each in tables.of(metadata.tables["part"]).keyed] == ["part"]
    # What does not hold the id tells no keys.
    assert tables.of(Table("thing", MetaData(), Column("version", Integer))).written == {
        "thing",
        "part",
    }
    assert tables.tables == (owned, part)


def test_a_type_of_the_applications_own_in_another_table_object_is_not_trusted() -> None:
    owned = make(MetaData(), "thing")
    tables = OwnedTables([owner(owned)], [owned])
    assert not tables.of(Table("thing", MetaData(), Column("id", Own))).keyed[0].trusted


@pytest.mark.parametrize("schema", [None, "public", "audit"])
def test_foreign_keys_into_another_metadata(schema: str | None) -> None:
    top = make(MetaData(), "top", schema=schema)
    middle = make(MetaData(), "middle", Column("parent", ForeignKey(top.c.id, ondelete="CASCADE")))
    named = "middle.id" if schema is None else "public.middle.id"
    bottom = make(MetaData(), "bottom", Column("parent", ForeignKey(named, ondelete="CASCADE")))
    nowhere = make(
        MetaData(), "lost", Column("parent", ForeignKey("nowhere.id", ondelete="CASCADE"))
    )
    tables = OwnedTables([owner(middle), owner(bottom), owner(nowhere)], [middle, bottom, nowhere])
    assert tables.of(top).deleted == {"middle", "bottom"}
    assert tables.of(middle).deleted == {"bottom"}


def test_tables_that_rows_are_computed_from_move_their_owner() -> None:
    metadata = MetaData()
    top, other = make(metadata, "top"), make(metadata, "other")
    read = child(metadata, "read", "other.id", ondelete="CASCADE")
    elsewhere = column_table("elsewhere")
    ids = {top: (top.c.id,)}

    def of(follows: tuple[str, ...] | None) -> OwnedTables:
        owned = Owned(Keys(KeyOwner("top", follows), (int,)), ids, frozenset({read, elsewhere}))
        return OwnedTables([owned], [top])

    assert of(None).of(read).written == {"top"}
    assert of(None).of(make(MetaData(), "read")).written == {"top"}
    assert of(None).of(column_table("elsewhere")).written == {"top"}
    assert of(None).of(other).deleted == {"top"}
    for name in ("elsewhere", "read"):
        assert of(None).emptied([name], cascade=False) == frozenset({"top"})
    assert of(()).of(read) == of(()).of(other) == NOBODY


def column_table(name: str) -> TableClause:
    """A lightweight one."""
    return table(name, column("id"))


def test_columns_that_an_update_sets_unsaid() -> None:
    metadata = MetaData()
    key = Column("code", Integer, primary_key=True, onupdate=1)
    owned = Table(
        "top",
        metadata,
        key,
        Column("seen", Integer, onupdate=1),
        Column("mark", Computed("seen"), unique=True),
    )
    bottom = child(metadata, "bottom", "top.mark", onupdate="CASCADE")
    tables = OwnedTables([owner(owned), owner(bottom)], metadata.tables.values())
    assert tables.of(owned).unsaid == {"code", "mark"}


def test_truncated_tables() -> None:
    metadata = MetaData()
    top = make(metadata, "top")
    middle = child(metadata, "middle", "top.id")
    bottom = child(metadata, "bottom", "middle.id")
    aside = make(metadata, "aside")
    tables = OwnedTables(map(owner, (top, middle, bottom, aside)), metadata.tables.values())
    assert tables.emptied(["top"], cascade=False) == frozenset({"top"})
    assert tables.emptied(["top"], cascade=True) == frozenset({"top", "middle", "bottom"})
    assert tables.emptied(["top", "who"], cascade=True) is None


class Own(TypeDecorator[int]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return value


class Shifted(Integer):
    """Another value is sent than was given."""


@pytest.mark.parametrize(
    "column, trusted",
    [
        (Column("id", Integer), True),
        (Column("id", String(5)), True),
        (Column("id", Uuid), True),
        (Column("id", Date), True),
        (Column("id", CHAR(5)), False),
        (Column("id", CITEXT), False),
        (Column("id", String(collation="nocase")), False),
        (Column("id", Enum("a", "b", name="e")), False),
        (Column("id", Own), False),
        (Column("id", Shifted), False),
        (Column("id", BigInteger().with_variant(Integer, "sqlite")), True),
        (Column("id", String().with_variant(CHAR(3), "postgresql")), False),
    ],
)
def test_which_given_values_are_the_rows_own(column: Column[int], trusted: bool) -> None:
    table = Table("t", MetaData(), column)
    tables = OwnedTables([Owned(Keys(KeyOwner("t"), (int,)), {table: (column,)})], [table])
    assert [each.trusted for each in tables.of(table).keyed] == [trusted]
