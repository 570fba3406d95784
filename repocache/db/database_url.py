"""The URL of a database, read from whatever says it, and the options in it that its driver knows.

Owns what a URL may say. What a driver is told of it is `arguments`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from repocache.errors import ConfigurationError
from repocache.urls import SecretText, UrlObject, text_of

DatabaseUrl = str | URL | UrlObject | SecretText
EXAMPLE = "write for example postgresql+asyncpg://user@host/database"
MASKED = "***"
"""What SQLAlchemy's URL shows in the place of its password."""
ASYNCPG = "postgresql+asyncpg"
DRIVERLESS = {"postgres": ASYNCPG, "postgresql": ASYNCPG, "postgres+asyncpg": ASYNCPG}
"""Schemes that name no driver, or SQLAlchemy's former name of one."""
SEVERAL_HOSTS = re.compile(r"^([^:/]+://(?:[^@]*@)?)([^/?@]*,[^/?@]*)(.*)$", re.DOTALL)
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
PLACES = ("host", "port")
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
LIBPQ = (
    "application_name",
    "options",
    "sslmode",
    *FILES,
    "sslpassword",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "passfile",
    "krbsrvname",
    "gsslib",
)
"""Options in the words of PostgreSQL's own library, which asyncpg reads from a URL alone."""
TYPED: Mapping[str, Callable[[str], Any]] = {
    "ssl": str,
    "target_session_attrs": str,
    "command_timeout": float,
    "statement_cache_size": int,
    "max_cached_statement_lifetime": int,
    "max_cacheable_statement_size": int,
    "prepared_statement_cache_size": int,
}
"""Arguments of asyncpg, and of SQLAlchemy's adapter for it, with what makes one of a text."""
ELSEWHERE = {
    "timeout": "give TopologySettings(connect_timeout=...)",
    "connect_timeout": "give TopologySettings(connect_timeout=...)",
}


def database_url(argument: str, given: object) -> URL:
    """The URL, with a driver. Raises ConfigurationError naming `argument`, never showing a password."""
    url = given if isinstance(given, URL) else _parsed(argument, text_of(argument, given, EXAMPLE))
    url = url.set(drivername=DRIVERLESS.get(url.drivername, url.drivername))
    if url.password == MASKED:
        raise ConfigurationError(
            f"{argument}: the password is {MASKED}, as str(url) shows it: give the URL itself, "
            "or url.render_as_string(hide_password=False)"
        )
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            f"{argument}={url.render_as_string()}: each connection would see an in-memory database "
            "of its own; name a file: sqlite+aiosqlite:///path"
        )
    if url.drivername == ASYNCPG:
        _check_options(argument, url)
    return url


def _parsed(argument: str, text: str) -> URL:
    several = SEVERAL_HOSTS.match(text)
    try:
        if several is None:
            return make_url(text)
        before, places, after = several.groups()
        return make_url(before + after).update_query_pairs(_places(places))
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"{argument}: not a database URL; {EXAMPLE}") from None


def _places(several: str) -> list[tuple[str, str]]:
    """Hosts and ports of `a:1,b`, in the form that SQLAlchemy gives to drivers."""
    split = [re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?", place) for place in several.split(",")]
    found = [place.groups() for place in split if place is not None and place[1]]
    if len(found) < len(split):
        raise ValueError(several)
    hosts = ",".join(host.strip("[]") for host, _ in found)
    return [("host", hosts), ("port", ",".join(port or "5432" for _, port in found))]


def primary_url(given: object) -> URL:
    """The primary's URL: of several hosts, that one which is the primary, unless it says
    otherwise. Raises as `database_url`."""
    url = database_url("primary", given)
    host = url.query.get("host", "")
    several = not isinstance(host, str) or "," in host
    if several and "target_session_attrs" not in url.query:
        return url.update_query_dict({"target_session_attrs": "primary"})
    return url


def typed_options(url: URL) -> dict[str, Any]:
    """The driver's own arguments in a URL of asyncpg."""
    return {name: TYPED[name](_one(text)) for name, text in url.query.items() if name in TYPED}


def libpq_options(url: URL) -> dict[str, str]:
    """What a URL of asyncpg says in the words of PostgreSQL's own library."""
    return {name: _one(text) for name, text in url.query.items() if name in LIBPQ}


def without_options(url: URL) -> URL:
    """Where it leads to, and as whom, for SQLAlchemy: the options are told to asyncpg in its words."""
    if url.drivername != ASYNCPG:
        return url
    return url.difference_update_query([name for name in url.query if name not in PLACES])


def _one(text: str | tuple[str, ...]) -> str:
    return text if isinstance(text, str) else text[-1]


def _check_options(argument: str, url: URL) -> None:
    for name, text in url.query.items():
        if name in PLACES:
            continue
        if not isinstance(text, str):
            raise ConfigurationError(f"{argument}: the URL's option {name} is given twice; leave one out")
        problem = _problem(name, text)
        if problem:
            raise ConfigurationError(f"{argument}: the URL's option {name}={text}: {problem}")


def _problem(name: str, text: str) -> str:
    """What is wrong with an option, empty if nothing is."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if name in ("ssl", "sslmode") and text not in SSL_MODES:
        return f"give one of {', '.join(SSL_MODES)}"
    if name == "target_session_attrs" and text not in ATTRIBUTES:
        return f"give one of {', '.join(ATTRIBUTES)}"
    if name in FILES and not Path(text).is_file():
        return "there is no such file"
    if name in TYPED:
        try:
            TYPED[name](text)
        except ValueError:
            return "give a number"
        return ""
    if name not in LIBPQ:
        return (
            "asyncpg has none of this name; leave it out, or, for a setting of the server's, give "
            f"EngineSettings(server_settings={{{name!r}: ...}}); a URL may have "
            f"{', '.join(sorted((*LIBPQ, *TYPED)))}"
        )
    return ""
