"""What holds for the mappings of all repositories of one database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from repocache.codec.column import ColumnCodec
from repocache.errors import ConfigurationError

Codecs = Mapping[type[TypeEngine[Any]], ColumnCodec[Any]]


class Eager(Enum):
    """What becomes of relationships that the mapping loads with their owner (`lazy="joined"`,
    `"selectin"`, `"subquery"`, `"immediate"`, `"dynamic"`), whose rows change without it."""

    NOT_LOADED = "not_loaded"
    """Entities come without them; reading one raises `DetachedInstanceError`, as of any
    relationship that nobody has asked for by `load=`."""
    REFUSE = "refuse"
    """MappingRefused when the database is built, unless declared `not_loaded`."""


@dataclass(frozen=True, slots=True)
class MappingRules:
    """`dialect`: of the database; None: no type may depend on it. `codecs`: by SQLAlchemy's type,
    of columns whose repository declares none."""

    dialect: Dialect | None = None
    eager: Eager = Eager.NOT_LOADED
    codecs: Codecs = field(default_factory=dict)

    def codec(self, type_: TypeEngine[Any]) -> ColumnCodec[Any] | None:
        """Of the nearest of the type's classes that has one."""
        for each in type(type_).__mro__:
            if each in self.codecs:
                return self.codecs[each]
        return None


def check_codecs(given: object) -> None:
    """Raises ConfigurationError for what are no codecs by type."""
    if not isinstance(given, Mapping) or not all(
        isinstance(kind, type) and issubclass(kind, TypeEngine) and isinstance(codec, ColumnCodec)
        for kind, codec in given.items()
    ):
        raise ConfigurationError(
            f"Settings(codecs={given!r}): give ColumnCodecs by classes of SQLAlchemy types, as in "
            "{Money: ColumnCodec(...)}"
        )
