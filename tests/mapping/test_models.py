"""Views that are Pydantic models, and views over several tables, on real servers."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field
from pydantic import field_validator as validator
from sqlalchemy import ForeignKey, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import ConfigurationError, Database, KeyList, KeyOwner, Repository, View
from repocache.errors import CodecError
from repocache.events import Served
from repocache.mapping.joined_view import joined_shape
from repocache.mapping.view_shape import view_shape
from repocache.testing import Endpoints
from tests.shop import Shop, open_shop


class Base(DeclarativeBase):
    pass


class Writer(Base):
    __tablename__ = "writers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]


class Essay(Base):
    __tablename__ = "essays"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    writer_id: Mapped[int | None] = mapped_column(ForeignKey("writers.id"))
    writer: Mapped[Writer | None] = relationship()
    notes: Mapped[list[Note]] = relationship(order_by="Note.id")


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    essay_id: Mapped[int] = mapped_column(ForeignKey("essays.id"))
    writer_id: Mapped[int] = mapped_column(ForeignKey("writers.id"))
    words: Mapped[str]
    writer: Mapped[Writer] = relationship()
    essay: Mapped[Essay] = relationship(viewonly=True)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


validations: list[str] = []


class WriterCard(Frozen):
    id: int
    shown: str = Field(alias="name")
    email: Annotated[str, Field(max_length=20)] | None

    model_config = ConfigDict(frozen=True, from_attributes=True)


class WriterOut(Frozen):
    id: int
    name: str

    @validator("name")
    @classmethod
    def counted(cls, name: str) -> str:
        validations.append(name)
        return name


class NoteOut(Frozen):
    words: str
    writer: WriterOut


class EssayOut(Frozen):
    id: int
    title: str
    writer: WriterOut | None
    notes: tuple[NoteOut, ...]


@dataclasses.dataclass(frozen=True)
class NoteLine:
    words: str


class EssayLine(msgspec.Struct, frozen=True):
    title: str
    notes: list[NoteLine]


class NameOnly(Frozen):
    name: Annotated[str, Field(max_length=3)]


class Writers(Repository[Writer, int]):
    owner = KeyOwner("writer")
    out = View(WriterOut)
    short = View(NameOnly)


class Notes(Repository[Note, int]):
    owner = KeyOwner("note")


class Essays(Repository[Essay, int]):
    owner = KeyOwner("essay")
    notes = KeyList(Essay.notes)
    out = View(EssayOut)
    line = View(EssayLine)


REPOSITORIES = (Writers, Notes, Essays)
FULL = {
    "id": 1,
    "title": "On Sleep",
    "writer": {"id": 1, "name": "Ada"},
    "notes": [
        {"words": "good", "writer": {"id": 2, "name": "Grace"}},
        {"words": "better", "writer": {"id": 1, "name": "Ada"}},
    ],
}


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    async with open_shop(repocache_endpoints, repositories=REPOSITORIES) as shop:
        async with shop.db.unit_of_work() as work:
            ada = Writer(id=1, name="Ada", email="ada@x.org")
            grace = Writer(id=2, name="Grace", email=None)
            notes = [Note(id=1, words="good", writer=grace), Note(id=2, words="better", writer=ada)]
            work.add_all(
                [
                    Essay(id=1, title="On Sleep", writer=ada, notes=notes),
                    Essay(id=2, title="Nobody's"),
                ]
            )
            await work.commit()
        yield shop


async def test_a_model_is_a_view_that_callers_share(shop: Shop) -> None:
    async with shop.db.causal_session(None):
        one, two = await shop.db[Writers].out.get(1), await shop.db[Writers].out.get(1)
    assert one == WriterOut(id=1, name="Ada")
    assert one is two
    assert await shop.db[Writers].out.get(9) is None


async def test_a_row_that_the_model_refuses_is_told_without_its_values(shop: Shop) -> None:
    assert await shop.db[Writers].short.get(1) == NameOnly(name="Ada")
    with pytest.raises(CodecError, match=r"view NameOnly: .*name: .*at most 3") as told:
        await shop.db[Writers].short.get(2)
    assert "Grace" not in str(told.value)


async def test_an_entity_makes_a_model(shop: Shop) -> None:
    writer = await shop.db[Writers].require(1)
    assert WriterCard.model_validate(writer).shown == "Ada"


async def test_a_view_over_several_tables(shop: Shop) -> None:
    essays = shop.db[Essays]
    async with shop.db.causal_session(None):
        assert await essays.out.get_many([2, 1, 9]) == (found := await essays.out.get_many([2, 1]))
    assert list(found) == [2, 1]
    assert found[1].model_dump(mode="json") == FULL
    assert found[2] == EssayOut(id=2, title="Nobody's", writer=None, notes=())
    line = await essays.line.get(1)
    assert line == EssayLine("On Sleep", [NoteLine("good"), NoteLine("better")])
    assert await essays.out.get(9) is None
    told = len(shop.seen.of(Served))
    assert await essays.out.get(1) == found[1]
    assert "database" not in {each.tier for each in shop.seen.of(Served)[told:]}


class LineSet(msgspec.Struct, frozen=True):
    notes: frozenset[NoteLine]


class LineSequence(msgspec.Struct, frozen=True):
    notes: Sequence[NoteLine]


def test_what_collects_the_many() -> None:
    essay = Essay(id=1, title="t", notes=[Note(id=1, words="good")])
    for shape, notes in (
        (LineSet, frozenset([NoteLine("good")])),
        (LineSequence, (NoteLine("good"),)),
        (EssayLine, [NoteLine("good")]),
    ):
        made: Any = joined_shape(shape, inspect(Essay)).make(essay)
        assert made.notes == notes
        assert type(made.notes) is type(notes)


async def test_what_it_leads_to_is_never_old(shop: Shop) -> None:
    essays = shop.db[Essays]
    async with shop.db.causal_session(None):
        await essays.out.get(1)
        async with shop.db.unit_of_work() as work:
            (await work[Writers].require(2)).name = "Hopper"
            work.add(Note(id=3, essay_id=1, writer_id=2, words="best"))
            inside = await work[Essays].out.get(1)
            await work.commit()
        after = await essays.out.get(1)
    assert inside is not None
    assert after == inside
    assert [each.writer.name for each in after.notes] == ["Hopper", "Ada", "Hopper"]


async def test_a_response_model_costs_no_second_validation(shop: Shop) -> None:
    app = FastAPI()

    @app.get("/writers/{id}", response_model=WriterOut)
    async def show(id: int) -> WriterOut | None:
        return await shop.db[Writers].out.get(id)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/writers/1")
        validations.clear()
        answer = await client.get("/writers/1")
    assert answer.json() == {"id": 1, "name": "Ada"}
    assert validations == []


def test_names_under_which_a_model_takes_values() -> None:
    class Named(BaseModel):
        model_config = ConfigDict(frozen=True, validate_by_name=True)
        name: str = Field(alias="userName")

    class Chosen(Frozen):
        name: str = Field(validation_alias=AliasChoices("userName", "user"))

    for model in (Named, Chosen, WriterCard):
        shape: Any = view_shape(model)
        assert shape.make([1, "Ada", None] if model is WriterCard else ["Ada"])

    class Pathed(Frozen):
        name: str = Field(validation_alias=AliasPath("user", "name"))

    with pytest.raises(ConfigurationError, match=r"Pathed\.name.*validate_by_name"):
        view_shape(Pathed)


class Loose(BaseModel):
    id: int


class Unknown(Frozen):
    id: int
    age: int


class Wrong(Frozen):
    id: str


class NotNull(Frozen):
    email: str


class NoShape(Frozen):
    writer: int


class NotMany(Frozen):
    notes: NoteOut


class Endless(Frozen):
    notes: tuple[EndlessNote, ...]


class EndlessNote(Frozen):
    essay: Endless


@pytest.mark.parametrize(
    "model, shape, why",
    [
        (Writer, Loose, "frozen=True"),
        (Writer, Unknown, r"Unknown\.age: no column"),
        (Writer, Wrong, "the column gives int"),
        (Writer, NotNull, r"may be NULL"),
        (Essay, NoShape, r"NoShape\.writer: it is a relationship to one.*Card"),
        (Essay, NotMany, r"NotMany\.notes: it is a relationship to many.*tuple\[Card, \.\.\.\]"),
        (Essay, Endless, "view Endless: it is within itself"),
    ],
)
def test_what_does_not_fit_is_refused(model: type, shape: type, why: str) -> None:
    declared: Any = types.new_class(
        "Declared",
        (Repository[model, int],),  # type: ignore[valid-type]
        exec_body=lambda body: body.update(owner=KeyOwner("declared"), shown=View(shape)),
    )
    with pytest.raises(ConfigurationError, match=why):
        Database("postgresql+asyncpg://app@127.0.0.1/x", repositories=[declared])
