"""What engines and drivers are told beyond a URL, checked when it is written down."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from repocache.errors import ConfigurationError

READ_ONLY = "default_transaction_read_only"
OURS = {
    "timeout": "TopologySettings(connect_timeout=...)",
    "connect_timeout": "TopologySettings(connect_timeout=...)",
    "async_creator_fn": "EngineSettings(async_creator=...)",
    "dsn": "the URL, as primary=... and replicas=[...]",
    "options": "EngineSettings(server_settings=...)",
    "server_settings": "EngineSettings(server_settings=...)",
    "target_session_attrs": "it in the URL",
}
"""Arguments of drivers that are told in another place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How connections are made: the same for the primary and its replicas.

    `connect_args`: arguments of the driver, as in
    `{"ssl": an_ssl_context, "password": a_function}`. `server_settings`: settings of the server for
    each connection, as in `{"jit": "off"}`.
    `async_creator`: called in the driver's place (`asyncpg.connect`) with its keyword arguments,
    which it may change and has to give on: for tokens, as of IAM. `json_serializer`,
    `json_deserializer`: in the place of `json.dumps` and `json.loads` for JSON columns; cached
    reads see what the deserializer makes, so it has to make what JSON knows. `write_pool_size`:
    connections for transactions on the primary, where they are not `TopologySettings.pool_size`.
    `pool_recycle`: seconds after which a connection is made anew at its next use, None: never.
    `echo`: log the statements (`"debug"`: and rows), as SQLAlchemy's `echo`; without it, errors of
    statements do not show their parameters (`hide_parameters`).

    Raises ConfigurationError.
    """

    connect_args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    server_settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    async_creator: Callable[..., Awaitable[Any]] | None = field(default=None, repr=False)
    json_serializer: Callable[[Any], str] | None = None
    json_deserializer: Callable[[str], Any] | None = None
    write_pool_size: int | None = None
    pool_recycle: float | None = None
    echo: bool | Literal["debug"] = False

    def __post_init__(self) -> None:
        for name in ("connect_args", "server_settings"):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise ConfigurationError(f"EngineSettings({name}=...): give a dictionary")
            object.__setattr__(self, name, MappingProxyType(dict(given)))
        self._check_told()
        for name in ("async_creator", "json_serializer", "json_deserializer"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise ConfigurationError(
                    f"EngineSettings({name}={type(given).__name__}): give a function"
                )
        if self.async_creator is not None and not _takes_arguments(self.async_creator):
            raise ConfigurationError(
                "EngineSettings(async_creator=...): it is called with the driver's arguments, "
                "which differ from node to node: `async def create(**arguments): return await "
                "asyncpg.connect(**{**arguments, 'password': token()})`"
            )
        if self.write_pool_size is not None and self.write_pool_size < 1:
            raise ConfigurationError(
                f"EngineSettings(write_pool_size={self.write_pool_size}): at least 1"
            )
        if self.pool_recycle is not None and not self.pool_recycle > 0:
            raise ConfigurationError(
                f"EngineSettings(pool_recycle={self.pool_recycle}): seconds, more than 0, or None"
            )

    def _check_told(self) -> None:
        for name in self.connect_args:
            if name in OURS:
                raise ConfigurationError(
                    f"EngineSettings(connect_args={{{name!r}: ...}}): give {OURS[name]}"
                )
        settings: Mapping[str, object] = self.server_settings
        for name, value in settings.items():
            if not isinstance(value, str):
                raise ConfigurationError(
                    f"EngineSettings(server_settings={{{name!r}: ...}}): give texts, as in "
                    f"{{'jit': 'off'}}"
                )
            if name == READ_ONLY:
                raise ConfigurationError(
                    f"EngineSettings(server_settings={{{READ_ONLY!r}: ...}}): leave it out; "
                    "connections for reads are read-only by themselves"
                )


def _takes_arguments(creator: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(creator).parameters)
    except ValueError:
        return True
