"""The application: `uvicorn --factory examples.admin.app:from_env`. Its current user is a join of
nine tables, asked for at each request."""

import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import BaseModel

from examples.admin.models import Department, Menu, Position, Role, User
from examples.admin.repositories import (
    REPOSITORIES,
    Departments,
    Menus,
    Positions,
    Roles,
    Users,
)
from repocache import Database, NotFound, UnitOfWork
from repocache.fastapi import UnitOfWorkRoute, database, lifespan, unit_of_work
from repocache.http import CausalMiddleware

router = APIRouter(route_class=UnitOfWorkRoute)
Db = Annotated[Database, Depends(database)]
Work = Annotated[UnitOfWork, Depends(unit_of_work)]

PERMISSIONS = ("users:read", "users:write", "roles:write", "menus:write", "names:write")
"""What endpoints ask for; menus give them."""


def tokens(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(secret, salt="admin")


class CurrentUser(BaseModel):
    """`departments`: of whose data the user may see."""

    id: int
    name: str
    department: str
    positions: list[str]
    roles: list[str]
    menus: list[str]
    permissions: list[str]
    departments: list[str]


def names(of: Iterable[Department | Menu | Position | Role]) -> list[str]:
    return sorted({each.name for each in of})


async def current_user(request: Request, db: Db) -> CurrentUser:
    """A dependency of every endpoint: nothing of it is older than what the client has written."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        id = int(request.app.state.tokens.loads(token))
    except BadSignature:
        raise HTTPException(401, "sign in") from None
    user = await db[Users].whole(id)
    if user is None:
        raise HTTPException(401, "there is no such user any more")
    return CurrentUser(
        id=user.id,
        name=user.name,
        department=user.department.name,
        positions=names(user.positions),
        roles=names(user.roles),
        menus=names(menu for role in user.roles for menu in role.menus),
        permissions=sorted({menu.permission for role in user.roles for menu in role.menus}),
        departments=names(each for role in user.roles for each in role.departments),
    )


Current = Annotated[CurrentUser, Depends(current_user)]


def allowed(permission: str) -> Any:
    """A dependency: the current user may do it."""

    async def check(current: Current) -> None:
        if permission not in current.permissions:
            raise HTTPException(403, f"{permission} is not yours")

    return Depends(check)


@router.get("/me")
async def me(current: Current) -> CurrentUser:
    return current


class UserShown(BaseModel):
    id: int
    name: str
    department: str
    roles: list[str]


@router.get("/users", dependencies=[allowed("users:read")])
async def users(db: Db, offset: int = 0, limit: int = 20) -> list[UserShown]:
    """One statement for the page; what its users refer to comes from the caches."""
    page = await db[Users].page(
        order_by=[User.name], offset=offset, limit=limit, load=[User.department, User.roles]
    )
    return [
        UserShown(
            id=user.id, name=user.name, department=user.department.name, roles=names(user.roles)
        )
        for user in page
    ]


class UserChange(BaseModel):
    name: str | None = None
    department_id: int | None = None


@router.patch("/users/{id}", dependencies=[allowed("users:write")])
async def change_user(id: int, change: UserChange, work: Work) -> None:
    user = await work[Users].require(id)
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(user, name, value)


Ids = Annotated[list[int], Body()]


@router.put("/users/{id}/roles", dependencies=[allowed("users:write")])
async def give_roles(id: int, roles: Ids, work: Work) -> None:
    user = await work[Users].require(id, load=[User.roles])
    user.roles = list((await work[Roles].get_many(roles)).values())


@router.put("/users/{id}/positions", dependencies=[allowed("users:write")])
async def give_positions(id: int, positions: Ids, work: Work) -> None:
    user = await work[Users].require(id, load=[User.positions])
    user.positions = list((await work[Positions].get_many(positions)).values())


@router.put("/roles/{id}/menus", dependencies=[allowed("roles:write")])
async def show_menus(id: int, menus: Ids, work: Work) -> None:
    role = await work[Roles].require(id, load=[Role.menus])
    role.menus = list((await work[Menus].get_many(menus)).values())


@router.put("/roles/{id}/departments", dependencies=[allowed("roles:write")])
async def show_departments(id: int, departments: Ids, work: Work) -> None:
    role = await work[Roles].require(id, load=[Role.departments])
    role.departments = list((await work[Departments].get_many(departments)).values())


class MenuChange(BaseModel):
    name: str | None = None
    permission: str | None = None


@router.patch("/menus/{id}", dependencies=[allowed("menus:write")])
async def change_menu(id: int, change: MenuChange, work: Work) -> None:
    menu = await work[Menus].require(id)
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(menu, name, value)


@router.patch("/{kind}/{id}", dependencies=[allowed("names:write")])
async def rename(
    kind: Literal["roles", "departments", "positions"],
    id: int,
    name: Annotated[str, Body(embed=True)],
    work: Work,
) -> None:
    if kind == "roles":
        (await work[Roles].require(id)).name = name
    elif kind == "departments":
        (await work[Departments].require(id)).name = name
    else:
        (await work[Positions].require(id)).name = name


async def not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=404)


def make_app(db: Database, secret: str) -> FastAPI:
    app = FastAPI(title="Admin", lifespan=lifespan(db))
    app.state.tokens = tokens(secret)
    app.add_middleware(CausalMiddleware, db=db)
    app.add_exception_handler(NotFound, not_found)
    app.include_router(router)
    return app


def from_env() -> FastAPI:
    """`ADMIN_SECRET`, and for the database `ADMIN_DB_PRIMARY`, `ADMIN_DB_REPLICAS`,
    `ADMIN_DB_REDIS` and more, as docs/settings.md says."""
    db = Database.from_env("ADMIN_DB_", repositories=REPOSITORIES)
    return make_app(db, os.environ["ADMIN_SECRET"])
