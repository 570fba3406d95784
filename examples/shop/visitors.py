"""Who is asking: a cookie with a random token, of which the database has a digest. Log in, log
out."""

from __future__ import annotations

import datetime
import hashlib
import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select

from examples.shop.forms import Form
from examples.shop.layout import BareFrame, Db
from examples.shop.markup import field, form
from examples.shop.models import Cart, Customer, Session, now
from examples.shop.passwords import is_right
from examples.shop.repositories import Carts, Customers, Sessions
from examples.shop.tenants import Tenant
from repocache import UnitOfWork
from repocache.fastapi import UnitOfWorkRoute, unit_of_work

router = APIRouter(route_class=UnitOfWorkRoute)
Work = Annotated[UnitOfWork, Depends(unit_of_work)]
COOKIE = "session"
LIFE = datetime.timedelta(days=14)


@dataclass(frozen=True)
class Visitor:
    """`session_id`: None: he has none yet. `customer_id`: None: he is not logged in."""

    session_id: str | None = None
    customer_id: int | None = None


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def visitor(request: Request, db: Db) -> Visitor:
    """Whatever the cookie says is no error."""
    token = request.cookies.get(COOKIE)
    if not token:
        return Visitor()
    found = await db[Sessions].get(digest_of(token))
    if found is None or found.since < now() - LIFE:
        return Visitor()
    return Visitor(found.id, found.customer_id)


Asking = Annotated[Visitor, Depends(visitor)]


def signed_in(visitor: Asking) -> int:
    """The customer's id. Raises HTTPException, which leads to the login."""
    if visitor.customer_id is None:
        raise HTTPException(303, headers={"Location": "/login", "Cache-Control": "no-store"})
    return visitor.customer_id


SignedIn = Annotated[int, Depends(signed_in)]


async def admitted(id: SignedIn, db: Db) -> None:
    """Raises HTTPException for who is no admin."""
    customer = await db[Customers].get(id)
    if customer is None or not customer.is_admin:
        raise HTTPException(403)


async def begin_session(
    work: UnitOfWork, tenant: str, customer_id: int | None, lines: dict[str, int]
) -> tuple[str, Cart]:
    """With a cart that has these lines. The token of its cookie, and the cart."""
    token = secrets.token_urlsafe(32)
    session = Session(id=digest_of(token), tenant=tenant, customer_id=customer_id)
    cart = Cart(id=session.id, tenant=tenant, lines=lines)
    work.add(session)
    await work.session.flush()
    work.add(cart)
    return token, cart


def set_token(response: Response, token: str, request: Request) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.app.state.secure,
    )


@router.get("/login")
async def login_form(frame: BareFrame) -> HTMLResponse:
    inside = [field("name", "Name"), field("password", "Password", kind="password")]
    return frame.page("Sign in", "<h1>Sign in</h1>", form("/login", "Sign in", *inside))


@router.post("/login")
async def login(  # noqa: PLR0913  # keyword-only
    request: Request, *, sent: Form, visitor: Asking, tenant: Tenant, db: Db, work: Work
) -> Response:
    """A new session, so that nobody knows its token; the cart comes along."""
    customer = await db[Customers].by_name.get(sent.text("name"))
    stored = None
    if customer is not None:
        statement = select(Customer.password_hash).where(Customer.id == customer.id)
        [(stored,)] = await db[Customers].rows(statement)
    if not await is_right(sent.text("password"), stored) or customer is None:
        raise HTTPException(401, "wrong name or password")
    lines = await end_session(work, visitor)
    token, _ = await begin_session(work, tenant, customer.id, lines)
    response = RedirectResponse("/orders", 303)
    set_token(response, token, request)
    return response


async def end_session(work: UnitOfWork, visitor: Visitor) -> dict[str, int]:
    """What was in its cart."""
    if visitor.session_id is None:
        return {}
    cart = await work[Carts].get(visitor.session_id)
    session = await work[Sessions].get(visitor.session_id)
    lines = {} if cart is None else dict(cart.lines)
    for each in (cart, session):
        if each is not None:
            await work.delete(each)
            await work.session.flush()
    return lines


@router.post("/logout")
async def logout(visitor: Asking, work: Work) -> Response:
    """The session is gone for every process; the browser forgets what it has kept of it, also for
    going back (Clear-Site-Data, which counts over HTTPS and on localhost)."""
    await end_session(work, visitor)
    response = RedirectResponse("/", 303, {"Clear-Site-Data": '"cache"'})
    response.delete_cookie(COOKIE)
    return response
