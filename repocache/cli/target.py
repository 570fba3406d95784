"""The application's own database, as a command is told it: `package.module:name`."""

from __future__ import annotations

import sys
from pathlib import Path
from pkgutil import resolve_name

from repocache.database import Database


class NoTarget(Exception):
    """The name leads to no database. The message says why."""


def find_database(target: str) -> Database:
    """`target`: `module:name` of a `Database`, or of a function that makes one; looked for in the
    working directory first.

    Raises NoTarget; what the module itself raises while it is imported goes through.
    """
    module, colon, name = target.partition(":")
    if not (module and colon and name):
        raise NoTarget(f"{target!r}: give module:name of your Database, as in shop.data:db")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = resolve_name(target)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise NoTarget(
            f"{target!r}: there is no module {error.name!r} here or on Python's path"
        ) from error
    except AttributeError as error:
        raise NoTarget(f"{target!r}: {error}") from error
    if callable(found):
        found = found()
    if not isinstance(found, Database):
        raise NoTarget(
            f"{target!r} is {type(found).__name__}: name a Database, or a function that makes one"
        )
    return found
