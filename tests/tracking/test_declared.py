"""What is declared is a table's rows: every owner of them is told, whichever is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from repocache.keys import KeyOwner, Keys
from repocache.tracking import Changes, Owned, OwnedTables, reached
from repocache.tracking.schema_tables import WrittenTables

METADATA = MetaData()
STOCK = Table(
    "stock",
    METADATA,
    Column("shop", Integer, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("serial", Integer, unique=True),
)
SHELF = Table("shelf", METADATA, Column("id", Integer, primary_key=True))
PERSON = Table("person", METADATA, Column("id", Integer, primary_key=True))
ENGINEER = Table("engineer", METADATA, Column("id", Integer, primary_key=True))


def owned(
    prefix: str,
    *tables: tuple[Table, tuple[str, ...]],
    follows: tuple[str, ...] | None = None,
    kind: type = int,
) -> Owned:
    types = (kind,) * len(tables[0][1])
    return Owned(
        Keys(KeyOwner(prefix, follows), types),
        {table: tuple(table.c[name] for name in names) for table, names in tables},
    )


STOCKS = owned("stock", (STOCK, ("shop", "item")))
PEOPLE = owned("person", (PERSON, ("id",)), (ENGINEER, ("id",)))
OWNED = (
    STOCKS,
    owned("same", (STOCK, ("shop", "item"))),
    owned("turned", (STOCK, ("item", "shop"))),
    owned("serial", (STOCK, ("serial",))),
    owned("odd", (STOCK, ("shop", "item")), kind=str),
    owned("follower", (SHELF, ("id",)), follows=("stock",)),
    owned("shelf", (SHELF, ("id",))),
    PEOPLE,
    owned("engineer", (ENGINEER, ("id",))),
)
TABLES = OwnedTables(OWNED, METADATA.tables.values())


def told(owner: Owned, ids: Sequence[Any] | None) -> tuple[dict[str, set[str]], set[str]]:
    """Keys of some, and whom as a whole."""
    changes = Changes()
    for prefix, keys in reached(WrittenTables(TABLES), owner, ids):
        changes.declare(prefix, keys)
    return {prefix: set(keys) for prefix, keys in changes.keys.items()}, set(changes.whole)


def test_by_key_where_the_key_columns_are_the_same() -> None:
    some, whole = told(STOCKS, [(1, 2), (3, 4)])
    assert some == {
        "stock": {"stock:1:2", "stock:3:4"},
        "same": {"same:1:2", "same:3:4"},
        "turned": {"turned:2:1", "turned:4:3"},
    }
    assert whole == {"serial", "odd", "follower"}


def test_all_of_everybody_without_ids() -> None:
    assert told(STOCKS, None) == ({}, {"stock", "same", "turned", "serial", "odd", "follower"})


def test_no_rows_reach_nobody() -> None:
    assert told(STOCKS, []) == ({}, set())


@pytest.mark.parametrize("owner", [PEOPLE, OWNED[-1]])
def test_each_table_of_the_owner_is_looked_at(owner: Owned) -> None:
    assert told(owner, [7]) == ({"person": {"person:7"}, "engineer": {"engineer:7"}}, set())


def test_a_follower_declares_its_own_rows_alone() -> None:
    assert told(OWNED[5], [7]) == ({"follower": {"follower:7"}, "shelf": {"shelf:7"}}, set())
