"""A customer's orders: read on a replica, and his last one is there at once."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from examples.shop.layout import Db, Frame
from examples.shop.markup import escaped, form, money, table
from examples.shop.models import Order
from examples.shop.repositories import Carts, Customers, Orders, Prices, Products
from examples.shop.tenants import Tenant
from examples.shop.visitors import Asking, SignedIn, Work
from repocache.fastapi import UnitOfWorkRoute

router = APIRouter(route_class=UnitOfWorkRoute)


def total(order: Order) -> int:
    return sum(each["quantity"] * each["cents"] for each in order.lines)


@router.get("/orders")
async def orders(id: SignedIn, db: Db, frame: Frame) -> HTMLResponse:
    """Kept by nobody, the browser included."""
    customer = await db[Customers].require(id)
    rows = [
        [
            str(order.id),
            f"{order.placed:%Y-%m-%d %H:%M}",
            escaped(", ".join(f"{each['quantity']} {each['name']}" for each in order.lines)),
            money(total(order)),
        ]
        for order in await db[Orders].of(id)
    ]
    shown = table(["Number", "Placed", "What", "#Total"], rows) if rows else "<p>None yet.</p>"
    office = '<p><a href="/admin">Back office</a></p>' if customer.is_admin else ""
    return frame.page(
        "Orders",
        f"<h1>Orders of {escaped(customer.name)}</h1>",
        shown,
        office,
        form("/logout", "Sign out"),
    )


@router.post("/orders")
async def place(id: SignedIn, visitor: Asking, tenant: Tenant, work: Work) -> Response:
    """The cart, at the prices of this transaction."""
    cart = await work[Carts].get(visitor.session_id or "")
    wanted = {} if cart is None else {int(id): number for id, number in cart.lines.items()}
    ids = list(wanted)
    products, prices = await work[Products].get_many(ids), await work[Prices].get_many(ids)
    lines = [
        {"name": products[each].name, "quantity": number, "cents": prices[each].cents}
        for each, number in wanted.items()
        if each in products and each in prices
    ]
    if cart is None or not lines:
        raise HTTPException(422, "the cart is empty")
    cart.lines = {}
    work.add(Order(tenant=tenant, customer_id=id, lines=lines))
    return RedirectResponse("/orders", 303)
