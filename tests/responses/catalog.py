"""A catalogue of products, and what pages show of them: by id, by their stock-keeping unit, in
lists, with their reviews, with computed prices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import ForeignKey, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from repocache import (
    AlwaysConsistent,
    CacheAside,
    CachedQueries,
    Count,
    KeyList,
    KeyOwner,
    Lookup,
    Reader,
    ReadThrough,
    Repository,
    Settings,
    Uncached,
    View,
    WriteAround,
    WriteThrough,
)
from repocache.testing import Endpoints
from tests.shop import QUICK, Shop, in_rotation, open_shop

POLICY = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    category: Mapped[int]
    reviews: Mapped[list[Review]] = relationship(back_populates="product")


class Review(Base):
    __tablename__ = "reviews"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"))
    text: Mapped[str]
    product: Mapped[Product] = relationship(back_populates="reviews")


class Stock(Base):
    __tablename__ = "stock"
    product: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    left: Mapped[int]


class Price(Base):
    __tablename__ = "prices"
    product: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    cents: Mapped[int]


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class ProductCard(msgspec.Struct, frozen=True):
    id: int
    name: str


class Products(Repository[Product, int]):
    owner = KeyOwner("product")
    policy = POLICY
    by_sku = Lookup(Product.sku)
    reviews = KeyList(Product.reviews)
    review_count = Count(Review.product_id)
    card = View(ProductCard)


class Reviews(Repository[Review, int]):
    owner = KeyOwner("review")
    policy = POLICY
    queries = CachedQueries(ttl=300, local_ttl=60)


class Stocks(Repository[Stock, int]):
    owner = KeyOwner("stock")
    policy = AlwaysConsistent()


class Prices(Repository[Price, int]):
    owner = KeyOwner("price")
    policy = WriteThrough(strict=True)


class Notes(Repository[Note, int]):
    owner = KeyOwner("note")
    policy = WriteAround(ttl=60)


class Lines(Repository[Line, int]):
    owner = KeyOwner("line")
    policy = Uncached()


class Lengths(ReadThrough[int, int]):
    """How many products a category has."""

    owner = KeyOwner("length")
    policy = CacheAside(ttl=300, local_ttl=60)

    async def load(self, keys: Sequence[int], reader: Reader) -> Mapping[int, int]:
        found = {}
        for key in keys:
            rows = await reader.execute(select(Product.id).where(Product.category == key))
            found[key] = len(rows)
        return found


REPOSITORIES = (Products, Reviews, Stocks, Prices, Notes, Lines, Lengths)


async def make_catalog(url: str) -> None:
    """Products 1 to 6, of the categories 0 and 1; of each two reviews, a price, and 10 in stock."""
    engine = create_async_engine(url)
    numbers = range(1, 7)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(
            insert(Product),
            [{"id": n, "sku": f"s{n}", "name": f"n{n}", "category": n % 2} for n in numbers],
        )
        reviews = [
            {"id": 10 * n + at, "product_id": n, "text": f"r{n}{at}"}
            for n in numbers
            for at in (1, 2)
        ]
        await connection.execute(insert(Review), reviews)
        await connection.execute(insert(Stock), [{"product": n, "left": 10} for n in numbers])
        await connection.execute(insert(Price), [{"product": n, "cents": 100} for n in numbers])
        await connection.execute(insert(Note), [{"id": 1, "text": "one"}])
        await connection.execute(insert(Line), [{"id": 1, "text": "one"}])
    await engine.dispose()


@asynccontextmanager
async def open_catalog(
    ends: Endpoints, settings: Settings | None = None, repositories: Any = REPOSITORIES
) -> AsyncIterator[Shop]:
    """A database on these servers, all its nodes in the rotation."""
    async with open_shop(ends, settings or Settings(topology=QUICK), repositories) as shop:
        await in_rotation(shop)
        yield shop
