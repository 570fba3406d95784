"""Which policy a request's answer is under: declared for each path, in one value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repocache.errors import ConfigurationError
from repocache.http.asgi import Scope
from repocache.http.caching.paths import is_plain, is_plain_text
from repocache.http.caching.policy import NoStore, Private, Public, RoutePolicy

OTHERWISE = Private(no_cache=True)
"""For what nobody declared: the asker's own, asked for each time."""
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+))?\}")
_KINDS = {
    "int": re.compile(r"[0-9]+"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"),
    "float": re.compile(r"[0-9]+(\.[0-9]+)?"),
    "str": re.compile(r".+"),
}
"""Starlette's, the narrower first: in this order a segment is tried."""
_SAFE = ("GET", "HEAD")


@dataclass(slots=True)
class _Node:
    """What may follow after some segments; has one parent, so that no path sees it twice."""

    literals: dict[str, _Node] = field(default_factory=dict)
    parameters: dict[str, _Node] = field(default_factory=dict)
    ends: tuple[str, RoutePolicy] | None = None
    rest: tuple[str, RoutePolicy] | None = None


class Routes:
    """Policies by path templates: `Routes({"/products/{id}": Public(max_age=60)})`.

    Templates are Starlette's: a parameter is a whole segment, `{id}`, `{id:int}`, `{id:float}`,
    `{id:uuid}`, and at the end `{rest:path}`. They are compared with the whole path, `root_path`
    and mounts with it. Of several that fit, the most specific counts, segment by segment: a
    literal, then `int`, `uuid`, `float`, any, `path`; a router takes the first that was declared,
    so declare the specific ones first there.

    GET and HEAD have these policies, and every other method `NoStore()`. `default`: for paths that
    no template fits, and for those that another cache or router could read otherwise
    (`caching/paths.py`); never `Public`. Raises ConfigurationError for templates that are none,
    and for two that fit the same paths.
    """

    def __init__(
        self, policies: Mapping[str, RoutePolicy], default: RoutePolicy = OTHERWISE
    ) -> None:
        given: object = policies
        if not isinstance(given, Mapping):
            raise ConfigurationError(
                f"Routes({type(given).__name__}): give a mapping of templates to policies, as in "
                '{"/products/{id}": Public(max_age=60)}'
            )
        _check_policy("default", default)
        if isinstance(default, Public):
            raise ConfigurationError(
                "Routes(default=Public(...)): what nobody declared is not for everybody: give "
                "Private(...) or NoStore(), and name what is public"
            )
        self._default = default
        self._root = _Node()
        for template, policy in policies.items():
            _check_policy(repr(template), policy)
            _add(self._root, template, policy)

    @property
    def default(self) -> RoutePolicy:
        """Of what nobody declared."""
        return self._default

    def of(self, scope: Scope) -> RoutePolicy:
        """The policy of a request, by its method and path alone."""
        if scope.get("method") not in _SAFE:
            return NoStore()
        if not is_plain(scope):
            return self._default
        found = _found(self._root, scope["path"].split("/")[1:], 0)
        return self._default if found is None else found

    def __iter__(self) -> Iterator[tuple[str, RoutePolicy]]:
        """Each template and its policy, the most specific first."""
        return _all(self._root)


def _found(node: _Node, segments: Sequence[str], at: int) -> RoutePolicy | None:
    if at == len(segments):
        return None if node.ends is None else node.ends[1]
    segment = segments[at]
    for next_node in _next(node, segment):
        found = _found(next_node, segments, at + 1)
        if found is not None:
            return found
    return None if node.rest is None else node.rest[1]


def _next(node: _Node, segment: str) -> Iterator[_Node]:
    literal = node.literals.get(segment)
    if literal is not None:
        yield literal
    for kind, form in _KINDS.items():
        if kind in node.parameters and form.fullmatch(segment):
            yield node.parameters[kind]


def _add(root: _Node, template: Any, policy: RoutePolicy) -> None:
    if not isinstance(template, str) or not template.startswith("/"):
        raise ConfigurationError(
            f"Routes({template!r}): give a template that begins with /, as '/products/{{id}}'"
        )
    if "//" in template:
        raise ConfigurationError(
            f"Routes({template!r}): caches and routers read // differently: leave one / out"
        )
    node, names, segments = root, set[str](), template.split("/")[1:]
    for at, segment in enumerate(segments):
        found = _PARAMETER.fullmatch(segment)
        if found is None:
            _check_literal(template, segment)
            node = node.literals.setdefault(segment, _Node())
            continue
        name, kind = found[1], found[2] or "str"
        if name in names:
            raise ConfigurationError(f"Routes({template!r}): {name!r} is there twice")
        names.add(name)
        if kind == "path":
            if at + 1 < len(segments):
                raise ConfigurationError(
                    f"Routes({template!r}): {segment} may stand at the end alone"
                )
            node.rest = _only(node.rest, template, policy)
            return
        if kind not in _KINDS:
            raise ConfigurationError(
                f"Routes({template!r}): {segment}: give {', '.join(_KINDS)} or path"
            )
        node = node.parameters.setdefault(kind, _Node())
    node.ends = _only(node.ends, template, policy)


def _only(
    had: tuple[str, RoutePolicy] | None, template: str, policy: RoutePolicy
) -> tuple[str, RoutePolicy]:
    if had is not None:
        raise ConfigurationError(
            f"Routes({template!r}): {had[0]!r} fits the same paths: leave one of them out"
        )
    return template, policy


def _check_literal(template: str, segment: str) -> None:
    if "{" in segment or "}" in segment:
        raise ConfigurationError(
            f"Routes({template!r}): {segment!r}: a parameter is a whole segment, as '/{{id}}/'"
        )
    if not is_plain_text("/" + segment):
        raise ConfigurationError(
            f"Routes({template!r}): {segment!r}: caches and routers read this path differently, "
            "and it would never be looked up: name another"
        )


def _check_policy(where: str, policy: object) -> None:
    if not isinstance(policy, Public | Private | NoStore):
        raise ConfigurationError(
            f"Routes({where}: {policy!r}): give Public(...), Private(...) or NoStore()"
        )


def _all(node: _Node) -> Iterator[tuple[str, RoutePolicy]]:
    if node.ends is not None:
        yield node.ends
    for literal in sorted(node.literals):
        yield from _all(node.literals[literal])
    for kind in _KINDS:
        if kind in node.parameters:
            yield from _all(node.parameters[kind])
    if node.rest is not None:
        yield node.rest
