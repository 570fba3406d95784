"""FastAPI: the commit precedes the answer, in whatever release is installed."""

import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute, APIRouter
from pydantic import BaseModel

from repocache import ConfigurationError, Database, UnitOfWork, UsageError
from repocache.fastapi import (
    UnitOfWorkRoute,
    database,
    lifespan,
    repository,
    unit_of_work,
    unit_of_work_on,
)
from repocache.http import CausalMiddleware
from repocache.testing import Servers
from tests.shop import Shop, User, Users, until
from tests.web.serving import client, pause

Work = Annotated[UnitOfWork, Depends(unit_of_work)]
TheUsers = Annotated[Users, Depends(repository(Users))]
ENDS_FIRST = "scope" in inspect.signature(Depends).parameters


class Renamed(BaseModel):
    name: str


class Conflict(Exception):
    pass


async def rename(work: UnitOfWork, id: int, name: str) -> User:
    user = await work[Users].require(id)
    user.name = name
    return user


async def audited(work: Work) -> None:
    """A dependency that writes, before the endpoint is called."""
    await rename(work, 8, "audited")


def make_app(  # noqa: C901  # endpoints, one after the other
    db: Database, route: type[APIRoute] = UnitOfWorkRoute
) -> FastAPI:
    app = FastAPI(lifespan=lifespan(db))
    app.router.route_class = route
    app.add_middleware(CausalMiddleware, db=db)

    @app.exception_handler(Conflict)
    async def conflict(request: Request, error: Conflict) -> JSONResponse:
        return JSONResponse({"conflict": str(error)}, status_code=409)

    @app.get("/users/{id}")
    async def read(id: int, users: TheUsers) -> Renamed:
        return Renamed(name=(await users.find(User.id == id))[0].name)

    @app.put("/users/{id}")
    async def write(id: int, renamed: Renamed, work: Work) -> Renamed:
        return Renamed(name=(await rename(work, id, renamed.name)).name)

    @app.put("/audited/{id}", dependencies=[Depends(audited)])
    async def write_audited(id: int, renamed: Renamed, work: Work) -> Renamed:
        return Renamed(name=(await rename(work, id, renamed.name)).name)

    @app.put("/fails/{how}")
    async def fail(how: str, work: Work) -> Any:
        await rename(work, 7, "never")
        if how == "http":
            raise HTTPException(403, "no")
        if how == "handled":
            raise Conflict("raised")
        if how == "model":
            return JSONResponse({"said": "no"}, status_code=400)
        if how == "rollback":
            await work.rollback()
            return "rolled back"
        raise ZeroDivisionError

    @app.put("/wrong-answer", response_model=Renamed)
    async def answer_wrongly(work: Work) -> Any:
        await rename(work, 7, "never")
        return {"no": "name"}

    @app.put("/commits/{how}")
    async def commit(how: str, work: Work) -> str:
        await rename(work, 7, how)
        if how == "at-once":
            await work.commit()
            return "done"

        async def refuse() -> None:
            if how == "handled":
                raise Conflict("at commit")
            raise ZeroDivisionError

        work.before_commit(refuse)
        return "done"

    @app.put("/stream")
    async def stream(work: Work) -> StreamingResponse:
        await rename(work, 7, "streamed")

        async def body() -> AsyncIterator[bytes]:
            with pytest.raises(UsageError, match="committed"):
                _ = work.session
            yield b"too late"

        return StreamingResponse(body())

    return app


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """As a server would: its lifespan, and an error that nobody handles is a 500."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://shop") as browser,
    ):
        yield browser


@pytest.fixture
async def left(shop: Shop) -> AsyncIterator[Database]:
    """The shop's database, to be entered by an application."""
    await shop.db.__aexit__(None, None, None)
    yield shop.db
    await shop.db.__aenter__()


async def name_of(db: Database, id: int = 7) -> str:
    return (await db[Users].on_primary().require(id)).name


async def test_the_commit_precedes_the_answer(
    repocache_controls: Servers, left: Database, shop: Shop
) -> None:
    """Its bookmark goes with the answer, which it could not if it came later."""
    async with serving(make_app(left)) as browser:
        await until(lambda: not any(node.out for node in left.nodes), "all are in the rotation")
        await pause(repocache_controls)
        written = await browser.put("/users/7", json={"name": "Ada"})
        assert (written.status_code, written.json()) == (200, {"name": "Ada"})
        carried = {"bookmark": written.headers["bookmark"]}
        assert (await browser.get("/users/7", headers=carried)).json() == {"name": "Ada"}
        assert (await browser.get("/users/7")).json() == {"name": "n07"}


async def test_nothing_is_sent_before_the_commit(left: Database) -> None:
    app, log = make_app(left), []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def note(message: Any) -> None:
            log.append((message["type"], await name_of(left)))
            await send(message)

        await app(scope, receive, note)

    async with serving(app), client(watched) as browser:
        await browser.put("/users/7", json={"name": "Ada"})
        await browser.put("/stream")
    assert [name for _, name in log[:2]] == ["Ada", "Ada"]
    assert {name for _, name in log[2:]} == {"streamed"}


