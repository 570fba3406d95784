"""What an application looked at, so that what its answer depends on, and nobody declared, is
found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from repocache.http.asgi import HeaderLine, Message, Scope
from repocache.http.caching.noting import (
    ANY,
    ASKERS,
    Note,
    NotingKey,
    noting_key,
    noting_name,
    noting_value,
)
from repocache.http.caching.policy import Public, RoutePolicy
from repocache.http.caching.watched_mapping import WatchedMapping
from repocache.http.caching.watched_state import LifespanState, WatchedPart

CREDENTIALS = ("cookie", "authorization")
"""Headers that say who asks."""
OF_THE_URL = frozenset({"host"})
"""Headers that every cache has in its keys."""
TLS = "tls"
"""The extension that has a client's certificate."""
THE_BODY = "the request's body"
"""What no cache has in its keys (RFC 9110, 9.3.1), and no header is called."""


class WatchedScope(WatchedMapping):
    """A copy of an HTTP scope, to be given to an application: the same to whatever reads it.

    `looked`: what was looked at, until now. A header by its name in lower case, whether the request
    has it or not; `scope:user`, `scope:auth`, `scope:session`, `scope:client`, as they came from
    outside: what the application puts there itself it has made of what is noted; `scope:state.user`
    and `scope:extensions.tls` after `watch_parts`. `*`: headers were looked at in a way that any
    could have answered, as `dict(scope["headers"])`, a prefix, or names in a set; of a request
    without headers nothing but this can be known. `THE_BODY`: the request's body was received, and
    is not empty.

    Plain copies, `dict(scope)` and `{**scope}`, are watched as the scope itself is. Not seen is C
    code that reads a buffer and calls no method, as `str(value, "latin-1")`, `b"".join(...)`,
    `re.match(pattern, value)`, of a header that was found by its place and not by its name: who
    compares names is noted for that. Nor is what the application remembers of another request.
    """

    def __init__(self, scope: Scope, noted: set[str] | None = None) -> None:
        """`noted`: what else is added to, of the scope that this is a copy of."""
        super().__init__()
        self._noted: set[str] = set() if noted is None else noted
        note: Note = self._noted.add
        self._keys = {key: noting_key(key, note) for key in ASKERS}
        self._own: set[str] = set()
        for key, value in scope.items():
            plain = str.__str__(key)
            if plain == "headers":
                dict.__setitem__(self, plain, _watched_lines(value, note))
            else:
                dict.__setitem__(self, self._keys.get(plain, plain), value)

    @property
    def looked(self) -> frozenset[str]:
        return frozenset(self._noted)

    def watch_parts(self, lifespan: LifespanState) -> None:
        """What is there for this request alone, as somebody outside has put it there, is noted when
        it is read. `lifespan`: of this application."""
        state, extensions = dict.get(self, "state"), dict.get(self, "extensions")
        if isinstance(state, MutableMapping):
            self._watch("state", state, lifespan.own_keys(state))
        if isinstance(extensions, Mapping) and TLS in extensions:
            self._watch("extensions", extensions, (TLS,))

    def _watch(self, name: str, part: Mapping[str, Any], own: Iterable[str]) -> None:
        dict.__setitem__(self, name, WatchedPart(name, part, own, self._noted.add))

    def was_given(self, message: Message) -> None:
        """The application has received this of the request."""
        if message.get("body"):
            self._noted.add(THE_BODY)

    def _seek(self, key: object) -> None:
        """Noted whether it is there or not."""
        if isinstance(key, str) and key in self._keys and key not in self._own:
            self._noted.add(f"scope:{key}")
        elif key == "headers" and not dict.get(self, "headers"):
            self._noted.add(ANY)

    def _seek_all(self) -> None:
        for key in ASKERS:
            if dict.__contains__(self, self._keys[key]):
                self._seek(key)

    def __setitem__(self, key: str, value: Any) -> None:
        plain = str.__str__(key)
        noting = self._keys.get(plain)
        if noting is None or plain in self._own:
            dict.__setitem__(self, key, value)
        elif isinstance(key, NotingKey):  # of a plain copy: it came from outside, as it did here
            dict.__setitem__(self, noting, value)
        else:
            # The key that notes gives way to a plain one: the value is the application's own now.
            dict.pop(self, noting, None)
            self._own.add(plain)
            dict.__setitem__(self, plain, value)

    def copy(self) -> WatchedScope:
        made = WatchedScope({}, self._noted)
        made._own |= self._own
        for key in self:
            dict.__setitem__(made, key, dict.__getitem__(self, key))
        return made

    def __copy__(self) -> WatchedScope:
        return self.copy()


def hidden(scope: Scope, names: Iterable[str]) -> dict[str, Any]:
    """A copy of a scope without these headers. Who seeks one of them finds nothing, and in a
    `WatchedScope` of it, it is noted. Hide first, watch then."""
    gone = {name.lower().encode() for name in names}
    kept = [line for line in scope.get("headers") or () if bytes(line[0]).lower() not in gone]
    return {**scope, "headers": kept}


def hidden_by(policy: RoutePolicy) -> tuple[str, ...]:
    """The headers that a route's application is not shown: for a `Public` one what says who asks,
    unless it `sees` it."""
    if not isinstance(policy, Public):
        return ()
    seen = {name.lower() for name in policy.sees}
    return tuple(name for name in CREDENTIALS if name not in seen)


def undeclared(
    policy: RoutePolicy, looked: Iterable[str], answered: Iterable[str] = ()
) -> frozenset[str]:
    """Of what was looked at: what no `vary`, no `sees` and no `Vary` of the answer (`answered`, in
    lower case) names.

    A cookie that was hidden is nothing: FastAPI parses cookies at every request, and found none. An
    `authorization` that was sought stays: a route that asks for credentials is not public. What an
    answer that is not `Public` says of who asks is its own affair.
    """
    named = (*policy.vary, *policy.sees, *answered)
    declared = {name if name.startswith("scope:") else name.lower() for name in named} | OF_THE_URL
    if not isinstance(policy, Public):
        declared |= {*CREDENTIALS, *(f"scope:{key}" for key in ASKERS)}
    else:
        declared.add("cookie")  # hidden, or in `sees`
    return frozenset(looked) - declared


def remedy(left: Iterable[str]) -> str:
    """What to do about what is undeclared."""
    names, found = frozenset(left), []
    parts = {name for name in names if name.startswith("scope:")}
    if names - parts - {ANY, THE_BODY}:
        found.append("name headers in `vary`, or in `sees` if the answer does not depend on them")
    if parts:
        found.append("name in `sees` what the answer depends on no more than its URL says")
    if ANY in names:
        found.append("look at headers by their names (`*`: at all of them)")
    return "; ".join((*found, "or make the route Private(...)"))


def _watched_lines(lines: Any, note: Note) -> list[HeaderLine]:
    """A server gives bytes; a text by hand is left as it is."""
    return [
        (noting_name(name, note), noting_value(value, name.decode("latin-1").lower(), note))
        if isinstance(name, bytes) and isinstance(value, bytes)
        else (name, value)
        for name, value in lines or ()
    ]
