"""Which policy a path has, and which has none."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Match, Route

from repocache import ConfigurationError
from repocache.http import NoStore, Private, Public, Routes
from repocache.http.caching.paths import LONGEST, is_plain
from tests.fuzzing import examples

DEFAULT = Private(no_cache=True)


def numbered(*templates: str) -> Mapping[str, Public]:
    """A policy of its own for each."""
    return {template: Public(max_age=at) for at, template in enumerate(templates, 1)}


def request(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, **more}


def found(routes: Routes, path: str) -> str | None:
    """The template whose policy it is."""
    policy = routes.of(request(path))
    return next((template for template, each in routes if each == policy), None)


@pytest.mark.parametrize(
    "path, template",
    [
        ("/", "/"),
        ("/a/b/c", "/a/b/{y}"),
        ("/a/x/c", "/a/{x}/c"),
        ("/a/x/d", None),
        ("/n/7", "/n/{n:int}"),
        ("/n/7.5", "/n/{n:float}"),
        ("/n/12345678-1234-1234-1234-123456789abc", "/n/{n:uuid}"),
        ("/n/x", "/n/{n}"),
        ("/n/", "/n/{n:path}"),
        ("/n", None),
        ("/n/x/y", "/n/{n:path}"),
        ("/n/7/y", "/n/{n:path}"),
        ("/m/new", "/m/new"),
        ("/m/new/x", None),
        ("/m/\u0661", "/m/{id}"),
        ("/n/\u0661", "/n/{n}"),
    ],
)
def test_the_most_specific_counts(path: str, template: str | None) -> None:
    templates = [
        "/n/{n:path}",
        "/n/{n}",
        "/n/{n:float}",
        "/n/{n:uuid}",
        "/n/{n:int}",
        "/a/{x}/c",
        "/a/b/{y}",
        "/m/{id}",
        "/m/new",
        "/",
    ]
    assert found(Routes(numbered(*templates)), path) == template
    assert found(Routes(numbered(*reversed(templates))), path) == template, "in any order"


def test_what_is_more_specific_later_is_tried_again() -> None:
    routes = Routes(numbered("/a/b/c", "/a/{x}/d", "/{p:path}"))
    assert found(routes, "/a/b/d") == "/a/{x}/d"
    assert found(routes, "/a/b/e") == "/{p:path}"
    assert [template for template, _ in routes] == ["/a/b/c", "/a/{x}/d", "/{p:path}"]


@pytest.mark.parametrize(
    "templates",
    [
        ("/a/{x}", "/a/{y}"),
        ("/a/{x:str}", "/a/{y}"),
        ("/a/{x:path}", "/a/{y:path}"),
        ("/a/{x:int}/b", "/a/{y:int}/b"),
    ],
)
def test_two_that_fit_the_same_paths(templates: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="fits the same paths"):
        Routes(numbered(*templates))


@pytest.mark.parametrize(
    "template",
    [
        "",
        "a",
        7,
        "/a//b",
        "//",
        "/a/{x",
        "/a/x}",
        "/a/{x}.json",
        "/a/{x}{y}",
        "/{x}/{x}",
        "/{x:path}/b",
        "/{x:slug}",
        "/{7}",
        "/a/../b",
        "/a;b",
        "/a%2fb",
        "/a?b",
        "/a#b",
        "/a\\b",
        "/a\n",
    ],
)
def test_what_is_no_template(template: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Routes\("):
        Routes({template: Public(max_age=1)})


def test_what_is_no_policy() -> None:
    with pytest.raises(ConfigurationError, match=r"'/a': 'public'"):
        Routes({"/a": "public"})  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match="give a mapping"):
        Routes(["/a"])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="default"):
        Routes({}, default=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="not for everybody"):
        Routes({}, default=Public(max_age=1))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", "QUERY", None])
def test_other_methods_are_not_stored(method: Any) -> None:
    routes = Routes(numbered("/a"), default=Private(max_age=9))
    assert routes.of(request("/a", method)) == NoStore()


def test_head_is_as_get() -> None:
    routes = Routes(numbered("/a"))
    assert routes.of(request("/a", "HEAD")) == Public(max_age=1)


def test_a_mount_s_path_is_the_whole() -> None:
    routes = Routes(numbered("/api/a"))
    assert routes.of(request("/api/a", root_path="/api")) == Public(max_age=1)
    assert routes.of(request("/a", root_path="")) == DEFAULT


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "*",
        "/a//",
        "/./a",
        "/a/..",
        "/a\\b",
        "/a;b",
        "/a%41",
        "/a?b",
        "/a#b",
        "/a\x00",
        "/a\x7f",
        "/a\x85",
        "/a\u2028",
        "/a\u202e",
        "/a\ufffd",
        "/a\uff0fb",
        "/a/\uff0e\uff0e",
        "/cafe\u0301",
        "/" + "a" * LONGEST,
        b"/a",
        None,
    ],
)
def test_a_path_that_others_read_otherwise_has_the_default(path: Any) -> None:
    """Without the raw path, too, which a server may leave out."""
    assert Routes(numbered("/{p:path}")).of(request(path)) == DEFAULT


@pytest.mark.parametrize(
    "path, raw",
    [
        ("/a", b"/b"),
        ("/a", b"/%61"),
        ("/a", b"/a?x"),
        ("/a", b""),
        ("/caf\xe9", b"/caf\xe9"),
        ("/caf\xe9", "/café".encode()),
        ("/caf\xe9", b"/caf%E9"),
        ("/a", b"/a%"),
        ("/a", b"/" + b"%41" * 10_000),
    ],
)
def test_the_raw_path_says_otherwise(path: str, raw: bytes) -> None:
    assert Routes(numbered("/{p:path}")).of(request(path, raw_path=raw)) == DEFAULT


@pytest.mark.parametrize("path, raw", [("/a@b", b"/a%40b"), ("/a:b", b"/a:b"), ("/ü", b"/%C3%BC")])
def test_what_has_to_be_encoded_may_be(path: str, raw: bytes) -> None:
    assert is_plain(request(path, raw_path=raw))


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=20), st.one_of(st.none(), st.binary(max_size=20)))
def test_whatever_path_comes_is_no_error(path: str, raw: bytes | None) -> None:
    """And what is plain has one reading: encoded again and decoded, it is the same."""
    scope = request("/" + path, raw_path=raw)
    policy = Routes({"/{p:path}": Public(max_age=1)}).of(scope)
    assert policy in (DEFAULT, Public(max_age=1))
    if policy != DEFAULT:
        assert unquote(quote("/" + path)) == posixpath.normpath("/" + path).rstrip("/") + (
            "/" if path.endswith("/") or not path else ""
        )


SEGMENT = st.sampled_from(["a", "b", "7", "7.5", "", ".", "x;y", "{x}"])


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(SEGMENT, max_size=5))
def test_starlette_s_router_agrees(segments: list[str]) -> None:
    """What a template fits, a route of it fits, and the other way round for plain paths."""
    path = "/" + "/".join(segments)
    for template in ("/a/{x}", "/a/{n:int}", "/a/{n:float}/b", "/a/{p:path}", "/{p:path}"):
        ours = Routes({template: Public(max_age=1)}).of(request(path)) == Public(max_age=1)
        route = Route(template, lambda request: None)
        theirs = route.matches({**request(path), "path_params": {}})[0] is Match.FULL
        assert ours == (theirs and is_plain(request(path)))


def test_many_templates_are_walked_once() -> None:
    """No path makes the work grow beyond the templates: literals and parameters that all fit."""
    deep = {}
    for mask in range(2**8):
        path = "".join("/a" if mask >> bit & 1 else f"/{{p{bit}}}" for bit in range(8))
        deep[path + "/end"] = Public(max_age=mask)
    assert Routes(deep).of(request("/a" * 8 + "/other")) == DEFAULT
    assert Routes(deep).of(request("/a" * 8 + "/end")) == Public(max_age=255)
