"""The back office: what is written here every cache in front of the shop hears of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from examples.shop.forms import Form
from examples.shop.layout import BareFrame, Db
from examples.shop.markup import escaped, field, form, hidden, table
from examples.shop.models import Product, Review
from examples.shop.repositories import Prices, Products
from examples.shop.tenants import Tenant
from examples.shop.visitors import Work, admitted
from repocache.fastapi import UnitOfWorkRoute

router = APIRouter(prefix="/admin", route_class=UnitOfWorkRoute, dependencies=[Depends(admitted)])


async def own_product(sent: Form, tenant: Tenant, work: Work) -> Product:
    """From the transaction. Raises HTTPException for another shop's."""
    found = await work[Products].get(sent.whole("product", 1, 10**9))
    if found is None or found.tenant != tenant:
        raise HTTPException(404)
    return found


Own = Annotated[Product, Depends(own_product)]


def back() -> Response:
    return RedirectResponse("/admin", 303)


@router.get("")
async def office(tenant: Tenant, db: Db, frame: BareFrame) -> HTMLResponse:
    products = await db[Products].find(Product.tenant == tenant, order_by=[Product.name])
    prices = await db[Prices].get_many([each.id for each in products])
    rows = [
        [
            f'<a href="/products/{escaped(each.slug)}">{escaped(each.slug)}</a>',
            form(
                "/admin/name",
                "Rename",
                hidden("product", each.id),
                field("name", "Name", value=each.name),
            ),
            form(
                "/admin/price",
                "Set",
                hidden("product", each.id),
                field("cents", "Cents", value=str(prices[each.id].cents)),
            ),
            form(
                "/admin/review",
                "Add",
                hidden("product", each.id),
                hidden("stars", 5),
                field("text", "Review"),
            ),
            form("/admin/anew", "Make anew", hidden("product", each.id)),
        ]
        for each in products
        if each.id in prices
    ]
    heads = ["Product", "Name", "Price", "Review", "Pages"]
    return frame.page("Back office", "<h1>Back office</h1>", table(heads, rows))


@router.post("/name")
async def rename(product: Own, sent: Form) -> Response:
    product.name = sent.text("name")
    return back()


@router.post("/price")
async def set_price(product: Own, sent: Form, work: Work) -> Response:
    price = await work[Prices].require(product.id)
    price.cents = sent.whole("cents", 1, 10**8)
    return back()


@router.post("/review")
async def review(product: Own, sent: Form, work: Work) -> Response:
    stars, text = sent.whole("stars", 1, 5), sent.text("text", 1_000)
    work.add(Review(product_id=product.id, stars=stars, text=text))
    return back()


@router.post("/anew")
async def anew(product: Own, db: Db) -> Response:
    """Every page that shows the product, though nothing of it has changed."""
    await db.revalidate_tag(f"product:{product.id}")
    return back()
