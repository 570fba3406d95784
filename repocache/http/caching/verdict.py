"""Who may keep one response: what its route declares, or less. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from repocache.http.asgi import HeaderLine
from repocache.http.caching.policy import NoStore, Private, Public, RoutePolicy
from repocache.http.caching.vary import vary_names
from repocache.http.caching.watched import undeclared
from repocache.http.lines import members

LASTING = frozenset({200, 203, 300, 301, 308, 404, 410})
"""Statuses that say something of the resource, and not of this request (RFC 9110, 15.1)."""
_OWN = (b"private", b"no-store", b"no-cache")
"""What an application says itself counts, where it is stricter than the policy."""
KEPT_BY_NOBODY = NoStore()


class KeepVerdict(NamedTuple):
    """`policy`: that counts. `why`: it is less than was declared, empty: it is not. `says_itself`:
    the application's own `Cache-Control` is left as it is. `undeclared`: what it looked at and does
    not say."""

    policy: RoutePolicy
    why: str = ""
    says_itself: bool = False
    undeclared: frozenset[str] = frozenset()

    @property
    def is_public(self) -> bool:
        """Whether shared caches may keep it."""
        return isinstance(self.policy, Public) and not self.says_itself


class ResponseFacts(NamedTuple):
    """What is known of a response. `looked`: what the application looked at; `scopes`: whose rows
    it read; `hindrance`: why what it was made of may not be kept, empty: it may."""

    status: int
    lines: tuple[HeaderLine, ...]
    looked: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    hindrance: str = ""


def verdict(policy: RoutePolicy, response: ResponseFacts) -> KeepVerdict:
    """The policy, or, for a `Public` one whose response is not for everybody, a private one that
    has to be asked for each time."""
    own = {each.lower().partition(b"=")[0] for each in members(response.lines, b"cache-control")}
    if not own.isdisjoint(_OWN):
        return KeepVerdict(policy, "the application says so", says_itself=True)
    if response.status not in LASTING and response.status != 304:
        if own:
            return KeepVerdict(policy, "the application says so", says_itself=True)
        return KeepVerdict(KEPT_BY_NOBODY, f"status {response.status}")
    if not isinstance(policy, Public):
        return KeepVerdict(policy, says_itself=bool(own) and not isinstance(policy, NoStore))
    left = undeclared(policy, response.looked, vary_names(response.lines))
    why = _not_for_all(policy, response) or (
        f"it depends on {', '.join(sorted(left))}" if left else ""
    )
    if not why:
        return KeepVerdict(policy)
    less = Private(no_cache=True, vary=policy.vary, etag=policy.etag, tags=policy.tags)
    return KeepVerdict(less, why, undeclared=left)


def _not_for_all(policy: Public, response: ResponseFacts) -> str:
    if any(name == b"set-cookie" for name, _ in response.lines):
        return "it sets a cookie"
    if "*" in vary_names(response.lines):
        return "Vary: *"
    strange = response.scopes.difference(policy.scopes)
    if strange:
        return f"it shows rows of the scope {', '.join(sorted(strange))}"
    return response.hindrance


def lasts(lines: Iterable[HeaderLine], policy: Public) -> bool:
    """Whether a response with these lines is told apart from others of its URL by the policy's
    `vary` alone."""
    return vary_names(lines) <= {name.lower() for name in policy.vary}
