"""Where a client of redis-py's leads to, and how it enters: read from what it was made with.

Neither redis-py nor Valkey's fork of it is imported: what is read are public attributes of their
pools. How a client treats connections of its own (timeouts, pools, decoding) stays its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from repocache.errors import ConfigurationError
from repocache.redis_link.address import Address, Tls
from repocache.redis_link.client_tls import TLS_DETAILS, TLS_FILES, tls_of

FAMILIES = ("redis", "valkey")
POOLS = ("ConnectionPool", "BlockingConnectionPool", "SentinelConnectionPool")
ENCRYPTED = ("SSLConnection", "SentinelManagedSSLConnection")
CONNECTIONS = (
    *("Connection", "UnixDomainSocketConnection", "SentinelManagedConnection"),
    *ENCRYPTED,
)
TAKEN = frozenset({"host", "port", "path", "db", "username", "password", *TLS_FILES, *TLS_DETAILS})
OWN = frozenset(
    {
        *("encoding", "encoding_errors", "decode_responses", "encoder_class", "parser_class"),
        *("protocol", "legacy_responses", "max_connections", "timeout", "health_check_interval"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_type"),
        *("socket_keepalive_options", "socket_read_size", "client_name", "connection_pool"),
        *("lib_name", "lib_version", "driver_info", "event_dispatcher", "himport_registry"),
        *("maint_notifications_config", "maint_notifications_pool_handler", "orig_host_address"),
        *("orig_socket_timeout", "orig_socket_connect_timeout", "cache", "cache_config"),
    }
)
"""How a client's own connections are kept and spoken on; nothing here is sent on them."""
AGAIN = (
    "when the link tries again is Settings(link=LinkSettings(breaker=BreakerSettings(...))); give "
    "a URL, or a client without it"
)
ANEW = "give a URL or an Address(...) with all that leads there, or a client without it"
REMEDIES = {
    "credential_provider": "give username and password, as in redis://user:password@host:6379/0",
    "redis_connect_func": "nobody would call it at each connect of ours; " + ANEW,
    "retry": AGAIN,
    "retry_on_error": AGAIN,
    "retry_on_timeout": AGAIN,
}
SENTINELS = "give sentinel.master_for('mymaster'), or redis+sentinel://host:26379/mymaster/0"


class RedisClient(Protocol):
    """What the clients of redis-py and Valkey's fork of it have, `redis.asyncio.Redis` first."""

    connection_pool: Any


def address_of(given: object) -> Address:
    """Where `redis=` leads to: an Address, a client, or a URL as `Address.parse` reads it.

    Of a client is taken where it leads to, as whom, and its TLS; once, and nothing is sent on it.
    Raises ConfigurationError, which shows no password, for what cannot be read and for an option of
    the client that cannot be taken over.
    """
    if isinstance(given, Address):
        return given
    names = [each.__name__ for each in _family(type(given))]
    if not names:
        return Address.parse(given)
    if any(name.endswith("Cluster") for name in names):
        raise ConfigurationError(
            "redis: a Redis Cluster is not supported: give one server, as in "
            "redis://user:password@host:6379/0, or a group with sentinels"
        )
    if not hasattr(given, "connection_pool"):
        raise ConfigurationError(
            f"redis: a {names[0]} is no client: give redis.asyncio.Redis(...) or a URL; of "
            f"sentinels, {SENTINELS}"
        )
    return _client(given)


def _client(client: Any) -> Address:
    pool = client.connection_pool
    kind = pool.connection_class
    for each, known in ((type(pool), POOLS), (kind, CONNECTIONS)):
        if each.__module__.partition(".")[0] not in FAMILIES or each.__name__ not in known:
            raise ConfigurationError(
                f"redis: what the client's {each.__name__} does cannot be taken over; {ANEW}"
            )
    options: Mapping[str, Any] = pool.connection_kwargs
    _require_taken(options, _defaults(type(client)))
    tls = tls_of(options, _defaults(kind)) if kind.__name__ in ENCRYPTED else None
    place: dict[str, Any]
    if hasattr(pool, "sentinel_manager"):
        place = {"host": "", "port": 0, "service": pool.service_name} | _watched(pool, tls)
    elif kind.__name__ == "UnixDomainSocketConnection":
        place = {"host": "", "port": 0, "path": _text(options, "path")}
    else:
        place = {
            "host": _text(options, "host") or "localhost",
            "port": _number(options, "port", 6379),
        }
    return Address(
        tls=tls,
        db=_number(options, "db", 0),
        username=_text(options, "username"),
        password=_text(options, "password"),
        **place,
    )


def _family(kind: type) -> Iterator[type]:
    """Its classes that redis-py or its fork has made."""
    return (each for each in kind.__mro__ if each.__module__.partition(".")[0] in FAMILIES)


def _defaults(kind: type) -> dict[str, Any]:
    """What the library takes for what it was not told, by its constructors."""
    found: dict[str, Any] = {}
    for each in _family(kind):
        with suppress(ValueError):  # it has no constructor of its own
            found = {p.name: p.default for p in inspect.signature(each).parameters.values()} | found
    return found


def _require_taken(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in TAKEN or name in OWN or not value or _alike(value, defaults.get(name)):
            continue
        raise ConfigurationError(
            f"redis: the client's {name} cannot be taken over: {REMEDIES.get(name, ANEW)}"
        )


def _alike(one: Any, other: Any) -> bool:
    """Whether they are equal, or made of equal parts: not every release's `Retry` can compare."""
    if one == other:
        return True
    parts, others = _parts(one), _parts(other)
    return (
        type(one) is type(other)
        and bool(parts)
        and parts.keys() == others.keys()
        and all(_alike(part, others[name]) for name, part in parts.items())
    )


def _parts(value: object) -> dict[str, Any]:
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return {name: getattr(value, name, None) for name in (*slots, *getattr(value, "__dict__", ()))}


def _text(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name)
    if not isinstance(value, str | None):
        raise ConfigurationError(
            f"redis: the client's {name} is a {type(value).__name__}: give a text"
        )
    return value or ""


def _number(options: Mapping[str, Any], name: str, usual: int) -> int:
    value = options.get(name)
    with suppress(TypeError, ValueError):  # its words quote what stands there
        return usual if value is None else int(value)
    raise ConfigurationError(f"redis: the client's {name} is a {type(value).__name__}, no number")


def _watched(pool: Any, tls: Tls | None) -> dict[str, Any]:
    """The sentinels of a client that `master_for` made."""
    manager = pool.sentinel_manager
    if not pool.is_master:
        raise ConfigurationError(
            "redis: the client is that of replicas (slave_for), which nothing is read from: "
            f"{SENTINELS}"
        )
    for name in ("min_other_sentinels", "_force_master_ip"):
        if getattr(manager, name, None):
            raise ConfigurationError(
                f"redis: the sentinels' {name.lstrip('_')} cannot be taken over: no majority is "
                "asked and no address put in another's place, for the server has to say itself "
                "that it is the master; leave it out"
            )
    sentinels = tuple(_client(each) for each in manager.sentinels)
    if any(each.tls != tls for each in sentinels):
        raise ConfigurationError(
            "redis: TLS has to be the same for the servers and for the sentinels: give both the "
            "same ssl options, the sentinels theirs by sentinel_kwargs={'ssl': True, ...}"
        )
    return {"sentinels": sentinels}
