"""Criteria that all sessions add by themselves, and which no cached read would hear of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, insert, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    ORMExecuteState,
    Session,
    mapped_column,
    with_loader_criteria,
)

from repocache import Database, KeyOwner, MappingOptions, Repository
from repocache.errors import MappingRefused
from repocache.testing import Endpoints

Listener = Callable[[ORMExecuteState], Any]


class Base(DeclarativeBase):
    pass


class Softly:
    deleted: Mapped[bool] = mapped_column(default=False)


class Note(Softly, Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)


class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)


class Notes(Repository[Note, int]):
    owner = KeyOwner("note")


class Tags(Repository[Tag, int]):
    owner = KeyOwner("tag")


class StoredNotes(Repository[Note, int]):
    owner = KeyOwner("note")
    mapping = MappingOptions(unfiltered=True)


def hide_deleted(state: ORMExecuteState) -> None:
    if state.is_select and not state.is_column_load:
        living = with_loader_criteria(
            Softly, lambda cls: cls.deleted.is_(False), include_aliases=True
        )
        state.statement = state.statement.options(living)


def hide_deleted_and_go_on(state: ORMExecuteState) -> Any:
    hide_deleted(state)
    return state.invoke_statement()


def demand_a_tenant(state: ORMExecuteState) -> None:
    _ = state.session.info["tenant"]


def count(state: ORMExecuteState) -> Any:
    """An innocent one."""
    return state.invoke_statement(execution_options={"counted": True})


@pytest.fixture
def listening() -> Iterator[Callable[[Listener], None]]:
    listeners: list[Listener] = []

    def listen(listener: Listener) -> None:
        listeners.append(listener)
        event.listen(Session, "do_orm_execute", listener)

    yield listen
    for each in listeners:
        event.remove(Session, "do_orm_execute", each)


@pytest.fixture
async def made(repocache_endpoints: Endpoints) -> str:
    db = Database(repocache_endpoints.primary)
    async with db.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(
            insert(Note), [{"id": 1, "deleted": False}, {"id": 2, "deleted": True}]
        )
    await db.engine.dispose()
    return repocache_endpoints.primary


URL = "postgresql+asyncpg://app@db1/shop"


@pytest.mark.parametrize("listener", [hide_deleted, hide_deleted_and_go_on])
def test_a_class_that_sessions_narrow_is_refused_and_no_other(
    listening: Callable[[Listener], None], listener: Listener
) -> None:
    listening(listener)
    with pytest.raises(
        MappingRefused, match=r"Note: .*with_loader_criteria.*MappingOptions\(unfiltered=True\)"
    ):
        Database(URL, repositories=[Notes])
    Database(URL, repositories=[Tags, StoredNotes])


def test_one_that_sessions_refuse_is_refused(listening: Callable[[Listener], None]) -> None:
    listening(demand_a_tenant)
    with pytest.raises(MappingRefused, match=r"Tag: .*KeyError\('tenant'\).*unfiltered=True"):
        Database(URL, repositories=[Tags])


def test_listeners_that_change_nothing_are_no_hindrance(
    listening: Callable[[Listener], None],
) -> None:
    listening(count)
    Database(URL, repositories=[Notes, Tags])


async def test_a_listener_that_comes_before_the_start(
    made: str, listening: Callable[[Listener], None]
) -> None:
    db = Database(made, repositories=[Notes])
    listening(hide_deleted)
    with pytest.raises(MappingRefused, match="Note: "):
        async with db:
            raise AssertionError


async def test_rows_are_read_as_they_are_stored_where_that_is_said(
    made: str, listening: Callable[[Listener], None]
) -> None:
    listening(hide_deleted)
    async with Database(made, repositories=[StoredNotes]) as db:
        assert [note.id for note in await db[StoredNotes].find()] == [1, 2]
        assert (await db[StoredNotes].require(2)).deleted
        assert [note.id for note in await db[StoredNotes].find(Note.deleted.is_(False))] == [1]
        async with db.unit_of_work() as work:
            assert await work[StoredNotes].get(2) is None
            assert [note.id for note in (await work.session.scalars(select(Note))).all()] == [1]
