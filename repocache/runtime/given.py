"""What a database is given, or what it takes where nothing is."""

from __future__ import annotations

from typing import TypeVar

from repocache.errors import ConfigurationError

T = TypeVar("T")


def given_or_default(argument: str, given: T | None, kind: type[T]) -> T:
    """Raises ConfigurationError for what is of another kind."""
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise ConfigurationError(
            f"Database({argument}={type(given).__name__}): give {kind.__name__}(...)"
        )
    return given
