"""What a repository declares about its mapping where the mapping itself cannot say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from repocache.codec.column import ColumnCodec
from repocache.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """Declarations by attribute name. Raises ConfigurationError for a wrong form.

    `codecs`: how the values of a `TypeDecorator`, or of a type that is not known, are cached.
    `not_loaded`: columns and eager relationships that cached entities do without; reading one
    raises `DetachedInstanceError`. `derived`: `column_property()` attributes computed by SQL that
    may be cached. Any write to a table that their expressions read invalidates the whole owner,
    unless `KeyOwner(follows=...)` names tables: then it follows exactly these. What a text or a
    function in the expression reads is not seen: name its tables there, beside the others.
    `unfiltered`: rows are read as they are stored, though a listener narrows what sessions select
    (a global `with_loader_criteria`).
    """

    codecs: Mapping[str, ColumnCodec[Any]] = field(default_factory=dict)
    not_loaded: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    unfiltered: bool = False

    def __post_init__(self) -> None:
        for argument in ("not_loaded", "derived"):
            names = getattr(self, argument)
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise ConfigurationError(f"{argument}={names!r}: give a tuple of attribute names")
        for name, codec in self.codecs.items():
            if not isinstance(codec, ColumnCodec):
                raise ConfigurationError(f"codecs[{name!r}]={codec!r}: give a ColumnCodec")
        twice = {*self.codecs, *self.derived}.intersection(self.not_loaded)
        if twice:
            raise ConfigurationError(f"not_loaded={sorted(twice)}: declared as loaded, too")
        object.__setattr__(self, "codecs", MappingProxyType(dict(self.codecs)))

    @property
    def names(self) -> frozenset[str]:
        """All attributes that are spoken of."""
        return frozenset({*self.codecs, *self.not_loaded, *self.derived})
