"""Views are frozen, made of loaded columns, and say the truth about their types."""

import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NewType

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, synonym

from repocache.codec.column import ColumnCodec
from repocache.errors import ConfigurationError
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from tests.mapping.compare import load_rows
from tests.mapping.conftest import MakeTables


class Base(DeclarativeBase):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Bag(sa.types.TypeDecorator[frozenset[int]]):
    impl = sa.String
    cache_ok = True


class Thing(Base):
    __tablename__ = "thing"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("thing_name")
    nick: Mapped[str | None]
    level: Mapped[Level | None]
    json: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    later: Mapped[str | None] = mapped_column(deferred=True)
    alias = synonym("name")


class Wide(Base):
    __tablename__ = "wide"

    id: Mapped[int] = mapped_column(primary_key=True)
    tuple_: Mapped[tuple[str, ...]] = mapped_column(pg.ARRAY(sa.String, as_tuple=True))
    list_: Mapped[list[str]] = mapped_column(pg.ARRAY(sa.String))
    jsons: Mapped[tuple[Any, ...]] = mapped_column(pg.ARRAY(pg.JSONB, as_tuple=True))
    hstore: Mapped[dict[str, str | None]] = mapped_column(pg.HSTORE)
    ranges: Mapped[list[Any]] = mapped_column(pg.INT4MULTIRANGE)
    range_: Mapped[pg.Range[int]] = mapped_column(pg.INT4RANGE)
    bag: Mapped[frozenset[int]] = mapped_column(Bag())
    set_: Mapped[set[int]] = mapped_column(Bag())


FROZEN: ColumnCodec[frozenset[int]] = ColumnCodec(sorted, frozenset, frozenset, immutable=True)
CHANGEABLE: ColumnCodec[set[int]] = ColumnCodec(sorted, set, set)
WIDE = EntityPlan.of(Wide, "wide", MappingOptions(codecs={"bag": FROZEN, "set_": CHANGEABLE}))
PLAN = EntityPlan.of(Thing, "thing")
Row = tuple[Any, ...]


class Card(msgspec.Struct, frozen=True):
    name: str
    id: int


class KeywordCard(msgspec.Struct, frozen=True, kw_only=True):
    nick: str | None = None
    id: int


class MixedCard(Card, frozen=True, kw_only=True):
    level: Level | None


class OneField(msgspec.Struct, frozen=True):
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class DataCard:
    id: int
    name: str
    made: str = dataclasses.field(init=False, default="here")
    kinds: ClassVar[int] = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeywordDataCard:
    nick: str | None
    id: int


UserId = NewType("UserId", int)


@dataclasses.dataclass(frozen=True)
class Loose:
    """Annotations that a class cannot decide."""

    id: Annotated[UserId, "doc"]
    name: Literal["a", "b"]
    nick: object
    level: Any


@dataclasses.dataclass(frozen=True)
class WideCard:
    tuple_: tuple[str, ...]
    range_: pg.Range[int]
    bag: frozenset[int]


@pytest.mark.parametrize(
    "view, expected",
    [
        (Card, Card(name="n", id=1)),
        (KeywordCard, KeywordCard(nick="k", id=1)),
        (MixedCard, MixedCard(name="n", id=1, level=Level.LOW)),
        (OneField, OneField("n")),
        (DataCard, DataCard(1, "n")),
        (KeywordDataCard, KeywordDataCard(nick="k", id=1)),
        (Loose, Loose(UserId(1), "n", "k", Level.LOW)),  # type: ignore[arg-type]
    ],
)
async def test_a_view_is_made_of_a_row(
    view: type[Any], expected: object, sqlite: MakeTables
) -> None:
    engine = await sqlite(sa.MetaData())
    async with engine.begin() as connection:
        await connection.run_sync(Thing.__table__.create)  # type: ignore[attr-defined]
    async with AsyncSession(engine) as session, session.begin():
        session.add(Thing(id=1, name="n", nick="k", level=Level.LOW))
    (row,) = (await load_rows(engine, PLAN, [1])).values()
    made = PLAN.view(view)(row)
    assert made == expected
    assert type(made) is view


def test_a_view_may_hold_what_nobody_can_change() -> None:
    values = {"tuple_": ("a",), "range_": pg.Range(1, 2), "bag": frozenset({1})}
    row = [values.get(name) for name in WIDE.layout.classes[WIDE.mapper].attributes]
    assert WIDE.view(WideCard)(tuple(row)) == WideCard(**values)  # type: ignore[arg-type]


def struct(annotation: Any, name: str = "id") -> type[Any]:
    return msgspec.defstruct("Shown", [(name, annotation)], frozen=True)


class Thawed(msgspec.Struct):
    id: int


@dataclasses.dataclass
class ThawedData:
    id: int


class Plain:
    id: int


class Empty(msgspec.Struct, frozen=True):
    pass


@pytest.mark.parametrize(
    "plan, view, words",
    [
        (PLAN, Thawed, "Thawed is shared by all callers: declare it with frozen=True"),
        (PLAN, ThawedData, "ThawedData is shared by all callers"),
        (PLAN, Plain, "give a frozen msgspec.Struct, dataclass or Pydantic model"),
        (PLAN, Card(name="n", id=1), "give a frozen"),
        (PLAN, dict, "give a frozen"),
        (PLAN, Empty, "no fields"),
        (
            PLAN,
            struct(str, "missing"),
            "Shown.missing: .* but id, json, level, name, nick",
        ),
        (PLAN, struct(str, "thing_name"), "no column is loaded by this name"),
        (PLAN, struct(str, "later"), "no column is loaded by this name"),
        (PLAN, struct(str, "alias"), "no column is loaded by this name"),
        (PLAN, struct(str), "Shown.id: the column gives int, not"),
        (PLAN, struct(bool), "the column gives int"),
        (PLAN, struct(bytes | str | None), "the column gives int"),
        (
            PLAN,
            struct(Level, "level"),
            r"Shown.level: the column may be NULL: annotate it with `\| None`",
        ),
        (PLAN, struct(str | None, "level"), "the column gives Level"),
        (PLAN, struct(dict[str, Any] | None, "json"), "can be changed in place"),
        (WIDE, struct(list[str], "list_"), "can be changed in place"),
        (WIDE, struct(tuple[Any, ...], "jsons"), "can be changed in place"),
        (WIDE, struct(Any, "hstore"), "can be changed in place"),
        (WIDE, struct(Any, "ranges"), "can be changed in place"),
        (WIDE, struct(Any, "set_"), "can be changed in place"),
        (WIDE, struct(list[str], "tuple_"), "the column gives tuple"),
        (WIDE, struct(set[int], "bag"), "the column gives frozenset"),
    ],
)
def test_a_view_that_does_not_fit_is_refused(plan: EntityPlan[Any], view: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        plan.view(view)


@pytest.mark.parametrize("annotation", [int, int | None, float, object, Any])
def test_a_wider_annotation_is_taken(annotation: Any) -> None:
    row = [math.nan] * len(PLAN.columns)
    row[0] = 5
    make: Callable[[Row], Any] = PLAN.view(struct(annotation))
    assert make(tuple(row)).id == 5
