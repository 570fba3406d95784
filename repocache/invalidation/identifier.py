"""Names of schemas, tables, columns and roles, as PostgreSQL keeps them.

It cuts a name that is too long, silently, and then means another.
"""

from __future__ import annotations

from collections.abc import Iterable

from repocache.errors import ConfigurationError

LONGEST = 63
"""Bytes, in UTF-8."""


def checked(argument: str, name: str) -> str:
    """The name. Raises ConfigurationError, which names the argument, for what cannot be one."""
    given: object = name
    if not isinstance(given, str) or not 0 < _size(given) <= LONGEST or "\0" in given:
        raise ConfigurationError(
            f"{argument}={name!r} is no name: give a text of 1 to {LONGEST} bytes without NUL"
        )
    return name


def checked_all(argument: str, names: Iterable[str]) -> tuple[str, ...]:
    """Several names. Raises ConfigurationError as `checked` does."""
    return tuple(checked(argument, name) for name in listed(argument, names))


def listed(argument: str, names: Iterable[str]) -> tuple[str, ...]:
    """Several texts. Raises ConfigurationError for one, whose letters would be taken for them."""
    if isinstance(names, str):
        raise ConfigurationError(
            f"{argument}={names!r}: give a list of names: {argument}=[{names!r}]"
        )
    return tuple(names)


def quoted(name: str, argument: str = "name") -> str:
    """The identifier as SQL has it, whatever is in it. Raises ConfigurationError as `checked`
    does."""
    return '"' + checked(argument, name).replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL has it, whatever is in it, and whatever the session makes of backslashes."""
    tag, number = "$repocache", 0
    while tag in text:
        number += 1
        tag = f"$repocache{number}"
    return f"{tag}${text}{tag}$"


def _size(name: str) -> int:
    """Bytes; more than enough for what UTF-8 does not know."""
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        return LONGEST + 1
