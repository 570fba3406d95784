"""The URL of a database, read from whatever says it, and the options in it that its driver knows.

Owns what a URL may say. What a driver is told of it is `arguments`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from repocache.errors import ConfigurationError
from repocache.redaction.urls import LOGIN, SecretText, UrlObject, may_be_named, text_of

DatabaseUrl = str | URL | UrlObject | SecretText
EXAMPLE = "write for example postgresql+asyncpg://user@host/database"
MASKED = "***"
"""What SQLAlchemy's URL shows in the place of its password."""
ASYNCPG = "postgresql+asyncpg"
DRIVERLESS = {"postgres": ASYNCPG, "postgresql": ASYNCPG, "postgres+asyncpg": ASYNCPG}
"""Schemes that name no driver, or SQLAlchemy's former name of one."""
TO_LOGIN = r"^[^:/]+://(?:[^:/]*(?::[^@]*)?@)?+"
"""How SQLAlchemy reads one: a password goes on until the first `@`."""
SEVERAL_HOSTS = re.compile(rf"({TO_LOGIN})(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>.*)$", re.DOTALL)
STRAYED = re.compile(rf"{TO_LOGIN}(?:[^?]*|[^?]*\?(?:[^&]*&)*[^=&]*|[^/?]*/?\?.*)@", re.DOTALL)
"""An `@` where only what a password was cut to would have one: in host or path, in an option's
name, or in an option's text where no database is named."""
MOST_PORTS = 65_535
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
KNOWN = frozenset({*LIBPQ, *TYPED, *ELSEWHERE})
SHOWN = frozenset({*FILES, *TYPED, "sslmode"})
"""Options whose texts are in an error's words: no secret is among them."""


def database_url(argument: str, given: object) -> URL:
    """The URL, with a driver. Raises ConfigurationError naming `argument`, never showing a
    password."""
    url = given if isinstance(given, URL) else _parsed(argument, text_of(argument, given, EXAMPLE))
    url = url.set(drivername=DRIVERLESS.get(url.drivername, url.drivername))
    if url.password == MASKED:
        raise ConfigurationError(
            f"{argument}: the password is {MASKED}, as str(url) shows it: give the URL itself, "
            "or url.render_as_string(hide_password=False)"
        )
    if url.port is not None and not 0 < url.port <= MOST_PORTS:
        raise ConfigurationError(f"{argument}: a port is a number from 1 to {MOST_PORTS}")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            f"{argument}={without_secrets(url)}: each connection would see an in-memory database "
            "of its own; name a file: sqlite+aiosqlite:///path, or, in tests, let "
            "repocache.testing.memory() make one"
        )
    if url.drivername == ASYNCPG:
        _check_options(argument, url)
    return url


def without_secrets(url: URL) -> str:
    """For people: without user and password, and without options, one of which may be another."""
    return URL.create(
        url.drivername, None, None, url.host, url.port, url.database
    ).render_as_string()


def _parsed(argument: str, text: str) -> URL:
    strayed = not text.startswith("sqlite") and STRAYED.match(text) is not None
    if not strayed:
        with suppress(ArgumentError, ValueError):  # their words quote the text
            return _read(text)
    raise ConfigurationError(f"{argument}: not a database URL; {LOGIN}; {EXAMPLE}")


def _read(text: str) -> URL:
    several = SEVERAL_HOSTS.match(text)
    if several is None:
        return make_url(text)
    return make_url(several[1] + several["rest"]).update_query_pairs(_places(several["hosts"]))


def _places(several: str) -> list[tuple[str, str]]:
    """Hosts and ports of `a:1,b`, in the form that SQLAlchemy gives to drivers. Raises
    ValueError."""
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
    """Where it leads to, and as whom, for SQLAlchemy: the options are told to asyncpg in its
    words."""
    if url.drivername != ASYNCPG:
        return url
    return url.difference_update_query([name for name in url.query if name not in PLACES])


def _one(text: str | tuple[str, ...]) -> str:
    return text if isinstance(text, str) else text[-1]


def _check_options(argument: str, url: URL) -> None:
    shows = may_be_named(url.query)
    for name, text in url.query.items():
        if name in PLACES:
            continue
        said = text if isinstance(text, str) else None
        problem = "it is given twice; leave one out" if said is None else _problem(name, said)
        if problem and not (shows or name in KNOWN):
            raise ConfigurationError(
                f"{argument}: the URL has an option that asyncpg has not; {LOGIN}"
            )
        if problem:
            shown = f"{name}={said}" if shows and said is not None and name in SHOWN else name
            raise ConfigurationError(f"{argument}: the URL's option {shown}: {problem}")


def _problem(name: str, text: str) -> str:
    """What is wrong with an option, empty if nothing is."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if name in ("ssl", "sslmode") and text not in SSL_MODES:
        return f"give one of {', '.join(SSL_MODES)}"
    if name == "target_session_attrs" and text not in ATTRIBUTES:
        return f"give one of {', '.join(ATTRIBUTES)}"
    if name in FILES and not _is_file(text):
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


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # no name that a file could have
        return False
