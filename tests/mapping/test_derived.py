"""Which tables a computed attribute is read from, beside the row that it belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ForeignKey, column, exists, func, select, table
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, column_property, mapped_column

from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int]
    kind_id: Mapped[int]


class Kind(Base):
    __tablename__ = "kind"

    id: Mapped[int] = mapped_column(primary_key=True)
    worth: Mapped[int]


class Owner(Base):
    __tablename__ = "owner"

    id: Mapped[int] = mapped_column(primary_key=True)
    boss_id: Mapped[int | None]
    price: Mapped[int]


class Firm(Owner):
    __tablename__ = "firm"

    id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)


light = table("light", column("owner_id"))
other = aliased(Owner)
mine = Item.owner_id == Owner.id

EXPRESSIONS: dict[str, tuple[Any, set[str]]] = {
    "doubled": (Owner.price * 2, set()),
    "items": (
        select(func.count(Item.id)).where(mine).correlate_except(Item).scalar_subquery(),
        {"item"},
    ),
    "automatic": (select(func.count(Item.id)).where(mine).scalar_subquery(), {"item"}),
    "explicit": (
        select(func.count(Item.id)).where(mine).correlate(Owner).scalar_subquery(),
        {"item"},
    ),
    "joined": (
        select(func.sum(Kind.worth))
        .join(Item, Item.kind_id == Kind.id)
        .where(mine)
        .scalar_subquery(),
        {"item", "kind"},
    ),
    "nested": (
        select(func.count(Item.id))
        .where(mine, Item.kind_id.in_(select(Kind.id)))
        .scalar_subquery(),
        {"item", "kind"},
    ),
    "any": (exists(Item.id).where(mine), {"item"}),
    "from_subquery": (
        select(func.count()).select_from(select(Item.id).subquery()).scalar_subquery(),
        {"item"},
    ),
    "staff": (
        select(func.count(other.id)).where(other.boss_id == Owner.id).scalar_subquery(),
        {"owner"},
    ),
    "all": (select(func.count(Owner.id)).scalar_subquery(), {"owner"}),
    "uncorrelated": (
        select(func.count(Item.id)).where(mine).correlate(None).scalar_subquery(),
        {"item", "owner"},
    ),
    "excepted": (
        select(func.count(Item.id)).where(mine).correlate_except(Item, Owner).scalar_subquery(),
        {"item", "owner"},
    ),
    "lightweight": (
        select(func.count()).where(light.c.owner_id == Owner.id).scalar_subquery(),
        {"light"},
    ),
}

for name, (expression, _) in EXPRESSIONS.items():
    setattr(Owner, name, column_property(expression, deferred=False))


@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("model", [Owner, Firm])
def test_the_tables_of_an_expression(model: type[Owner], name: str) -> None:
    others = tuple(each for each in EXPRESSIONS if each != name)
    plan = EntityPlan.of(model, "owner", MappingOptions(derived=(name,), not_loaded=others))
    assert {each.name for each in plan.reads} == EXPRESSIONS[name][1]


def test_what_is_not_derived_reads_nothing() -> None:
    assert EntityPlan.of(Kind, "kind").reads == frozenset()
