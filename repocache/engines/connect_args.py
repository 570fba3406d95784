"""What the driver of a node is told when it connects: of the URL, the limits, and the engine's
settings.

Pure. Owns the words of each driver; what a URL may say is `database_url`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import URL

from repocache.engines.database_url import ASYNCPG, libpq_options, typed_options
from repocache.engines.engine_settings import READ_ONLY, EngineSettings
from repocache.engines.topology_settings import TopologySettings
from repocache.errors import ConfigurationError

OF_READS = {"read-write": "primary", "read-only": "standby"}
"""`target_session_attrs` for connections that are read-only by our own wish: a server is not asked
whether it would write, but what it is."""


def connect_args(
    url: URL, settings: TopologySettings, engine: EngineSettings, *, read_only: bool
) -> dict[str, Any]:
    """A deadline for connecting, read-only transactions where they are wanted, and what else was
    asked for. Raises ConfigurationError for what the driver has not."""
    if url.drivername == ASYNCPG:
        told = _of_asyncpg(url, settings, engine, read_only=read_only)
    elif url.get_backend_name() == "postgresql":
        told = _of_libpq(url, settings, engine, read_only=read_only)
    elif engine.server_settings:
        raise ConfigurationError(
            f"EngineSettings(server_settings=...): {url.get_backend_name()} has none; leave it out"
        )
    else:
        told = {}
    if engine.async_creator is not None:
        told["async_creator_fn"] = engine.async_creator
    return told | dict(engine.connect_args)


def _of_asyncpg(
    url: URL, settings: TopologySettings, engine: EngineSettings, *, read_only: bool
) -> dict[str, Any]:
    told: dict[str, Any] = {"timeout": settings.connect_timeout} | typed_options(url)
    if libpq := libpq_options(url):
        # Explicit arguments count more than those of a dsn, so that only the options are read.
        told["dsn"] = f"postgresql://?{urlencode(libpq)}"
    if server := _server_settings(engine, read_only=read_only):
        told["server_settings"] = server
    return told | _session_attributes(told, read_only=read_only)


def _of_libpq(
    url: URL, settings: TopologySettings, engine: EngineSettings, *, read_only: bool
) -> dict[str, Any]:
    told: dict[str, Any] = {"connect_timeout": math.ceil(settings.connect_timeout)}
    if server := _server_settings(engine, read_only=read_only):
        given = url.query.get("options", "")
        ours = (f"-c {name}={_escaped(value)}" for name, value in server.items())
        told["options"] = " ".join(
            (given if isinstance(given, str) else " ".join(given), *ours)
        ).strip()
    return told | _session_attributes(url.query, read_only=read_only)


def _server_settings(engine: EngineSettings, *, read_only: bool) -> dict[str, str]:
    return dict(engine.server_settings) | ({READ_ONLY: "on"} if read_only else {})


def _session_attributes(given: Mapping[str, Any], *, read_only: bool) -> dict[str, str]:
    wanted = given.get("target_session_attrs")
    return {"target_session_attrs": OF_READS[wanted]} if read_only and wanted in OF_READS else {}


def _escaped(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)
