"""The tables: ordinary SQLAlchemy. What belongs to a person is behind row-level security; the
catalogue is everybody's, and has its shop in a column."""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import DateTime, ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SETTING = "app.tenant"
"""Of PostgreSQL, that says whose rows are seen."""
GUARDED = ("notices", "customers", "sessions", "carts", "orders")
"""The tables whose rows are one tenant's."""


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        datetime.datetime: DateTime(timezone=True),
        dict[str, int]: JSONB,
        list[dict[str, Any]]: JSONB,
    }


class Category(Base):
    __tablename__ = "categories"
    __table_args__ = (UniqueConstraint("tenant", "slug"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    slug: Mapped[str]
    name: Mapped[str]


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (UniqueConstraint("tenant", "slug"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    slug: Mapped[str]
    name: Mapped[str]
    text: Mapped[str]
    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id"))
    category: Mapped[Category] = relationship()
    reviews: Mapped[list[Review]] = relationship(order_by="Review.id.desc()")


class Review(Base):
    __tablename__ = "reviews"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"))
    stars: Mapped[int]
    text: Mapped[str]


class Price(Base):
    __tablename__ = "prices"
    product_id: Mapped[int] = mapped_column(
        ForeignKey("products.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    cents: Mapped[int]


class ProductViews(Base):
    __tablename__ = "product_views"
    product_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    views: Mapped[int] = mapped_column(default=0)


class Notice(Base):
    """What a shop says on every page."""

    __tablename__ = "notices"
    __table_args__ = (UniqueConstraint("tenant", "place"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    place: Mapped[str]
    text: Mapped[str]


class Customer(Base):
    __tablename__ = "customers"
    __table_args__ = (UniqueConstraint("tenant", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str]
    #: Deferred: what is not loaded is in no cache.
    password_hash: Mapped[str] = mapped_column(deferred=True)
    is_admin: Mapped[bool] = mapped_column(default=False)


class Session(Base):
    """`id`: a digest of what the cookie says, so that nobody who sees a key can use it."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
    since: Mapped[datetime.datetime] = mapped_column(default=now)


class Cart(Base):
    """Of a session. `lines`: how many of each product, by its id as a text."""

    __tablename__ = "carts"
    id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    tenant: Mapped[str]
    lines: Mapped[dict[str, int]] = mapped_column(default=dict)


class Order(Base):
    """`lines`: `name`, `quantity` and `cents` each, as they were when it was placed."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    placed: Mapped[datetime.datetime] = mapped_column(default=now)
    lines: Mapped[list[dict[str, Any]]]
