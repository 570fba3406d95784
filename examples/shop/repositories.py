"""What is cached, and how: one policy for each kind of data."""

from __future__ import annotations

from examples.shop.models import (
    SETTING,
    Cart,
    Category,
    Customer,
    Notice,
    Order,
    Price,
    Product,
    ProductViews,
    Review,
    Session,
)
from repocache import (
    CacheAside,
    CachedQueries,
    Flush,
    KeyList,
    KeyOwner,
    LocalOnly,
    Lookup,
    Repository,
    Scope,
    SharedOnly,
    WriteBehind,
    WriteThrough,
)

CATALOGUE = CacheAside(ttl=3600, local_ttl=60, negative_ttl=600)
TENANT = Scope("tenant", setting=SETTING)
"""Whose rows are seen. A scope takes no key list, no strict write-through and no `LocalOnly`, so
the catalogue has its tenant in a column instead, which is part of each lookup."""


class Categories(Repository[Category, int]):
    """Few, on every page, hardly ever changed: in the process, and nowhere else."""

    owner = KeyOwner("category")
    policy = LocalOnly(ttl=600)
    queries = CachedQueries(ttl=600, local_ttl=60)
    by_slug = Lookup(Category.tenant, Category.slug)


class Products(Repository[Product, int]):
    owner = KeyOwner("product")
    policy = CATALOGUE
    queries = CachedQueries(ttl=3600, local_ttl=60)
    by_slug = Lookup(Product.tenant, Product.slug)
    reviews = KeyList(Product.reviews)


class Reviews(Repository[Review, int]):
    owner = KeyOwner("review")
    policy = CATALOGUE


class Prices(Repository[Price, int]):
    """From COMMIT on nobody is given the old one. So no page and no edge may keep what shows it."""

    owner = KeyOwner("price")
    policy = WriteThrough(strict=True)


class Views(WriteBehind[ProductViews, int]):
    """Counted in Redis, written in batches."""

    owner = KeyOwner("views")
    flush = Flush(every=1.0)


class Notices(Repository[Notice, int]):
    owner = KeyOwner("notice", scope=TENANT)
    policy = CATALOGUE
    by_place = Lookup(Notice.place)


class Customers(Repository[Customer, int]):
    owner = KeyOwner("customer", scope=TENANT)
    policy = CATALOGUE
    by_name = Lookup(Customer.name)


class Sessions(Repository[Session, str]):
    """One person's alone, and the next request is another process's: in Redis only."""

    owner = KeyOwner("session", scope=TENANT)
    policy = SharedOnly(ttl=1800)


class Carts(Repository[Cart, str]):
    owner = KeyOwner("cart", scope=TENANT)
    policy = SharedOnly(ttl=1800)


class Orders(Repository[Order, int]):
    """Lists are read on a replica that has what the session has written."""

    owner = KeyOwner("order", scope=TENANT)
    policy = CacheAside(ttl=300, local_ttl=5)

    async def of(self, customer_id: int) -> list[Order]:
        """The newest first."""
        return await self.find(
            Order.customer_id == customer_id, order_by=[Order.id.desc()], limit=50
        )


REPOSITORIES = (
    Categories,
    Products,
    Reviews,
    Prices,
    Views,
    Notices,
    Customers,
    Sessions,
    Carts,
    Orders,
)
