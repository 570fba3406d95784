"""Any name that PostgreSQL takes is made as it is; one that it would cut is refused, by the
argument's name."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, Table, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import repocache.alembic_ops
from repocache.alembic_ops import (
    CreateInvalidationTrigger,
    CreateOutbox,
    DropInvalidationTrigger,
    DropOutbox,
    declare,
)
from repocache.alembic_ops.autogenerate import _triggers
from repocache.errors import ConfigurationError
from repocache.invalidation.identifier import LONGEST, literal, quoted
from repocache.invalidation.outbox import TABLE
from repocache.testing import Endpoints

__all__ = ["repocache"]

InDatabase = Callable[[Callable[[Connection], Any]], Any]
LETTERS = st.one_of(
    st.sampled_from("\"'$\\:;%(){}-/*\n\t .,?@"),
    st.characters(codec="utf-8", exclude_characters="\0"),
    st.just("é"),
)
NAMES = st.text(LETTERS, min_size=1, max_size=LONGEST).filter(
    lambda name: len(name.encode()) <= LONGEST
)
HARD = (
    "$notice$",
    "$repocache",
    "$repocache$",
    "$repocache1",
    "a$",
    "x\\",
    "é" * 31 + "x",
    "x" * 63,
    "a:b",
    "a::b",
    "c",
    "r",
    "new_rows",
)
TOO_LONG = ("x" * 64, "é" * 32, "日" * 22)


@pytest.fixture
def in_database(repocache_endpoints: Endpoints) -> InDatabase:
    """Each call is a transaction that is rolled back."""

    async def run(work: Callable[[Connection], Any]) -> Any:
        engine = create_async_engine(repocache_endpoints.primary, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()

    return lambda work: asyncio.run(run(work))


def execute(connection: Connection, sql: str) -> list[Any]:
    result = connection.execute(text(sql.replace(":", "\\:")))
    return list(result) if result.returns_rows else []


def check_names(connection: Connection, names: tuple[str, str, str, str]) -> None:
    """The operations with these names: a notice says them, and autogenerate finds them again."""
    outbox, schema, table, column = names
    operations = Operations(MigrationContext.configure(connection))
    for each in {outbox, schema} - {"public"}:
        execute(connection, f"CREATE SCHEMA {quoted(each)}")
    key = "id" if column != "id" else "ID"
    execute(
        connection,
        (
            f"CREATE TABLE {quoted(schema)}.{quoted(table)} ({key} int PRIMARY KEY, "
            f"{quoted(column)} text)"
        ),
    )
    operations.invoke(CreateOutbox(outbox))
    operations.invoke(CreateInvalidationTrigger(table, (column,), schema, outbox))
    execute(connection, f"INSERT INTO {quoted(schema)}.{quoted(table)} VALUES (1, 'v')")
    [(source, notices)] = execute(
        connection, f"SELECT source, notices FROM {quoted(outbox)}.{TABLE}"
    )
    assert source == f"{schema}.{table}"
    [notice] = notices if isinstance(notices, list) else json.loads(notices)
    assert notice["rows"] == [{key.lower(): 1, column: "v"}]
    assert _triggers(connection) == {(schema, table): (column,)}
    execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
    operations.invoke(DropInvalidationTrigger(table, schema=schema))
    operations.invoke(DropOutbox(outbox))


@pytest.mark.parametrize("name", HARD)
def test_hard_names(name: str, in_database: InDatabase) -> None:
    in_database(lambda connection: check_names(connection, (name, name, name, name)))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.tuples(*[NAMES.filter(lambda name: not name.startswith("pg_"))] * 4))
def test_any_names(names: tuple[str, str, str, str], in_database: InDatabase) -> None:
    in_database(lambda connection: check_names(connection, names))


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("$repocach1'\\x"), max_size=40) | st.text(max_size=40))
def test_a_literal_ends_where_it_is_to_end(given: str) -> None:
    said = literal(given)
    tag = said[: said.index("$", 1) + 1]
    assert said == f"{tag}{given}{tag}"
    assert said.index(tag, len(tag)) == len(said) - len(tag)


@pytest.mark.parametrize("name", [*TOO_LONG, "", "a\0b", "\ud800"])
def test_what_is_no_name_is_refused_by_the_arguments_name(name: str) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer, primary_key=True))
    Table("orders", metadata, Column("id", Integer, primary_key=True), schema="x" * 64)
    for argument, call in (
        ("schema", lambda: CreateOutbox(name)),
        ("grant_to", lambda: CreateOutbox(grant_to=["app", name])),
        ("schema", lambda: DropOutbox(name)),
        ("table", lambda: CreateInvalidationTrigger(name)),
        ("columns", lambda: CreateInvalidationTrigger("users", columns=[name])),
        ("schema", lambda: CreateInvalidationTrigger("users", schema=name)),
        ("outbox_schema", lambda: CreateInvalidationTrigger("users", outbox_schema=name)),
        ("table", lambda: DropInvalidationTrigger(name)),
        ("schema", lambda: declare(metadata, schema=name)),
        ("grant_to", lambda: declare(metadata, grant_to=[name])),
        (r"triggers\['users'\]", lambda: declare(metadata, {"users": [name]})),
        ("schema", lambda: declare(metadata, ["x" * 64 + ".orders"])),
    ):
        with pytest.raises(
            ConfigurationError, match=rf"{argument}=.* is no name: give a text of 1 to 63 bytes"
        ):
            call()
    if name:
        with pytest.raises(ConfigurationError, match=r"owner=.* is no name"):
            CreateOutbox(owner=name)


VALUES = {
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60),
    "varchar(60)": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "uuid": st.uuids(),
    "bytea": st.binary(max_size=60),
    "date": st.dates(),
}
READ: dict[str, Callable[[Any], Any]] = {
    "uuid": uuid.UUID,
    "bytea": lambda said: bytes.fromhex(said.removeprefix("\\x")),
}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.fixed_dictionaries(VALUES))
def test_any_key_comes_out_as_it_went_in(values: dict[str, Any], in_database: InDatabase) -> None:
    """Whatever the session's settings are, as `tracking.notices` reads it."""

    def run(connection: Connection) -> list[Any]:
        operations = Operations(MigrationContext.configure(connection))
        columns = {f"c{n}": kind for n, kind in enumerate(values)}
        execute(
            connection,
            f"CREATE TABLE t ({', '.join(f'{name} {kind}' for name, kind in columns.items())},"
            f" PRIMARY KEY ({', '.join(columns)}))",
        )
        operations.invoke(CreateOutbox())
        operations.invoke(CreateInvalidationTrigger("t"))
        connection.exec_driver_sql("SET bytea_output = 'escape'")
        connection.exec_driver_sql("SET DateStyle = 'SQL, DMY'")
        marks = ", ".join(f"CAST(:{name} AS {kind})" for name, kind in columns.items())
        connection.execute(
            text(f"INSERT INTO t VALUES ({marks})"),
            dict(zip(columns, values.values(), strict=True)),
        )
        [(said,)] = connection.execute(text(f"SELECT CAST(notices AS text) FROM {TABLE}"))
        [row] = json.loads(said)[0]["rows"]
        return [row[name] for name in columns]

    said = dict(zip(values, in_database(run), strict=True))
    for kind, value in values.items():
        if kind == "date":
            assert said[kind] == value.isoformat()
        else:
            assert READ.get(kind, lambda same: same)(said[kind]) == value
