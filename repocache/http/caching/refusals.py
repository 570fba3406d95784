"""What no policy of a route may say: times, names, and what contradicts itself. Pure."""

from __future__ import annotations

import re

from repocache.errors import ConfigurationError, UsageError
from repocache.http.asgi import TOKEN
from repocache.http.caching.noting import ASKERS
from repocache.tags import named_tag

YEAR = 31_536_000
"""Seconds; no more is of use (RFC 2616 said so, and caches still clip it)."""
_SCOPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEEN = re.compile(rf"scope:({'|'.join(ASKERS)}|state\..+|extensions\.tls)")
"""What an application may see beside headers."""
_NEVER_CHOOSE = frozenset(
    {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"}
)
"""Preconditions and ranges: they choose no representation (RFC 9110, 13.1 and 14.2)."""

PAIRS = (
    ("no_store", "max_age", "what is not kept has no age"),
    ("no_store", "no_cache", "one keeps nothing, the other keeps and asks"),
    ("no_store", "must_revalidate", "what is not kept is never stale"),
    ("no_store", "stale_while_revalidate", "what is not kept is never stale"),
    ("no_store", "stale_if_error", "what is not kept is never stale"),
    ("no_cache", "max_age", "what is asked for each time is never fresh"),
    ("no_cache", "s_maxage", "what is asked for each time is never fresh"),
    ("no_cache", "immutable", "one asks each time, the other never"),
    ("no_cache", "stale_while_revalidate", "what is asked for each time is never given stale"),
    ("no_cache", "stale_if_error", "what is asked for each time is never given stale"),
    ("must_revalidate", "immutable", "what never changes need not be asked for"),
    ("must_revalidate", "stale_while_revalidate", "it forbids to give what is stale"),
    ("must_revalidate", "stale_if_error", "it forbids to give what is stale"),
    ("proxy_revalidate", "stale_while_revalidate", "it forbids shared caches what is stale"),
    ("proxy_revalidate", "stale_if_error", "it forbids shared caches what is stale"),
)
"""Arguments that contradict each other, and why (RFC 9111, 4.2.4 and 5.2.2; RFC 5861; RFC 8246)."""


def refused(policy: object, argument: str, value: object, remedy: str) -> ConfigurationError:
    """Names the class, the argument, what was given and what to give."""
    return ConfigurationError(f"{type(policy).__name__}({argument}={value!r}): {remedy}")


def checked_seconds(policy: object, *arguments: str) -> None:
    """Raises ConfigurationError for all but None and whole seconds from 0 to `YEAR`."""
    for argument in arguments:
        value = getattr(policy, argument)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= YEAR:
            raise refused(
                policy, argument, value, f"give whole seconds, 0 to {YEAR} (a year), or None"
            )


def checked_flags(policy: object, *arguments: str) -> None:
    """Raises ConfigurationError for all but True and False."""
    for argument in arguments:
        value = getattr(policy, argument)
        if not isinstance(value, bool):
            raise refused(policy, argument, value, "give True or False")


def checked_names(policy: object, argument: str, names: object) -> None:
    """Raises ConfigurationError for what no header is called, for `*`, and for names twice. In
    `sees`, parts of the scope have names, too."""
    _check_tuple(policy, argument, names, "('Accept-Language',)")
    seen: set[str] = set()
    for name in names if isinstance(names, tuple) else ():
        if argument == "sees" and isinstance(name, str) and name.startswith("scope:"):
            _check_seen(policy, name)
        elif not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise refused(policy, argument, name, "give the name of a header")
        if "*" in name:
            raise refused(
                policy, argument, name, "name each header: nothing that varies by all is kept"
            )
        lower = name if name.startswith("scope:") else name.lower()
        if lower in seen:
            raise refused(policy, argument, names, f"{name!r} is there twice")
        if argument == "vary" and lower in _NEVER_CHOOSE:
            raise refused(policy, argument, name, "a precondition or a range: leave it out")
        seen.add(lower)


def _check_seen(policy: object, name: str) -> None:
    if not _SEEN.fullmatch(name):
        known = ", ".join(f"'scope:{key}'" for key in ASKERS)
        raise refused(
            policy, "sees", name, f"give {known}, or 'scope:state.tenant' for request.state.tenant"
        )


def checked_tags(policy: object, tags: object, scopes: object) -> None:
    """Raises ConfigurationError for what is no tag's or scope's name, and for names twice."""
    _check_tuple(policy, "tags", tags, "('home',)")
    _check_tuple(policy, "scopes", scopes, "('tenant',)")
    for argument, names in (("tags", tags), ("scopes", scopes)):
        if isinstance(names, tuple) and len(set(map(repr, names))) < len(names):
            raise refused(policy, argument, names, "one is there twice")
    for tag in tags if isinstance(tags, tuple) else ():
        try:
            named_tag(tag)
        except UsageError as error:
            raise refused(policy, "tags", tags, str(error)) from error
    for scope in scopes if isinstance(scopes, tuple) else ():
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
            raise refused(policy, "scopes", scope, "give the name of a Scope, as in 'tenant'")


def refuse_pairs(policy: object) -> None:
    """Raises ConfigurationError for the first of `PAIRS` that is given. A time of 0 is given."""
    for one, other, why in PAIRS:
        if _is_given(policy, one) and _is_given(policy, other):
            shown = f"{one}={getattr(policy, one)!r}, {other}={getattr(policy, other)!r}"
            raise ConfigurationError(
                f"{type(policy).__name__}({shown}): {why}: leave one of them out"
            )


def refuse_guesses(policy: object) -> None:
    """Raises ConfigurationError if a cache had to guess (RFC 9111, 4.2.2), and for `immutable`
    without a time in which it counts."""
    max_age = getattr(policy, "max_age", None)
    if getattr(policy, "immutable", False) and not max_age:
        raise refused(policy, "immutable", True, "give max_age, too: it counts while that lasts")
    if max_age is None and not getattr(policy, "no_cache", False):
        raise refused(
            policy,
            "max_age",
            None,
            "give seconds (0: stale at once), or no_cache=True: caches would guess a time, "
            "browsers beside s_maxage, too",
        )


def _is_given(policy: object, argument: str) -> bool:
    value = getattr(policy, argument, None)
    return value is not None and value is not False


def _check_tuple(policy: object, argument: str, names: object, example: str) -> None:
    if not isinstance(names, tuple):
        raise refused(policy, argument, names, f"give a tuple of texts, as in {example}")
