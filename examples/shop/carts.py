"""A visitor's cart: his alone."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from examples.shop.catalogue import product_of
from examples.shop.forms import Form
from examples.shop.layout import Db, Frame
from examples.shop.markup import escaped, form, money, table
from examples.shop.repositories import Carts, Prices, Products
from examples.shop.tenants import Tenant
from examples.shop.visitors import Asking, Visitor, Work, begin_session, set_token
from repocache import Database
from repocache.fastapi import UnitOfWorkRoute

router = APIRouter(route_class=UnitOfWorkRoute)
MOST = 99
"""Of one product."""


async def lines_of(db: Database, visitor: Visitor) -> dict[int, int]:
    """How many of each product."""
    cart = None if visitor.session_id is None else await db[Carts].get(visitor.session_id)
    return {} if cart is None else {int(id): number for id, number in cart.lines.items()}


@router.get("/cart")
async def cart(db: Db, frame: Frame, visitor: Asking) -> HTMLResponse:
    lines = await lines_of(db, visitor)
    ids = list(lines)
    products, prices = await db[Products].get_many(ids), await db[Prices].get_many(ids)
    there = {id: number for id, number in lines.items() if id in products and id in prices}
    if not there:
        return frame.page("Cart", "<h1>Cart</h1><p>It is empty.</p>")
    rows = [
        [
            f'<a href="/products/{escaped(products[id].slug)}">{escaped(products[id].name)}</a>',
            str(number),
            money(prices[id].cents),
            money(number * prices[id].cents),
        ]
        for id, number in there.items()
    ]
    total = sum(number * prices[id].cents for id, number in there.items())
    return frame.page(
        "Cart",
        "<h1>Cart</h1>",
        table(["Product", "#Pieces", "#Each", "#Together"], rows),
        f'<p class="price">{money(total)}</p>',
        form("/orders", "Order"),
    )


@router.post("/cart")
async def add(  # noqa: PLR0913  # keyword-only
    request: Request, *, sent: Form, visitor: Asking, tenant: Tenant, db: Db, work: Work
) -> Response:
    """A session begins with the first thing in the cart."""
    id, quantity = sent.whole("product", 1, 10**9), sent.whole("quantity", 1, MOST)
    await product_of(db, tenant, id)
    token, cart = None, None
    if visitor.session_id is not None:
        cart = await work[Carts].get(visitor.session_id)
    if cart is None:
        token, cart = await begin_session(work, tenant, visitor.customer_id, {})
    had = cart.lines.get(str(id), 0)
    cart.lines = {**cart.lines, str(id): min(had + quantity, MOST)}
    response = RedirectResponse("/cart", 303)
    if token is not None:
        set_token(response, token, request)
    return response
