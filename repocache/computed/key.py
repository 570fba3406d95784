"""The key of a computed value: all that the value depends on besides what its loader reads."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from repocache.errors import ConfigurationError, InvalidId
from repocache.keys import KeyOwner, Keys, is_key_type, key_type_names, owner_beside, shown
from repocache.tags import TagKeys

LOADED = "loaded"
"""What the owner of the values is called beside that of their tags."""


class ComputedKeys:
    """Texts of the keys of one class. `kind`: an int, a text, a UUID and so on, or a frozen
    msgspec.Struct, a frozen dataclass or a NamedTuple of these.

    Raises ConfigurationError for another.
    """

    def __init__(self, name: str, owner: KeyOwner, kind: Any) -> None:
        self._kind = kind
        self._parts, types = _fields(name, kind)
        self._keys = Keys(owner, types)
        self.prefix = owner.prefix

    def text(self, key: Any) -> str:
        """As `price:7:DE`. Raises InvalidId."""
        if type(key) is not self._kind:
            raise InvalidId(
                f"{self.prefix}: the key {shown(key)} is no {getattr(self._kind, '__name__', '')}"
            )
        return self._keys.text(self._parts(key))

    def is_long(self, key: Any) -> bool:
        """Whether it is longer than caches keep."""
        return self._keys.is_long(self._parts(key))


class KeyText(str):
    """The text of a key, with the key."""

    __slots__ = ("key",)

    key: Any


def key_owners(owner: KeyOwner) -> list[Keys]:
    """Of what is cached for a class: the tags of its values, and these themselves."""
    return [TagKeys(owner), ValueKeys(owner_beside(owner, LOADED))]


class ValueKeys(Keys):
    """Of the values of one class, each under the tokens of its tags."""

    __slots__ = ()

    def __init__(self, owner: KeyOwner) -> None:
        super().__init__(owner, (str,))

    def text(self, id: Any) -> str:
        return f"{self.prefix}:{id}"


def _fields(name: str, kind: Any) -> tuple[Callable[[Any], Any], Sequence[type]]:
    """What takes the parts out of a key, and their types."""
    if is_key_type(kind):
        return _itself, [kind]
    names = _field_names(kind)
    if names is None:
        raise ConfigurationError(
            f"{name}: a key is one of {key_type_names()}, or a frozen msgspec.Struct, a frozen "
            f"dataclass or a NamedTuple of these, not {getattr(kind, '__name__', kind)!r}"
        )
    hints = typing.get_type_hints(kind)
    types = [hints[each] for each in names]
    for each, hint in zip(names, types, strict=True):
        if not is_key_type(hint):
            raise ConfigurationError(
                f"{name}: the key's field {each!r} is to be one of {key_type_names()}, not {hint!r}"
            )
    if not names:
        raise ConfigurationError(f"{name}: a key has at least one field")
    if len(names) == 1:
        only = names[0]
        return lambda key: getattr(key, only), types
    return lambda key: tuple([getattr(key, each) for each in names]), types


def _field_names(kind: Any) -> tuple[str, ...] | None:
    if not inspect.isclass(kind):
        return None
    if issubclass(kind, msgspec.Struct):
        frozen = bool(kind.__struct_config__.frozen)
        return tuple(kind.__struct_fields__) if frozen else None
    if dataclasses.is_dataclass(kind):
        frozen = bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # as it is
        return tuple(each.name for each in dataclasses.fields(kind)) if frozen else None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(kind._fields)
    return None


def _itself(key: Any) -> Any:
    return key
