"""What rows that a trigger saw mean for the owners of their table."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Date,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    Uuid,
)

from repocache.invalidation.batch import Batch
from repocache.invalidation.notice import TableNotice, batch_of
from repocache.keys import KeyOwner, Keys
from repocache.tracking import Owned, OwnedTables
from repocache.tracking.notices import Notices

METADATA = MetaData()
PEOPLE = Table("people", METADATA, Column("id", Integer, primary_key=True))
ENGINEERS = Table(
    "engineers", METADATA, Column("person", ForeignKey("people.id"), primary_key=True)
)
VISITS = Table("visits", METADATA, Column("id", Integer, primary_key=True))
PEOPLE_KEYS = Keys(KeyOwner("person", follows=("visits",)), (int,))


class Shouted(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else value.upper()


def notices(*owned: Owned, **places: Table) -> Notices:
    return Notices(
        OwnedTables(owned, METADATA.tables.values()),
        {f"public.{name}": t for name, t in places.items()},
    )


def hierarchy() -> Notices:
    people = Owned(PEOPLE_KEYS, {PEOPLE: (PEOPLE.c.id,), ENGINEERS: (ENGINEERS.c.person,)})
    return notices(people, people=PEOPLE, engineers=ENGINEERS, visits=VISITS, visits_old=VISITS)


def told(found: Notices, table: str, *rows: dict[str, Any]) -> Batch:
    return found.resolve(TableNotice(f"public.{table}", rows))


def test_each_table_of_a_hierarchy_names_the_same_keys() -> None:
    both = Batch({"person": frozenset({"person:1", "person:2"})})
    assert told(hierarchy(), "people", {"id": 1}, {"id": 2}) == both
    assert told(hierarchy(), "engineers", {"person": 1}, {"person": 2}) == both


@pytest.mark.parametrize("table", ["visits", "visits_old"], ids=["table", "partition"])
def test_a_table_that_is_followed_moves_its_followers(table: str) -> None:
    assert told(hierarchy(), table, {"id": 1}) == Batch({}, frozenset({"person"}))


def test_all_rows_are_all_keys() -> None:
    assert hierarchy().resolve(TableNotice("public.people", None)) == Batch(
        {}, frozenset({"person"})
    )


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": "x"}, {"id": [1]}, {"ID": 1}], ids=repr)
def test_rows_that_do_not_tell_the_key(row: dict[str, Any]) -> None:
    assert told(hierarchy(), "people", {"id": 1}, row) == Batch({}, frozenset({"person"}))


def test_a_table_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"public\.strange"):
        told(hierarchy(), "strange", {"id": 1})


def test_keys_of_every_type() -> None:
    columns = (
        Column("number", Integer, primary_key=True),
        Column("code", String, primary_key=True),
        Column("uid", Uuid, primary_key=True),
        Column("raw", LargeBinary, primary_key=True),
        Column("day", Date, primary_key=True),
    )
    table = Table("odd", MetaData(), *columns)
    keys = Keys(KeyOwner("odd"), (int, str, uuid.UUID, bytes, datetime.date))
    id = (7, "a:b", uuid.UUID(int=7), b"\0\xff", datetime.date(2026, 1, 31))
    row = {"number": 7, "code": "a:b", "uid": str(id[2]), "raw": "\\x00ff", "day": "2026-01-31"}
    assert told(notices(Owned(keys, {table: columns}), odd=table), "odd", row) == Batch(
        {"odd": frozenset({keys.text(id)})}
    )


def test_an_id_that_the_application_gives_another_form() -> None:
    table = Table("loud", MetaData(), Column("id", Shouted, primary_key=True))
    found = notices(Owned(Keys(KeyOwner("loud"), (str,)), {table: (table.c.id,)}), loud=table)
    assert told(found, "loud", {"id": "a"}) == Batch({}, frozenset({"loud"}))


def test_what_one_row_of_the_outbox_says_is_put_together() -> None:
    text = (
        '[{"k": ["person:1", "order:1:2"], "o": ["x"]}, {"t": "public.people", "rows": [{"id": '
        "2}]}]"
    )
    keys = {"person": frozenset({"person:1", "person:2"}), "order": frozenset({"order:1:2"})}
    assert batch_of(text, hierarchy().resolve) == Batch(keys, frozenset({"x"}))
