"""What everybody sees: the shop, its categories and its products. All of it is kept at the edge."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from examples.shop.layout import Db, Frame
from examples.shop.markup import escaped, form, hidden, picture, stars
from examples.shop.models import Category, Product
from examples.shop.repositories import Categories, Products
from examples.shop.tenants import Tenant
from repocache import Database

router = APIRouter()
SUGGESTED = 3


async def product_of(db: Database, tenant: str, id: int) -> Product:
    """Raises HTTPException if the shop has none of this id."""
    found = await db[Products].get(id)
    if found is None or found.tenant != tenant:
        raise HTTPException(404)
    return found


def cards(products: Iterable[Product]) -> str:
    return "".join(
        f'<li><a href="/products/{escaped(each.slug)}">{picture(each.id)}'
        f"{escaped(each.name)}</a></li>"
        for each in products
    )


@router.get("/")
async def home(db: Db, tenant: Tenant, frame: Frame) -> HTMLResponse:
    found = await db[Categories].find(Category.tenant == tenant, order_by=[Category.name])
    links = "".join(
        f'<li><a href="/categories/{escaped(each.slug)}">{escaped(each.name)}</a></li>'
        for each in found
    )
    return frame.page("Shop", "<h1>What we have</h1>", f'<ul class="links">{links}</ul>')


@router.get("/categories/{slug}")
async def category(slug: str, db: Db, tenant: Tenant, frame: Frame) -> HTMLResponse:
    found = await db[Categories].by_slug.require((tenant, slug))
    products = await db[Products].find(Product.category_id == found.id, order_by=[Product.name])
    return frame.page(
        found.name, f"<h1>{escaped(found.name)}</h1>", f'<ul class="cards">{cards(products)}</ul>'
    )


@router.get("/products/{slug}")
async def product(slug: str, db: Db, tenant: Tenant, frame: Frame) -> HTMLResponse:
    """Without its price, its views and what goes with it: the page's script asks for these."""
    load = [Product.reviews, Product.category]
    found = await db[Products].by_slug.require((tenant, slug), load=load)
    reviews = "".join(
        f"<li>{stars(each.stars)} {escaped(each.text)}</li>" for each in found.reviews
    )
    buy = form("/cart", "Add to cart", hidden("product", found.id), hidden("quantity", 1))
    return frame.page(
        found.name,
        f'<article class="product" data-product="{found.id}">{picture(found.id)}<div>',
        f'<p class="soft"><a href="/categories/{escaped(found.category.slug)}">'
        f"{escaped(found.category.name)}</a></p>",
        f"<h1>{escaped(found.name)}</h1><p>{escaped(found.text)}</p>",
        '<p class="price" id="price" role="status">…</p>',
        f'{buy}<p class="soft" id="views"></p></div></article>',
        f'<section><h2>Reviews</h2><ul class="reviews">{reviews}</ul></section>',
        '<section><h2>Goes with it</h2><ul class="links" id="suggestions"></ul></section>',
    )


@router.get("/suggestions/{id}")
async def suggestions(id: int, db: Db, tenant: Tenant) -> list[dict[str, str]]:
    """Others of the category."""
    found = await product_of(db, tenant, id)
    others = await db[Products].find(
        Product.category_id == found.category_id,
        Product.id != id,
        order_by=[Product.name],
        limit=SUGGESTED,
    )
    return [{"path": f"/products/{each.slug}", "name": each.name} for each in others]