@pytest.mark.parametrize(
    "path, status",
    [
        ("/fails/http", 403),
        ("/fails/handled", 409),
        ("/fails/raised", 500),
        ("/fails/rollback", 200),
        ("/wrong-answer", 500),
        ("/commits/handled", 409),
        ("/commits/raised", 500),
    ],
)
async def test_what_fails_is_rolled_back_and_no_success(
    left: Database, path: str, status: int
) -> None:
    async with serving(make_app(left)) as browser:
        answer = await browser.put(path)
        assert answer.status_code == status
        assert "bookmark" not in answer.headers
        assert await name_of(left) == "n07"


async def test_an_endpoint_that_is_never_called_commits_nothing(left: Database) -> None:
    async with serving(make_app(left)) as browser:
        refused = await browser.put("/audited/7", json={"no": "name"})
        assert refused.status_code == 422
        assert await name_of(left, 8) == "n08"
        await browser.put("/audited/7", json={"name": "Ada"})
        assert (await name_of(left), await name_of(left, 8)) == ("Ada", "audited")


@pytest.mark.parametrize("path, name", [("/commits/at-once", "at-once"), ("/fails/model", "never")])
async def test_who_returns_has_committed(left: Database, path: str, name: str) -> None:
    """Also with a response that says otherwise."""
    async with serving(make_app(left)) as browser:
        await browser.put(path)
        assert await name_of(left) == name


async def test_a_plain_route_is_refused_where_it_would_commit_too_late(left: Database) -> None:
    app = make_app(left, APIRoute)
    async with serving(app) as browser:
        written = await browser.put("/users/7", json={"name": "Ada"})
        assert written.status_code == (200 if ENDS_FIRST else 500)
        assert await name_of(left) == ("Ada" if ENDS_FIRST else "n07")
    if not ENDS_FIRST:
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="https://shop") as browser,
        ):
            with pytest.raises(ConfigurationError, match="UnitOfWorkRoute"):
                await browser.put("/users/7", json={"name": "Ada"})


async def test_dependencies_are_overridden(left: Database) -> None:
    class Fake:
        name = "fake"

        async def find(self, *_: Any) -> list[Any]:
            return [self]

        async def require(self, id: int) -> Any:
            return self

        def __getitem__(self, _: Any) -> Any:
            return self

    app = make_app(left)
    app.dependency_overrides[repository(Users)] = Fake
    app.dependency_overrides[unit_of_work] = Fake
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop") as browser:
        app.user_middleware.clear()
        app.middleware_stack = None
        assert (await browser.get("/users/7")).json() == {"name": "fake"}
        assert (await browser.put("/users/7", json={"name": "Ada"})).json() == {"name": "Ada"}


async def test_the_database_is_named_or_found(shop: Shop) -> None:
    """An application without a lifespan, or mounted in another, names it."""
    app, work_on = FastAPI(), unit_of_work_on(shop.db)
    app.router.route_class = UnitOfWorkRoute

    @app.get("/{id}")
    async def read(id: int, users: Annotated[Users, Depends(repository(Users, db=shop.db))]) -> str:
        return (await users.require(id)).name

    @app.put("/{id}")
    async def write(
        id: int, name: Annotated[str, Body()], work: Annotated[UnitOfWork, Depends(work_on)]
    ) -> None:
        await rename(work, id, name)

    @app.get("/lost/{id}")
    async def lost(id: int, users: TheUsers) -> None: ...

    async with client(app) as browser:
        assert (await browser.put("/7", json="Ada")).status_code == 200
        assert (await browser.get("/7")).json() == "Ada"
        with pytest.raises(ConfigurationError, match="lifespan"):
            await browser.get("/lost/7")


async def test_the_applications_own_lifespan_is_within(left: Database) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        assert (await left[Users].require(7)).name == "n07"
        log.append("up")
        yield {"own": 1}
        assert (await left[Users].require(7)).name == "n07"
        log.append("down")

    app = FastAPI(lifespan=lifespan(left, own))
    async with app.router.lifespan_context(app) as state:
        assert state == {"own": 1}
        assert app.state.repocache is left
    assert log == ["up", "down"]
    assert not hasattr(app.state, "repocache")


async def test_routers_and_the_database_itself(left: Database) -> None:
    router = APIRouter(route_class=UnitOfWorkRoute, prefix="/v1")

    @router.put("/{id}")
    async def write(
        id: int, work: Work, again: Work, db: Annotated[Database, Depends(database)]
    ) -> bool:
        assert db is left
        await rename(work, id, "Ada")
        return work is again

    app = FastAPI(lifespan=lifespan(left))
    app.include_router(router)
    async with serving(app) as browser:
        assert (await browser.put("/v1/7")).json() is True
        assert await name_of(left) == "Ada"
