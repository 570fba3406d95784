"""Where Redis is and how to enter: a frozen value, read from a URL."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from repocache.errors import ConfigurationError
from repocache.redaction.urls import LOGIN, may_be_named, text_of

EXAMPLES = (
    "redis://user:password@host:6379/0, rediss://host/0?ssl_ca_certs=/ca.pem, "
    "unix:///run/redis.sock?db=0, redis+sentinel://host:26379,host2:26379/mymaster/0"
)
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
OPTIONS = {
    "redis": ("db",),
    "rediss": ("db", *TLS_OPTIONS),
    "unix": ("db",),
    "redis+sentinel": SENTINEL_OPTIONS,
    "rediss+sentinel": (*SENTINEL_OPTIONS, *TLS_OPTIONS),
}
SENTINEL_PORT = 26379
DIGITS = 10
"""Fewer than so many are a database's number."""
MASKED = "***"
SEVERAL = (
    "sentinels are redis+sentinel://host:26379,host2:26379/mymaster/0, and a Redis Cluster "
    "is not supported"
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files; an empty one means: the system's authorities, no client certificate.

    `own`: a context of the application's, which says all of it in their place.
    """

    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""
    check_hostname: bool = True
    own: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The server's certificate is always verified, unless `own` says otherwise. Raises
        ConfigurationError if a file cannot be used."""
        if self.own is not None:
            return self.own
        try:
            context = ssl.create_default_context(cafile=self.ca_certs or None)
            if self.certfile:
                context.load_cert_chain(self.certfile, self.keyfile or None)
        except OSError as error:
            raise ConfigurationError(
                f"{self}: {error}; check that these are PEM files that may be read"
            ) from error
        context.check_hostname = self.check_hostname
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """TCP (`host`, `port`; TLS unless `tls` is None), or a Unix socket if `path` is not empty.

    With `sentinels` neither: they are asked at each connect which host and port the master of the
    group `service` has.
    """

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    tls: Tls | None = None
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinels: tuple[Address, ...] = ()
    service: str = ""

    @classmethod
    def parse(cls, url: object) -> Self:
        """Read redis://, rediss:// and unix:// URLs, with the option names that redis-py uses; and
        redis+sentinel:// and rediss+sentinel://, whose TLS is for the servers and the sentinels
        alike.

        `url`: a text, or an object that has one, as pydantic's. Raises ConfigurationError, without
        anything of the URL that could be of a password, in its message or its chain.
        """
        parts = _split(text_of("redis", url, f"it has to look like {EXAMPLES}"))
        if parts.scheme not in OPTIONS:
            raise ConfigurationError(
                f"redis: the URL begins with none of {', '.join(OPTIONS)}; it has to look like "
                f"{EXAMPLES}"
            )
        if parts.fragment or ("@" in parts.path and (parts.netloc or parts.scheme != "unix")):
            raise ConfigurationError(f"redis: {LOGIN}")
        if parts.password == MASKED:
            raise ConfigurationError(
                f"redis: the password is {MASKED}, as it is masked for show: give the real one"
            )
        if parts.scheme in ("redis", "rediss") and "," in parts.netloc.rpartition("@")[2]:
            raise ConfigurationError(
                f"redis: a {parts.scheme}:// URL has one host; of several, {SEVERAL}"
            )
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in options:
            if name not in OPTIONS[parts.scheme]:
                shown = repr(name) if may_be_named(options) else f"like one in it ({LOGIN})"
                raise ConfigurationError(
                    f"redis: a {parts.scheme}:// URL has no option {shown}; it has "
                    f"{', '.join(OPTIONS[parts.scheme])}"
                )
        tls = _tls(options) if parts.scheme.startswith("rediss") else None
        if parts.scheme.endswith("+sentinel"):
            return cls._watched(parts, options, tls)
        unix = parts.scheme == "unix"
        path = unquote(parts.path)
        if unix and (parts.netloc.rpartition("@")[2] or not path):
            raise ConfigurationError(
                "redis: a unix:// URL needs three slashes and a path, as in unix:///run/redis.sock"
            )
        return cls(
            host="" if unix else unquote(parts.hostname or "localhost"),
            port=0 if unix else _port(parts, 6379),
            path=path if unix else "",
            tls=tls,
            db=_db(options.get("db", "" if unix else path.strip("/"))),
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )

    @classmethod
    def _watched(cls, parts: SplitResult, options: dict[str, str], tls: Tls | None) -> Self:
        service, _, db = unquote(parts.path).strip("/").partition("/")
        if not service:
            raise ConfigurationError(
                f"redis: a {parts.scheme}:// URL needs the group's name, as in "
                f"{parts.scheme}://host:26379/mymaster/0"
            )
        places = [_split(f"//{place}") for place in parts.netloc.rpartition("@")[2].split(",")]
        login = (options.get("sentinel_username", ""), options.get("sentinel_password", ""))
        sentinels = tuple(
            Address(
                unquote(place.hostname or "localhost"),
                _port(place, SENTINEL_PORT),
                "",
                tls,
                0,
                *login,
            )
            for place in places
        )
        return cls(
            host="",
            port=0,
            tls=tls,
            db=_db(db),
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            sentinels=sentinels,
            service=service,
        )

    def __str__(self) -> str:
        """For people: without user and password."""
        scheme = "rediss" if self.tls else "redis"
        if self.sentinels:
            places = ",".join(each.place for each in self.sentinels)
            return f"{scheme}+sentinel://{places}/{self.service}/{self.db}"
        if self.path:
            return f"unix://{self.path}?db={self.db}"
        return f"{scheme}://{self.place}/{self.db}"

    @property
    def place(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _split(text: str) -> SplitResult:
    with suppress(ValueError):  # its words quote the login
        return urlsplit(text)
    raise ConfigurationError(f"redis: not a URL; {LOGIN}; it has to look like {EXAMPLES}")


def _port(parts: SplitResult, usual: int) -> int:
    port: int | None = 0
    with suppress(ValueError):  # its words quote what stands there, perhaps half a password
        port = parts.port
    if port == 0:
        raise ConfigurationError(
            f"redis: the URL's port has to be a number from 1 to 65535; {LOGIN}"
        )
    return port or usual


def _db(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < DIGITS):
        raise ConfigurationError(
            "redis: the database in the URL is none: it has to be a number, as in /0 or ?db=0"
        )
    return int(text or 0)


def _tls(options: dict[str, str]) -> Tls:
    check = options.get("ssl_check_hostname", "true").lower()
    if check not in ("true", "false"):
        raise ConfigurationError("redis: ssl_check_hostname has to be true or false")
    return Tls(
        ca_certs=options.get("ssl_ca_certs", ""),
        certfile=options.get("ssl_certfile", ""),
        keyfile=options.get("ssl_keyfile", ""),
        check_hostname=check == "true",
    )
