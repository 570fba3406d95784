"""By hand: each way to a header, and to who asks, is told; and nothing else is changed by it."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, MutableMapping
from operator import eq, lt
from typing import Any

import pytest
from starlette.datastructures import Headers, MutableHeaders

from repocache.http.asgi import values_of
from repocache.http.caching.watched import (
    WatchedScope,
    hidden,
)
from tests.web.serving import scope as made_scope

LINES = [
    (b"host", b"shop"),
    (b"accept-language", b"de, en;q=0.5"),
    (b"cookie", b"sid=1"),
    (b"authorization", b"Bearer t"),
    (b"x-age", b"12"),
]


def watched(**more: Any) -> WatchedScope:
    return WatchedScope(made_scope(headers=LINES, **more))


HEADERS: dict[str, tuple[Callable[[Any], object], set[str]]] = {
    "compared": (lambda lines: [v for n, v in lines if n == b"cookie"], {"cookie"}),
    "the other way": (lambda lines: [v for n, v in lines if eq(b"cookie", n)], {"cookie"}),
    "capitals": (lambda lines: [v for n, v in lines if n.lower() == b"Cookie"], {"cookie"}),
    "unequal": (lambda lines: [v for n, v in lines if n != b"x-no"], {"x-no"}),
    "text": (lambda lines: [v for n, v in lines if n.decode() == "x-no"], {"x-no"}),
    "lower text": (lambda lines: [1 for n, _ in lines if n.decode().lower() == "x-no"], {"x-no"}),
    "a tuple": (lambda lines: [1 for n, _ in lines if n in (b"a", b"b")], {"a", "b"}),
    "a set": (lambda lines: [1 for n, _ in lines if n in {b"cookie", b"a"}], {"cookie", "*"}),
    "a dict": (lambda lines: dict(lines).get(b"x-no"), {"*"}),
    "a dict of texts": (lambda lines: {n.decode(): 1 for n, _ in lines}, {"*"}),
    "a prefix": (lambda lines: [1 for n, _ in lines if n.startswith(b"x-")], {"*"}),
    "a text's prefix": (lambda lines: [1 for n, _ in lines if n.decode()[:2] == "x-"], {"*"}),
    "a part": (lambda lines: [1 for n, _ in lines if b"x" in n], {"*"}),
    "CGI": (lambda lines: [n.decode().upper().replace("-", "_") for n, _ in lines], {"*"}),
    "formatted": (lambda lines: [f"{n.decode()}" for n, _ in lines], {"*"}),
    "counted": (len, set()),
    "ours": (lambda lines: list(values_of({"headers": lines}, "X-Age")), {"x-age"}),
    "Headers": (lambda lines: Headers(raw=lines).get("X-No"), {"x-no"}),
    "mutable": (lambda lines: MutableHeaders(raw=list(lines)).update({"X-No": "1"}), {"x-no"}),
}


@pytest.mark.parametrize("way", HEADERS)
def test_names_tell_what_was_sought(way: str) -> None:
    look, expected = HEADERS[way]
    scope = watched()
    plain = look(LINES)
    found, noted = look(scope["headers"]), scope.looked
    assert found == plain, "as with bytes"
    assert noted == expected


READS: dict[str, Callable[[bytes], object]] = {
    "decode": lambda value: value.decode(),
    "text": lambda value: str(value)[:3],
    "split": lambda value: value.split(b","),
    "partition": lambda value: value.partition(b"="),
    "strip": lambda value: value.strip(),
    "find": lambda value: value.find(b"1"),
    "startswith": lambda value: value.startswith(b"1"),
    "equal": lambda value: value == b"12",
    "equal to it": lambda value: eq(b"12", value),
    "unequal": lambda value: value != b"12",
    "less": lambda value: value < b"13",
    "more": lambda value: lt(b"11", value),
    "iterated": list,
    "a byte": lambda value: value[0],
    "a slice": lambda value: value[:1],
    "in": lambda value: b"1" in value,
    "bytes": bytes,
    "hash": lambda value: {value: 1}[b"12"],
    "length": len,
    "truth": bool,
    "sum": lambda value: value + b"",
    "sum behind": lambda value: b"" + value,
    "repeated": lambda value: value * 2,
    "shown": repr,
    "formatted": lambda value: f"{value!r}",
    "template": lambda value: value % (),
    "int": int,
    "float": float,
    "hex": lambda value: value.hex(),
    "copied": lambda value: copy.copy(value).decode(),
    "copied deeply": copy.deepcopy,
    "pickled": lambda value: value.__reduce_ex__(4) and value,
}


@pytest.mark.parametrize("way", READS)
def test_a_value_that_is_read_is_told(way: str) -> None:
    scope = watched()
    value: object = scope["headers"][-1][1]
    assert isinstance(value, bytes)
    assert not any(isinstance(value, kind) for kind in (str, int, bytearray))
    assert scope.looked == set()
    assert READS[way](value) == READS[way](b"12")
    assert scope.looked == {"x-age"}


@pytest.mark.parametrize(
    "read",
    [
        lambda value: str(value, "latin-1"),
        lambda value: b"".join([value]),
        lambda value: re.fullmatch(rb"\d+", value),
        lambda value: hashlib.sha256(value).digest(),
        lambda value: memoryview(value).tobytes(),
    ],
)
def test_what_cannot_be_seen_is_not_broken(read: Callable[[bytes], Any]) -> None:
    """C code that reads the buffer: it has found the header without its name."""
    scope = watched()
    found, plain = read(scope["headers"][-1][1]), read(b"12")
    assert (found[0] if isinstance(found, re.Match) else found) == (
        plain[0] if isinstance(plain, re.Match) else plain
    )
    assert scope.looked == set()


SEEKS: dict[str, Callable[[MutableMapping[str, Any]], object]] = {
    "[]": lambda scope: scope["user"],
    "get": lambda scope: scope.get("user"),
    "in": lambda scope: "user" in scope,
    "not in": lambda scope: "user" not in scope,
    "pop": lambda scope: scope.pop("user"),
    "setdefault": lambda scope: scope.setdefault("user", 7),
    "items": lambda scope: sorted(scope.items(), key=str),
    "values": lambda scope: sorted(map(str, scope.values())),
    "equal": lambda scope: scope == {},
    "unequal": lambda scope: scope != {},
    "copy": lambda scope: scope.copy()["user"],  # type: ignore[attr-defined]
    "a copy's copy": lambda scope: scope.copy().copy().get("user"),  # type: ignore[attr-defined]
    "plain": lambda scope: dict(scope)["user"],
    "plain get": lambda scope: dict(scope).get("user"),
    "plain in": lambda scope: "user" in dict(scope),
    "starred": lambda scope: {**scope, "x": 1}["user"],
    "merged": lambda scope: (scope | {"x": 1})["user"],  # type: ignore[operator]
    "copied by copy": lambda scope: dict(copy.copy(dict(scope)))["user"],
    "copied deeply": lambda scope: copy.deepcopy(scope)["user"],
    "plainly and deeply": lambda scope: copy.deepcopy(dict(scope))["user"],
    "by its copy": lambda scope: copy.copy(scope)["user"],
    "by a loop": lambda scope: [scope[key] for key in scope if key == "user"],
    "put back": lambda scope: (scope.update(dict(scope)), scope["user"])[1],
}


@pytest.mark.parametrize("way", SEEKS)
def test_who_asks_is_told(way: str) -> None:
    plain, scope = {"user": "ada", "path": "/"}, WatchedScope({"user": "ada", "path": "/"})
    assert SEEKS[way](scope) == SEEKS[way](plain)
    assert scope.looked == {"scope:user"}


@pytest.mark.parametrize(
    "look",
    [
        lambda scope: scope["path"],
        lambda scope: dict(scope)["path"],
        lambda scope: {**scope},
        lambda scope: scope.copy(),
        list,
        len,
        lambda scope: scope.update({"path": "/x"}),
        lambda scope: scope.update(route=1, user=2),
        lambda scope: scope.__setitem__("user", 2),
        lambda scope: scope.setdefault("state", {}),
        lambda scope: (scope.update(user=2), scope["user"], dict(scope)["user"]),
        lambda scope: (scope.update(user=2), scope.copy()["user"]),
    ],
)
def test_who_asks_was_not_asked_for(look: Callable[[Any], object]) -> None:
    scope = WatchedScope({"user": "ada", "client": ("a", 1), "path": "/"})
    look(scope)
    assert scope.looked == set()


def test_absence_is_seen() -> None:
    scope = WatchedScope({"path": "/"})
    assert scope.get("user") is None
    assert "session" not in scope
    with pytest.raises(KeyError):
        scope["auth"]
    assert scope.looked == {"scope:user", "scope:session", "scope:auth"}


def test_without_headers_it_cannot_be_known() -> None:
    scope = WatchedScope(hidden(made_scope(headers=[(b"cookie", b"a=b")]), ("Cookie",)))
    assert Headers(scope=scope).get("accept") is None
    assert scope.looked == {"*"}


def test_a_scope_of_a_scope_tells_both() -> None:
    outer = watched(user="ada")
    inner = WatchedScope(outer)
    assert Headers(scope=inner)["x-age"] == "12"
    assert inner.looked == {"x-age"}
    assert "x-age" in outer.looked


def test_it_is_the_scope_to_whoever_reads() -> None:
    scope = watched(user="ada")
    assert isinstance(scope, dict)
    assert list(scope) == list(made_scope(user=1))
    assert json.loads(json.dumps({**scope, "headers": 0}))["user"] == "ada"
    assert [(bytes(n), bytes(v)) for n, v in scope["headers"]] == LINES
    assert dict(scope["headers"])[b"x-age"] == b"12"
    assert sorted(scope["headers"]) == sorted(LINES)
    assert Headers(scope=scope) == Headers(raw=list(LINES))


def test_the_requests_own_scope_is_left_alone() -> None:
    own = made_scope(headers=LINES, user="ada")
    scope = WatchedScope(hidden(own, ("cookie",)))
    scope["user"] = 7
    assert own["user"] == "ada"
    assert own["headers"] == LINES
    assert [type(part) for line in own["headers"] for part in line] == [bytes] * 10


def test_what_is_copied_deeply_is_plain_and_read() -> None:
    scope = watched(user="ada")
    made = copy.deepcopy(scope)
    assert (type(made), made["headers"]) == (dict, LINES)
    assert {type(part) for line in made["headers"] for part in line} == {bytes}
    assert {"*", "x-age", "cookie", "scope:user"} <= scope.looked


def test_what_another_makes_of_these_types_tells_nobody() -> None:
    scope = watched()
    name, value = scope["headers"][0]
    text = name.decode()
    assert type(value)(b"a").decode() == "a"
    assert type(name)(b"a") == b"a"
    assert type(text)("a") == "a"
    assert scope.looked == set()


def test_one_request_s_notes_are_its_own() -> None:
    first, second = watched(), watched()
    Headers(scope=first).get("cookie")
    assert first.looked == {"cookie"}
    assert second.looked == set()
