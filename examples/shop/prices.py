"""What a page's script asks for each time it is shown: the price, and how often it was seen."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from examples.shop.catalogue import product_of
from examples.shop.layout import Db
from examples.shop.markup import money
from examples.shop.repositories import Prices, Views
from examples.shop.tenants import Tenant

router = APIRouter()


@router.get("/prices/{id}")
async def price(id: int, db: Db, tenant: Tenant) -> dict[str, int | str]:
    """That of the last commit, whoever made it."""
    await product_of(db, tenant, id)
    found = await db[Prices].get(id)
    if found is None:
        raise HTTPException(404)
    return {"cents": found.cents, "shown": money(found.cents)}


@router.get("/views/{id}")
async def views(id: int, db: Db, tenant: Tenant) -> dict[str, int]:
    """With those that are not in the database yet."""
    await product_of(db, tenant, id)
    found = await db[Views].get(id)
    return {"views": 0 if found is None else found.views}


@router.post("/views/{id}", status_code=204)
async def viewed(id: int, db: Db, tenant: Tenant) -> None:
    """Accepted into Redis; no transaction."""
    await product_of(db, tenant, id)
    await db[Views].add(id, views=1)
