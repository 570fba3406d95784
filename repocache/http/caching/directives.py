"""The header lines that say a policy. Pure."""

from __future__ import annotations

from repocache.http.asgi import HeaderLine
from repocache.http.caching.policy import CdnControl, NoStore, Private, RoutePolicy

_FLAGS = ("no_store", "no_cache")
_TIMES = ("max_age", "s_maxage")
_RULES = ("must_revalidate", "proxy_revalidate", "immutable")
_STALE = ("stale_while_revalidate", "stale_if_error")


def cache_control(policy: RoutePolicy) -> bytes:
    """The value of `Cache-Control` (RFC 9111, 5.2.2): the same for the same policy, and in the
    order in which a reader asks: who, whether, for how long, what then."""
    if isinstance(policy, NoStore):
        return b"no-store"
    who = "private" if isinstance(policy, Private) else "public"
    return ", ".join([who, *_said(policy)]).encode()


def targeted(policy: RoutePolicy) -> tuple[HeaderLine, ...]:
    """The line for CDNs, or none (RFC 9213). Whoever makes an answer private has to take it away:
    a CDN that heeds it does not look at `Cache-Control`."""
    if policy.cdn is None:
        return ()
    return ((policy.cdn.name.lower().encode(), ", ".join(_said(policy.cdn)).encode()),)


def _said(policy: RoutePolicy | CdnControl) -> list[str]:
    """Directives; keys in lower case, which a structured dictionary asks for (RFC 8941, 3.2)."""
    said = []
    for field in (*_FLAGS, *_TIMES, *_RULES, *_STALE):
        value, name = getattr(policy, field, None), field.replace("_", "-")
        if value is True:
            said.append(name)
        elif value is not None and value is not False:
            said.append(f"{name}={value}")
    return said
