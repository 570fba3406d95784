"""Which tables a statement writes where tenants have a schema each, and what the database says of
one: as the catalogue answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table
from sqlalchemy import table as lightweight

from repocache.errors import MappingRefused
from repocache.invalidation.notice import TableNotice
from repocache.invalidation.taken import OutboxRow, understood
from repocache.keys import KeyOwner, Keys
from repocache.tracking import Owned, OwnedTables, schema_tables
from repocache.tracking.catalog import in_schema
from repocache.tracking.notices import Notices
from repocache.tracking.schema_tables import SchemaTables, as_a_whole

METADATA = MetaData()
FOLDERS = Table("folders", METADATA, Column("id", Integer, primary_key=True))
DOCS = Table(
    "docs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("folder", ForeignKey("folders.id", ondelete="CASCADE")),
)
USERS = Table("users", METADATA, Column("id", Integer, primary_key=True), schema="public")
TABLES = tuple(METADATA.tables.values())
DOC = Owned(Keys(KeyOwner("doc"), (str, int)), {DOCS: (DOCS.c.id,)}, by_schema=True)
USER = Owned(Keys(KeyOwner("user"), (int,)), {USERS: (USERS.c.id,)})
BASE = OwnedTables([as_a_whole(DOC, TABLES), USER], TABLES)
NOTHING = json.dumps({"relations": None, "keys": None, "parts": None, "rules": None})


def known(*schemas: str) -> SchemaTables:
    found = SchemaTables([DOC, USER], TABLES)
    for each in schemas:
        found.learn(each, NOTHING)
    return found


def translated(schema: str | None) -> dict[str, Any]:
    return {"schema_translate_map": {None: schema}}


@pytest.mark.parametrize(
    "table, options, schema, whole",
    [
        (DOCS, translated("a"), "a", False),
        (DOCS, translated("b"), "", True),
        (DOCS, {}, "", False),
        (DOCS, {"schema_translate_map": {}}, "", False),
        (DOCS, {"schema_translate_map": {"x": "a"}}, "", False),
        (USERS, translated("a"), "", False),
        (Table("docs", MetaData(), schema="a"), {}, "", True),
        (Table("other", MetaData(), schema="a"), {}, "", False),
        (lightweight("docs"), translated("a"), "a", False),
        (DOCS.alias(), translated("a"), "", True),
    ],
)
def test_whose_a_written_table_is(
    table: Any, options: dict[str, Any], schema: str, whole: bool
) -> None:
    written = known("a").written(BASE, table, options)
    assert (written.schema, bool(written.whole)) == (schema, whole)
    told = written.tables.of(table).all | written.whole
    assert ("doc" in told) == (getattr(table, "name", "") not in {"users", "other"})


def test_the_tables_of_no_schema_tell_an_owner_as_a_whole() -> None:
    assert BASE.of(DOCS).written == {"doc"}
    assert BASE.of(DOCS).keyed == ()
    assert BASE.of(FOLDERS).deleted == {"doc"}
    followed = Owned(
        Keys(KeyOwner("doc", follows=("public.users",)), (str, int)),
        {DOCS: (DOCS.c.id,)},
        by_schema=True,
    )
    owned = OwnedTables([as_a_whole(followed, TABLES)], TABLES)
    assert owned.of(USERS).written == {"doc"}


def test_where_nobody_has_schemas_there_is_nothing_to_know() -> None:
    found = SchemaTables([USER, Owned(Keys(KeyOwner("folder"), (int,)), {FOLDERS: ()})], TABLES)
    assert (found.names, found.everybody, found.tables) == (frozenset(), frozenset(), ())
    assert found.noticed("public.folders") is None
    assert not found.written(BASE, FOLDERS, translated("a")).whole


def test_the_one_that_was_known_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_tables, "MOST_SCHEMAS", 2)
    found = known("a", "b", "c")
    assert [each for each in "abc" if found.knows(each)] == ["b", "c"]
    assert found.written(BASE, DOCS, translated("a")).whole == {"doc"}


def relation(number: int, schema: str, name: str) -> list[object]:
    return [number, schema, name, False, False, False]


def answer(schema: str, numbers: list[int], deletes: str = "c") -> str:
    one, other = numbers
    relations = [relation(one, schema, "docs"), relation(other, schema, "folders")]
    relations.sort(key=lambda each: str(each[0]))
    keys = [[one, other, ["folder"], ["id"], deletes, "a"]]
    return json.dumps({"relations": relations, "keys": keys, "parts": None, "rules": []})


@given(
    st.lists(st.integers(1, 2**31), min_size=2, max_size=2, unique=True),
    st.sampled_from(["a", "b", "a.b", "public"]),
)
def test_schemas_that_are_alike_are_one(numbers: list[int], schema: str) -> None:
    assert in_schema(answer(schema, numbers), schema) == in_schema(answer("c", [1, 2]), "c")
    assert in_schema(answer(schema, numbers, "n"), schema) != in_schema(answer("c", [1, 2]), "c")


def test_alike_schemas_share_what_is_known_of_them() -> None:
    found = SchemaTables([DOC, USER], TABLES)
    for number, schema in enumerate(["a", "b"]):
        found.learn(schema, answer(schema, [number + 1, number + 10]))
    one, other = (found.written(BASE, DOCS, translated(each)) for each in "ab")
    assert one.tables is other.tables
    assert (one.schema, other.schema) == ("a", "b")


def test_foreign_keys_that_act_stay_in_their_schema() -> None:
    relations = [relation(1, "a", "docs"), relation(2, "b", "folders")]
    keys = [[1, 2, ["folder"], ["id"], "c", "a"]]
    across = {"relations": relations, "keys": keys, "parts": None, "rules": None}
    found = known()
    with pytest.raises(MappingRefused, match=r"a\.docs: its foreign key to b\.folders"):
        found.learn("a", json.dumps(across))
    assert not found.knows("a")
    keys[0][4] = "a"
    found.learn("a", json.dumps(across))
    assert found.knows("a")


def test_notices_of_any_schema() -> None:
    notices = Notices(BASE, {"public.users": USERS}, known("a"))
    assert {*notices.tables} == {"public.users", "*.docs", "*.folders"}
    for schema in ("a", "b"):
        found = notices.resolve(TableNotice(f"{schema}.docs", [{"id": 7}, {"id": 8}]))
        assert found.keys == {"doc": {f"doc:{schema}:7", f"doc:{schema}:8"}}
        assert not found.owners
    assert notices.resolve(TableNotice("a.docs", None)).owners == {"doc"}
    assert notices.resolve(TableNotice("a.docs", [{"number": 7}])).owners == {"doc"}
    assert notices.resolve(TableNotice("public.users", [{"id": 7}])).keys == {"user": {"user:7"}}
    for unknown in ("a.users", "docs", "a.other", ""):
        with pytest.raises(ValueError, match="nobody here owns rows"):
            notices.resolve(TableNotice(unknown, None))


def test_what_cannot_be_read_is_all_of_the_table() -> None:
    notices = Notices(BASE, {"public.users": USERS}, known())
    found = understood([OutboxRow(1, None, "z.docs"), OutboxRow(2, None, "z.other")], notices)
    assert found.batches[1].owners == {"doc"}
    assert list(found.refused) == [2]
