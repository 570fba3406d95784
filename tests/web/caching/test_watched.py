"""What an application looked at: FastAPI, Starlette, and by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from fastapi import Cookie, Depends, FastAPI, Header, Request
from fastapi.security import (
    APIKeyCookie,
    HTTPAuthorizationCredentials,
    HTTPBearer,
    OAuth2PasswordBearer,
)
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from repocache.http import NoStore, Private, Public, Scope
from repocache.http.asgi import App, Receive, Send
from repocache.http.caching.watched import (
    THE_BODY,
    WatchedScope,
    hidden,
    hidden_by,
    remedy,
    undeclared,
)
from tests.web.serving import client


class Watching:
    """Gives an application watched scopes, from which these headers are hidden."""

    def __init__(self, app: App, *hide: str, **outside: Any) -> None:
        self.app, self.hide, self.outside = app, hide, outside
        self.looked: frozenset[str] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watched = WatchedScope(hidden({**scope, **self.outside}, self.hide))
        try:
            await self.app(watched, receive, send)
        finally:
            self.looked = watched.looked


async def looked_at(app: Any, path: str = "/", *hide: str, **outside: Any) -> tuple[set[str], str]:
    """What the application looked at, and its answer."""
    watching = Watching(app, *hide, **outside)
    lines = {"Accept-Language": "de", "Cookie": "sid=1", "Authorization": "Bearer t"}
    async with client(watching, **lines) as browser:
        answer = await browser.get(path)
    return set(watching.looked), answer.text


def fast(endpoint: Callable[..., Any]) -> FastAPI:
    app = FastAPI()
    app.get("/")(endpoint)
    return app


async def nothing() -> str:
    return "x"


async def language(accept_language: Annotated[str | None, Header()] = None) -> str | None:
    return accept_language


async def absent(x_country: Annotated[str | None, Header()] = None) -> str | None:
    return x_country


async def a_cookie(sid: Annotated[str | None, Cookie()] = None) -> str | None:
    return sid


async def key_cookie(
    key: Annotated[str | None, Depends(APIKeyCookie(name="sid", auto_error=False))],
) -> str | None:
    return key


async def bearer(
    found: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> str | None:
    return found.credentials if found else None


async def oauth(
    found: Annotated[str | None, Depends(OAuth2PasswordBearer(tokenUrl="t", auto_error=False))],
) -> str | None:
    return found


async def own_url(request: Request) -> str:
    return str(request.url_for("own_url"))


async def its_client(request: Request) -> str:
    return request.client.host if request.client else ""


async def has_it(request: Request) -> bool:
    return "X-Country" in request.headers


async def all_of_them(request: Request) -> int:
    return len(dict(request.headers))


async def several(request: Request) -> list[str]:
    return request.headers.getlist("accept-language")


FOUND = {
    nothing: {"cookie"},
    language: {"accept-language"},
    absent: {"x-country"},
    a_cookie: {"cookie"},
    key_cookie: {"cookie"},
    bearer: {"authorization"},
    oauth: {"authorization"},
    own_url: {"host"},
    its_client: {"scope:client"},
    has_it: {"x-country"},
    several: {"accept-language"},
}


@pytest.mark.parametrize("endpoint", FOUND, ids=lambda each: each.__name__)
async def test_fastapi(endpoint: Callable[..., Any]) -> None:
    found, told = await looked_at(fast(endpoint))
    assert found - {"cookie"} == FOUND[endpoint] - {"cookie"}, "FastAPI reads cookies always"
    assert FOUND[endpoint] <= found
    plain = fast(endpoint)
    lines = {"Accept-Language": "de", "Cookie": "sid=1", "Authorization": "Bearer t"}
    async with client(plain, **lines) as browser:
        assert (await browser.get("/")).text == told, "it is answered as ever"


async def test_all_of_them() -> None:
    found, _ = await looked_at(fast(all_of_them))
    assert {"*", "host", "user-agent", "accept-language", "authorization"} <= found


@pytest.mark.parametrize("endpoint", [a_cookie, key_cookie, bearer, oauth])
async def test_what_is_hidden_is_not_there_and_is_noted(endpoint: Callable[..., Any]) -> None:
    found, told = await looked_at(fast(endpoint), "/", "Cookie", "AUTHORIZATION")
    assert told == "null"
    assert FOUND[endpoint] <= found


def star(endpoint: Callable[..., Any], *middleware: tuple[Any, dict[str, Any]]) -> Starlette:
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse(str(endpoint(request)))

    routes = [Route("/", answer), Mount("/m", routes=[Route("/x", answer, name="x")])]
    app = Starlette(routes=routes)
    for kind, options in middleware:
        app.add_middleware(kind, **options)
    return app


@pytest.mark.parametrize(
    "endpoint, expected",
    [
        (lambda request: "", set()),
        (lambda request: request.headers["accept-language"], {"accept-language"}),
        (lambda request: request.headers.get("X-No"), {"x-no"}),
        (lambda request: request.cookies, {"cookie"}),
        (lambda request: request.url, {"host"}),
        (lambda request: request.base_url, {"host"}),
        (lambda request: request.user, {"scope:user"}),
        (lambda request: request["user"], {"scope:user"}),
        (lambda request: request.session, {"scope:session"}),
        (lambda request: request.auth, {"scope:auth"}),
        (lambda request: request.client, {"scope:client"}),
        (lambda request: request.path_params, set()),
        (lambda request: request.query_params, set()),
        (lambda request: request.state, set()),
        (lambda request: request.method, set()),
    ],
)
@pytest.mark.parametrize("path", ["/", "/m/x"])
async def test_starlette(path: str, endpoint: Callable[..., Any], expected: set[str]) -> None:
    outside = {"user": "ada", "auth": "a", "session": {"a": 1}}
    found, _ = await looked_at(star(endpoint), path, **outside)
    assert found == expected


async def passed_on(request: Request, call_next: Callable[..., Awaitable[Any]]) -> Any:
    return await call_next(request)


class Authentication:
    async def authenticate(self, conn: Any) -> Any:
        if "Authorization" not in conn.headers:
            return None
        return AuthCredentials(["in"]), SimpleUser("ada")


@pytest.mark.parametrize(
    "middleware, expected",
    [
        ((BaseHTTPMiddleware, {"dispatch": passed_on}), set()),
        ((GZipMiddleware, {}), {"accept-encoding"}),
        ((CORSMiddleware, {"allow_origins": ["*"]}), {"origin"}),
        ((TrustedHostMiddleware, {"allowed_hosts": ["*"]}), set()),
        ((TrustedHostMiddleware, {"allowed_hosts": ["shop"]}), {"host"}),
        ((SessionMiddleware, {"secret_key": "k"}), {"cookie"}),
        ((AuthenticationMiddleware, {"backend": Authentication()}), {"authorization"}),
    ],
)
async def test_starlette_s_middleware(
    middleware: tuple[Any, dict[str, Any]], expected: set[str]
) -> None:
    """What the application puts into the scope itself it has made of what is noted."""
    assert (await looked_at(star(lambda request: "", middleware)))[0] == expected


async def test_the_applications_own_user_is_of_what_it_sought() -> None:
    inner = (AuthenticationMiddleware, {"backend": Authentication()})
    found, told = await looked_at(star(lambda request: request.user.display_name, inner))
    assert (found, told) == ({"authorization"}, "ada")
    found, told = await looked_at(star(lambda request: request.user.display_name, inner), user="b")
    assert (found, told) == ({"authorization"}, "ada")


LOOKED = {"cookie", "authorization", "accept", "x-id", "host", "scope:user", "*"}


@pytest.mark.parametrize(
    "policy, answered, left",
    [
        (Public(max_age=1), (), LOOKED - {"cookie", "host"}),
        (
            Public(max_age=1, vary=("Accept",), sees=("X-Id",)),
            (),
            {"authorization", "scope:user", "*"},
        ),
        (Public(max_age=1), ("accept",), {"authorization", "x-id", "scope:user", "*"}),
        (Public(max_age=1, sees=("Cookie",)), (), LOOKED - {"cookie", "host"}),
        (Public(max_age=1, sees=("Authorization",)), (), {"accept", "x-id", "scope:user", "*"}),
        (Private(max_age=1), (), {"accept", "x-id", "*"}),
        (NoStore(), ("accept",), {"x-id", "*"}),
    ],
)
def test_what_nobody_declared(policy: Any, answered: tuple[str, ...], left: set[str]) -> None:
    assert undeclared(policy, LOOKED, answered) == left


def test_parts_of_the_scope_are_declared_letter_by_letter() -> None:
    policy = Public(max_age=1, sees=("scope:client", "scope:state.tenantId", "X-ID"))
    assert not undeclared(policy, {"scope:client", "scope:state.tenantId", "x-id"})
    assert undeclared(policy, {"scope:state.tenantid"}) == {"scope:state.tenantid"}


@pytest.mark.parametrize(
    "left, said, unsaid",
    [
        (
            {"accept"},
            ["`vary`, or in `sees`", "Private("],
            ["no more than its URL", "by their names"],
        ),
        ({"scope:client"}, ["no more than its URL", "Private("], ["`vary`", "by their names"]),
        ({"*"}, ["by their names", "Private("], ["`vary`", "`sees`"]),
        ({"*", "scope:user"}, ["by their names", "URL"], ["`vary`"]),
        ({THE_BODY}, ["Private("], ["`vary`", "`sees`", "by their names"]),
        ({THE_BODY, "accept", "*", "scope:user"}, ["`vary`", "URL", "by their names"], []),
    ],
)
def test_only_what_helps_is_advised(left: set[str], said: list[str], unsaid: list[str]) -> None:
    text = remedy(left)
    assert all(each in text for each in said)
    assert not any(each in text for each in unsaid)


def test_what_a_policy_hides() -> None:
    assert hidden_by(Public(max_age=1)) == ("cookie", "authorization")
    assert hidden_by(Public(max_age=1, sees=("COOKIE",))) == ("authorization",)
    assert hidden_by(Private(max_age=1)) == hidden_by(NoStore()) == ()
