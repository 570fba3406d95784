"""What an operator has to know of a configuration that works: what it leaves open. Pure."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import URL

from repocache.engines.engine_settings import EngineSettings
from repocache.events import Unguarded
from repocache.redis_link import Address
from repocache.settings import Settings

UNSIGNED = (
    "whoever can send a bookmark can make one: it shows nobody anything, and can keep reads at the "
    "primary; give Settings(secrets=(...,)) where bookmarks come from outside, and take "
    "accept_unsigned out once all processes sign"
)
PLAIN_DATABASE = (
    "whoever is on the way may read and change what is sent, for TLS is used only if the server "
    "offers it, unverified; give ?sslmode=verify-full in the URL, or "
    "EngineSettings(connect_args={'ssl': a_context})"
)
PLAIN_REDIS = "whoever is on the way may read and change what is sent; give a rediss:// URL"
VERIFIED_OR_ENCRYPTED = ("require", "verify-ca", "verify-full")


def advice(
    nodes: Mapping[str, URL], redis: Address | None, settings: Settings, engine: EngineSettings
) -> Iterator[Unguarded]:
    """`nodes`: the databases' URLs by name; `redis`: None: there is none."""
    if not settings.secrets or settings.accept_unsigned:
        yield Unguarded("signed bookmarks", UNSIGNED)
    for name, url in nodes.items():
        if may_be_plain(url, engine.connect_args):
            yield Unguarded(f"TLS to {name}", PLAIN_DATABASE)
    if (
        redis is not None
        and redis.tls is None
        and any(not is_local(host) for host in _hosts_of(redis))
    ):
        yield Unguarded("TLS to Redis", PLAIN_REDIS)


def may_be_plain(url: URL, connect_args: Mapping[str, Any]) -> bool:
    """Whether a connection over a network may be without TLS."""
    if url.get_backend_name() != "postgresql" or all(map(is_local, _hosts(url))):
        return False
    told = connect_args.get("ssl", url.query.get("ssl"))
    mode = connect_args.get("sslmode", url.query.get("sslmode")) if told is None else told
    return not (mode is True or isinstance(mode, ssl.SSLContext) or mode in VERIFIED_OR_ENCRYPTED)


def is_local(host: str) -> bool:
    """Whether it is this machine, or a Unix socket's folder."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(url: URL) -> list[str]:
    several = url.query.get("host", url.host or "")
    named = (
        several.split(",")
        if isinstance(several, str)
        else [each.partition(":")[0] for each in several]
    )
    return named or [""]


def _hosts_of(redis: Address) -> list[str]:
    return [each.host for each in redis.sentinels] or [redis.host]
