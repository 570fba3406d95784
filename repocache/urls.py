"""Addresses as they are given: a text, or another library's object that has one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from repocache.errors import ConfigurationError


@runtime_checkable
class UrlObject(Protocol):
    """What pydantic's `PostgresDsn`, `RedisDsn` and their kin have."""

    def unicode_string(self) -> str:
        """The whole URL, with its password."""
        ...


@runtime_checkable
class SecretText(Protocol):
    """What pydantic's `SecretStr` has."""

    def get_secret_value(self) -> str:
        """The text that its `str()` hides."""
        ...


def text_of(argument: str, given: object, example: str) -> str:
    """The URL's text. Raises ConfigurationError naming `argument`, with what it has to look like."""
    if isinstance(given, str):
        return given
    if isinstance(given, SecretText):
        return text_of(argument, given.get_secret_value(), example)
    if isinstance(given, UrlObject):
        return given.unicode_string()
    if isinstance(given, list | tuple | set | frozenset | dict):
        raise ConfigurationError(f"{argument}: give one URL, not a {type(given).__name__}: {example}")
    raise ConfigurationError(f"{argument}: a {type(given).__name__} is not a URL: {example}")
