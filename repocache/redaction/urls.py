"""Addresses as they are given: a text, or another library's object that has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from repocache.errors import ConfigurationError

LOGIN = "in its user and password write / ? # @ : % as %2F %3F %23 %40 %3A %25"
"""What to do where the characters of a password may have ended the login too soon."""


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
    """The URL's text. Raises ConfigurationError naming `argument`, with what it has to look
    like."""
    if isinstance(given, str):
        return given
    if isinstance(given, SecretText):
        return text_of(argument, given.get_secret_value(), example)
    if isinstance(given, UrlObject):
        return given.unicode_string()
    if isinstance(given, list | tuple | set | frozenset | dict):
        raise ConfigurationError(
            f"{argument}: give one URL, not a {type(given).__name__}: {example}"
        )
    raise ConfigurationError(f"{argument}: a {type(given).__name__} is not a URL: {example}")


def may_be_named(options: Mapping[str, object]) -> bool:
    """Whether a message may show a name among a URL's options: none of them is a password, of which
    an `&` would have made more options, nor holds the `@` that ends a login."""
    return not any("password" in name or "@" in f"{name}{text}" for name, text in options.items())
