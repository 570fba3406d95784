"""The application: `uvicorn --factory examples.conduit.app:from_env`."""

from __future__ import annotations

import os

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError

from examples.conduit import articles, users
from examples.conduit.auth import Tokens
from examples.conduit.repositories import REPOSITORIES
from repocache import Database, NotFound
from repocache.fastapi import lifespan
from repocache.http import CausalMiddleware


async def not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"errors": {"body": [str(error)]}}, status_code=404)


async def taken(request: Request, error: Exception) -> JSONResponse:
    """A unique constraint has the last word, at the flush or at the commit."""
    return JSONResponse({"errors": {"body": ["has already been taken"]}}, status_code=422)


def make_app(db: Database, secret: str) -> FastAPI:
    app = FastAPI(title="Conduit", lifespan=lifespan(db))
    app.state.tokens = Tokens(secret)
    app.add_middleware(CausalMiddleware, db=db)
    app.add_exception_handler(NotFound, not_found)
    app.add_exception_handler(IntegrityError, taken)
    api = APIRouter(prefix="/api")
    api.include_router(users.router)
    api.include_router(articles.router)
    app.include_router(api)
    return app


def from_env() -> FastAPI:
    """`CONDUIT_SECRET`, and for the database `CONDUIT_DB_PRIMARY`, `CONDUIT_DB_REPLICAS`,
    `CONDUIT_DB_REDIS` and more, as docs/settings.md says."""
    db = Database.from_env("CONDUIT_DB_", repositories=REPOSITORIES)
    return make_app(db, os.environ["CONDUIT_SECRET"])
