"""How a bookmark travels: the port, and the two fits whose bookmark the client carries."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from repocache.bookmark import Bookmark
from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.http.asgi import MOST, HeaderLine, Scope, checked_name, values_of
from repocache.routing.causal_session import CausalSession

DAY = 86_400
"""Seconds: no bookmark says more for longer, but for a position that all replicas have by then."""


@runtime_checkable
class Carrier(Protocol):
    """A frozen value; one for all requests, whose own state is in their scope."""

    def check(self, db: Database) -> None:
        """Raises ConfigurationError if it cannot work with this database."""
        ...

    async def incoming(self, db: Database, scope: Scope) -> Sequence[Bookmark | str | bytes]:
        """What came with the request, as it came: all of it counts. Never raises for what came."""
        ...

    def keep(
        self, db: Database, scope: Scope, session: CausalSession
    ) -> Sequence[Awaitable[object]]:
        """Asked when the session has moved, before anything is sent that may tell of it, and at the
        end: begin to store it where the next request finds it."""
        ...

    def lines(self, text: str) -> Sequence[HeaderLine]:
        """Those of the answer, for a bookmark that moved. A `vary` is merged with the answer's."""
        ...


@dataclass(frozen=True, slots=True)
class Header:
    """A header of requests and responses, for clients that are programs: `Bookmark: ...`. Answers
    with one `Vary` by it. Raises ConfigurationError for what no header may be called."""

    name: str = "Bookmark"

    def __post_init__(self) -> None:
        checked_name("Header(name)", self.name)

    def check(self, db: Database) -> None:
        """With secrets or without: whoever reads the header could as well read the answer."""

    async def incoming(self, db: Database, scope: Scope) -> Sequence[bytes]:
        return tuple(values_of(scope, self.name))

    def keep(
        self, db: Database, scope: Scope, session: CausalSession
    ) -> Sequence[Awaitable[object]]:
        return ()

    def lines(self, text: str) -> Sequence[HeaderLine]:
        name = self.name.encode()
        return ((name.lower(), text.encode()), (b"vary", name))


_PATH = re.compile(r"/[!-:<-~]*")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*")


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie, for browsers: always `HttpOnly`, and signed, since a browser holds what anybody may
    have given it.

    `path`, `domain`, `secure`, `same_site`: its attributes. `max_age`: seconds that the browser
    keeps it; None: until it is closed. `unsigned`: take and send bookmarks though the database has
    no secrets: whoever can set a cookie, as a neighbouring subdomain can, keeps its reads at the
    primary. Raises ConfigurationError for attributes that browsers refuse.
    """

    name: str = "bookmark"
    path: str = "/"
    domain: str | None = None
    secure: bool = True
    same_site: Literal["lax", "strict", "none"] = "lax"
    max_age: int | None = DAY
    unsigned: bool = False

    def __post_init__(self) -> None:
        checked_name("Cookie(name)", self.name)
        if not _PATH.fullmatch(self.path):
            raise ConfigurationError(f"Cookie(path={self.path!r}): give a path that begins with /")
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            raise ConfigurationError(f"Cookie(domain={self.domain!r}): give a host's name, or None")
        if self.same_site not in ("lax", "strict", "none"):
            raise ConfigurationError(
                f"Cookie(same_site={self.same_site!r}): give 'lax', 'strict' or 'none'"
            )
        if self.same_site == "none" and not self.secure:
            raise ConfigurationError(
                "Cookie(same_site='none', secure=False): browsers take it with secure=True only"
            )
        if self.max_age is not None and self.max_age < 1:
            raise ConfigurationError(
                f"Cookie(max_age={self.max_age}): give seconds, 1 or more, or None"
            )
        hosts_own = self.path == "/" and self.domain is None
        lower = self.name.lower()
        if (lower.startswith("__host-") and not (self.secure and hosts_own)) or (
            lower.startswith("__secure-") and not self.secure
        ):
            raise ConfigurationError(
                f"Cookie(name={self.name!r}): browsers take this name with secure=True only, and "
                "__Host- with path='/' and domain=None only"
            )

    def check(self, db: Database) -> None:
        """Raises ConfigurationError without secrets."""
        if not db.settings.secrets and not self.unsigned:
            raise ConfigurationError(
                "CausalMiddleware(carrier=Cookie(...)): bookmarks in cookies are signed: give the "
                "Database Settings(secrets=(...,)), or Cookie(unsigned=True) if nobody else can "
                "set cookies for this host"
            )

    async def incoming(self, db: Database, scope: Scope) -> Sequence[bytes]:
        wanted = self.name.encode()
        found: list[bytes] = []
        for line in values_of(scope, "cookie"):
            for pair in line.split(b";"):
                name, _, value = pair.strip(b" \t").partition(b"=")
                if name == wanted and len(found) < MOST:
                    found.append(value.strip(b'" \t'))
        return found

    def keep(
        self, db: Database, scope: Scope, session: CausalSession
    ) -> Sequence[Awaitable[object]]:
        return ()

    def lines(self, text: str) -> Sequence[HeaderLine]:
        parts = [f"{self.name}={text}", f"Path={self.path}"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if self.max_age is not None:
            parts.append(f"Max-Age={self.max_age}")
        parts.append("HttpOnly")
        if self.secure:
            parts.append("Secure")
        parts.append(f"SameSite={self.same_site.capitalize()}")
        return ((b"set-cookie", "; ".join(parts).encode()),)
