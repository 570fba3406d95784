"""The tables, as migrations would make them, and two shops with something in them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from examples.shop.models import (
    GUARDED,
    SETTING,
    Base,
    Category,
    Customer,
    Notice,
    Price,
    Product,
    Review,
)
from examples.shop.passwords import hashed
from repocache.alembic_ops.ddl import create_outbox, create_purges, create_write_behind

SHOPS: Mapping[str, Mapping[str, tuple[tuple[str, int], ...]]] = {
    "north": {
        "Lamps": (("Reading lamp", 4900), ("Floor lamp", 12900), ("Lantern", 2750)),
        "Chairs": (("Rocking chair", 18900), ("Stool", 3900)),
    },
    "south": {
        "Tea": (("Green tea", 690), ("Black tea", 590), ("Mint", 450)),
        "Cups": (("Blue cup", 1490), ("Tin mug", 990)),
    },
}
"""By tenant and category: products, and their prices in cents."""
NOTICES = {"north": "Free delivery above 60 €.", "south": "New harvest is here."}
PEOPLE = {"ada": True, "bob": False}
"""Of each shop, and whether they may write to it. Their password is `PASSWORD`."""
PASSWORD = "lovelace"  # noqa: S105  # for trying out


def slug_of(name: str) -> str:
    return name.lower().replace(" ", "-")


async def make_tables(connection: AsyncConnection) -> None:
    """In migrations: `op.create_repocache_outbox()`, `..._purges()`, `..._write_behind()`."""
    await connection.run_sync(Base.metadata.create_all)
    for statements in (
        create_outbox("public", ()),
        create_purges("public", ()),
        create_write_behind("public", ()),
    ):
        for statement in statements:
            await connection.execute(text(statement))
    for table in GUARDED:
        alter = f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        own = f"CREATE POLICY own ON {table} USING (tenant = current_setting('{SETTING}', true))"
        for statement in (alter, own):
            await connection.execute(text(statement))


async def fill(session: AsyncSession, tenant: str) -> None:
    """Of one transaction, in which the tenant's rows are seen."""
    await session.execute(
        text("SELECT set_config(:setting, :tenant, true)"), {"setting": SETTING, "tenant": tenant}
    )
    session.add(Notice(tenant=tenant, place="top", text=NOTICES[tenant]))
    for name, is_admin in PEOPLE.items():
        made = await hashed(PASSWORD)
        session.add(Customer(tenant=tenant, name=name, password_hash=made, is_admin=is_admin))
    for name, products in SHOPS[tenant].items():
        category = Category(tenant=tenant, slug=slug_of(name), name=name)
        for product, cents in products:
            row = Product(
                tenant=tenant,
                slug=slug_of(product),
                name=product,
                text=f"{product}, made to last.",
                category=category,
                reviews=[Review(stars=4, text="As it should be.")],
            )
            session.add(row)
            await session.flush()
            session.add(Price(product_id=row.id, cents=cents))


async def prepare(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await make_tables(connection)
    for tenant in SHOPS:
        async with AsyncSession(engine) as session, session.begin():
            await fill(session, tenant)
    await engine.dispose()
