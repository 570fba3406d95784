"""FastAPI, 0.110 or later: the database's life, and dependencies that are units of work and
repositories.

FastAPI reads annotations here, so they are evaluated at once.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from fastapi import Depends, FastAPI, Request, Response
from fastapi.requests import HTTPConnection
from fastapi.routing import APIRoute

from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.repository.repository import Repository
from repocache.repository.work import UnitOfWork

R = TypeVar("R", bound=Repository[Any, Any])

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]
"""What `FastAPI(lifespan=...)` takes."""

_STATE = "repocache"
"""Where `lifespan` leaves the database: `app.state.repocache`."""
_WORKS = "repocache.works"
"""Where, in a request's scope, a `UnitOfWorkRoute` has the stack that ends its units of work."""
_ENDS_FIRST = "scope" in inspect.signature(Depends).parameters
"""Whether a dependency can say that it ends with its endpoint, before the response is sent (0.121).
Before 0.118 all did, but could not tell an endpoint that returned from one that was never called;
in between all ended after the response."""


def lifespan(db: Database, own: Lifespan | None = None) -> Lifespan:
    """`FastAPI(lifespan=lifespan(db))`: the database is entered and left with the application, and
    found by this module's dependencies. `own`: the application's own lifespan, within; what it
    yields is yielded."""

    @asynccontextmanager
    async def with_database(app: FastAPI) -> AsyncIterator[Mapping[str, Any] | None]:
        async with AsyncExitStack() as stack:
            setattr(app.state, _STATE, await stack.enter_async_context(db))
            stack.callback(delattr, app.state, _STATE)
            yield None if own is None else await stack.enter_async_context(own(app))

    return with_database


def database(connection: HTTPConnection) -> Database:
    """A dependency: the database of the application's `lifespan`. Raises ConfigurationError without
    one, as in an application that is mounted in another."""
    found = getattr(connection.app.state, _STATE, None)
    if not isinstance(found, Database):
        raise ConfigurationError(
            "this application has no database: give FastAPI(lifespan=lifespan(db)), and run its "
            "lifespan, or name the database: repository(Users, db=db), unit_of_work_on(db)"
        )
    return found


@dataclass(frozen=True)
class RepositoryDependency(Generic[R]):
    """See `repository`. Two of the same arguments are the same dependency."""

    of: type[R]
    db: Database | None = None

    def __call__(self, connection: HTTPConnection) -> Any:
        """FastAPI takes what it is annotated with for a field; who asks for it says its type."""
        return (self.db or database(connection))[self.of]


def repository(of: type[R], *, db: Database | None = None) -> RepositoryDependency[R]:
    """`users: Annotated[Users, Depends(repository(Users))]`: what `db[Users]` is, of the given
    database or of that of the application's `lifespan`. In tests:
    `app.dependency_overrides[repository(Users)] = lambda: ...`."""
    return RepositoryDependency(of, db)


def unit_of_work_on(db: Database | None) -> Callable[..., Awaitable[UnitOfWork]]:
    """As `unit_of_work`, on this database; None: on that of the application's `lifespan`. Each call
    makes another dependency: keep it."""

    async def scoped(connection: HTTPConnection) -> AsyncIterator[UnitOfWork]:
        async with _committed(db or database(connection)) as work:
            yield work

    async def routed(connection: HTTPConnection) -> UnitOfWork:
        stack = connection.scope.get(_WORKS)
        if stack is None:
            raise ConfigurationError(
                "in FastAPI before 0.121 a unit of work needs a route that commits it before the "
                "response: APIRouter(route_class=UnitOfWorkRoute), or app.router.route_class = "
                "UnitOfWorkRoute before the first route; or update FastAPI"
            )
        opened: UnitOfWork = await stack.enter_async_context(_committed(db or database(connection)))
        return opened

    # An endpoint that says `Depends(unit_of_work)` says nothing of when it ends: this does.
    inner: Any = Depends(scoped, scope="function") if _ENDS_FIRST else Depends(routed)

    async def unit_of_work(work: Annotated[UnitOfWork, inner]) -> UnitOfWork:
        return work

    return unit_of_work


unit_of_work = unit_of_work_on(None)
"""`work: Annotated[UnitOfWork, Depends(unit_of_work)]`: one transaction, shared by all of a
request's dependencies. It is committed when the endpoint has returned and its response is made,
before any of that is sent; rolled back if anything raises, HTTPException too. `await work.commit()`
and `await work.rollback()` end it at once. A commit that fails is raised as if by the endpoint:
exception handlers see it, and no answer says that it was done.

Before FastAPI 0.121 the route has to be a `UnitOfWorkRoute`; ConfigurationError is raised
otherwise."""


class UnitOfWorkRoute(APIRoute):
    """`APIRouter(route_class=UnitOfWorkRoute)`: for FastAPI before 0.121. Later it is an ordinary
    route."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if _ENDS_FIRST:
            return handle

        async def handle_and_commit(request: Request) -> Response:
            async with AsyncExitStack() as stack:
                request.scope[_WORKS] = stack
                return await handle(request)
            raise AssertionError  # the stack swallows nothing

        return handle_and_commit


@asynccontextmanager
async def _committed(db: Database) -> AsyncIterator[UnitOfWork]:
    """Leaving it by an exception rolls back."""
    async with db.unit_of_work() as work:
        yield work
        if not work.ended:
            await work.commit()
