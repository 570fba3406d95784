"""What somebody outside has put into `request.state` for one request is no page's for all."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from repocache.http import HttpCache, Public
from repocache.http.caching.watched import WatchedScope, undeclared
from repocache.http.caching.watched_state import LifespanState, WatchedPart
from tests.pages.site import PAGE, Site

SHARED = object()
TENANTS = {"a": object(), "b": object()}
"""As a middleware keeps them: each request of a tenant comes with the same object."""


async def greeting(request: Request) -> PlainTextResponse:
    request.state.mine = "the application's own"
    assert request.state.mine
    return PlainTextResponse(f"hello {request.state.user}")


async def offer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("a" if request.state.tenant is TENANTS["a"] else "b")


async def lifespan_s(request: Request) -> PlainTextResponse:
    assert request.state.pool is SHARED
    return PlainTextResponse("hello")


async def filled_in(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.state.later}")


PATHS = {"/greeting": greeting, "/offer": offer, "/lifespan": lifespan_s, "/later": filled_in}


class Outside:
    """As a server that copies the lifespan's state, and a middleware that knows who asks."""

    def __init__(self, app: Any, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state

    async def start(self) -> None:
        """Its lifespan ends at once: nothing here needs it."""
        asked = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> Any:
            return {"type": next(asked)}

        async def send(message: Any) -> None:
            assert message["type"].endswith("complete"), message

        await self._app({"type": "lifespan", "state": self._state}, receive, send)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        names = dict(scope["headers"])
        who = names.get(b"x-who", b"a").decode()
        own = {"user": who, "tenant": TENANTS[who]}
        if who == "b":
            own["later"] = who
        await self._app({**scope, "state": {**self._state, **own}}, receive, send)


async def kept_for(
    site: Site, path: str, visitors: str, *, started: bool = True, policy: Public = PAGE
) -> list[str]:
    """What each of them is answered, and whether everybody might have it."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"pool": SHARED, "later": None}

    routes = [Route(each, endpoint) for each, endpoint in PATHS.items()]
    inner = Starlette(routes=routes, lifespan=lifespan)
    app = Outside(
        HttpCache(inner, site.shop.db, dict.fromkeys(PATHS, policy)),
        {"pool": SHARED, "later": None},
    )
    if started:
        await app.start()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answers = [await client.get(path, headers={"x-who": who}) for who in visitors]
    return [
        f"{each.text} {each.headers['cache-control'].partition(',')[0].strip()}" for each in answers
    ]


async def test_a_user_in_the_state_is_found(site: Site) -> None:
    found = await kept_for(site, "/greeting", "aba")
    assert found == ["hello a private", "hello b private", "hello a private"]


async def test_what_the_policy_sees_makes_nothing_private(site: Site) -> None:
    """Who vouches for it is believed: here wrongly, so that the page of one is another's, until
    the policy is mended."""
    policy = replace(PAGE, sees=("scope:state.user",))
    found = await kept_for(site, "/greeting", "ab", policy=policy)
    assert found == ["hello a public", "hello a public"]
    policy = replace(PAGE, sees=("scope:state.USER", "scope:user"))
    found = await kept_for(site, "/greeting", "ab", policy=policy)
    assert found == ["hello a private", "hello b private"]


async def test_an_object_that_comes_with_each_request_of_a_tenant_is_his(site: Site) -> None:
    """It was there each time before: nobody else had asked."""
    assert await kept_for(site, "/offer", "aaab") == [*["a private"] * 3, "b private"]


async def test_a_place_that_is_filled_later_is_the_request_s(site: Site) -> None:
    assert await kept_for(site, "/later", "aab") == [*["None private"] * 2, "b private"]


async def test_the_lifespan_s_state_is_the_same_for_all(site: Site) -> None:
    found = await kept_for(site, "/lifespan", "aba")
    assert [each.split()[1] for each in found] == ["public"] * 3


async def test_without_a_lifespan_all_that_comes_is_the_request_s(site: Site) -> None:
    found = await kept_for(site, "/lifespan", "aa", started=False)
    assert [each.split()[1] for each in found] == ["private"] * 2


@pytest.mark.parametrize(
    "read",
    [
        lambda state: state["user"],
        lambda state: "user" in state,
        lambda state: state.get("user"),
        lambda state: state.setdefault("user", 1),
        lambda state: state.pop("user"),
        lambda state: state.popitem(),
        list,
        lambda state: list(reversed(state)),
        lambda state: state.keys(),
        lambda state: state.items(),
        lambda state: state.values(),
        dict,
        lambda state: {**state},
        lambda state: state | {},
        lambda state: {} | state,
        lambda state: state.copy(),
        copy.copy,
        copy.deepcopy,
        repr,
        lambda state: state == {},
        lambda state: state != {},
    ],
)
def test_each_way_to_read_it_is_noted(read: Callable[[WatchedPart], object]) -> None:
    noted: set[str] = set()
    read(WatchedPart("state", {"user": "ada"}, {"user"}, noted.add))
    assert noted == {"scope:state.user"}


@pytest.mark.parametrize(
    "write",
    [
        lambda state: state.__setitem__("user", 1),
        lambda state: state.update(user=1),
        lambda state: state.__ior__({"user": 1}),
    ],
)
def test_what_the_application_puts_there_is_its_own(write: Callable[[Any], object]) -> None:
    noted: set[str] = set()
    state = WatchedPart("state", {"user": "ada"}, {"user"}, noted.add)
    write(state)
    assert (state["user"], noted) == (1, set())


def test_a_value_of_the_lifespan_s_that_was_replaced_once_is_a_request_s() -> None:
    state = LifespanState()
    state.begins({"tenant": 1})
    own = [state.own_keys({"tenant": tenant}) for tenant in (1, 2, 1)]
    assert own == [frozenset(), {"tenant"}, {"tenant"}]


@pytest.mark.parametrize(
    "read, noted",
    [
        (lambda scope: scope["extensions"], set()),
        (lambda scope: scope["extensions"].get("http.response.pathsend"), set()),
        (lambda scope: scope["extensions"]["tls"]["client_cert_name"], {"scope:extensions.tls"}),
        (lambda scope: dict(scope["extensions"]), {"scope:extensions.tls"}),
    ],
)
def test_who_looks_at_a_clients_certificate_depends_on_it(
    read: Callable[[Any], object], noted: set[str]
) -> None:
    extensions = {"tls": {"client_cert_name": "CN=ada"}, "http.response.pathsend": {}}
    scope = WatchedScope({"type": "http", "headers": [], "extensions": extensions})
    scope.watch_parts(LifespanState())
    read(scope)
    assert scope.looked == noted
    assert undeclared(Public(max_age=1), noted) == noted
    assert not undeclared(Public(max_age=1, sees=("scope:extensions.tls",)), noted)
