"""The application's own database, as a command is told it: `package.module:name`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from pkgutil import resolve_name
from traceback import walk_tb
from types import TracebackType

from repocache.cli.frame import CommandRefused
from repocache.cli.routes import tell_routes
from repocache.database import Database

PACKAGE = str(Path(__file__).parents[1])


class NoTarget(CommandRefused):
    """The name leads to no database. The message says why."""


def find_database(target: str) -> Database:
    """`target`: `module:name` of a `Database`, or of a function that makes one; looked for in the
    working directory first.

    Raises NoTarget, also for what the module itself raises while it is imported: its cause.
    """
    module, colon, name = target.partition(":")
    if not (module and colon and name):
        raise NoTarget(f"{target!r}: give module:name of your Database, as in shop.data:db")
    sys.path.insert(0, str(Path.cwd()))
    found = _imported(target, module)
    if callable(found) and not isinstance(found, type):
        found = _made(target, found)
    if not isinstance(found, Database):
        kind = f"the class {found.__name__}" if isinstance(found, type) else type(found).__name__
        raise NoTarget(f"{target!r} is {kind}: name a Database, or a function that makes one")
    tell_routes(vars(sys.modules[module]), found)
    return found


def _imported(target: str, module: str) -> object:
    try:
        return resolve_name(target)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (module == missing or module.startswith(missing + ".")):
            known = sorted(each.stem for each in Path.cwd().glob("*.py"))
            raise NoTarget(
                f"{target!r}: there is no module {missing!r} here or on Python's path"
                f"{did_you_mean(missing, known)}"
            ) from error
        raise NoTarget(_of_import(target, error)) from error
    except AttributeError as error:
        if error.__traceback__ is not None and _place(error.__traceback__):
            raise NoTarget(_of_import(target, error)) from error
        name, held = target.partition(":")[2], vars(sys.modules[module])
        databases = [each for each, value in held.items() if isinstance(value, Database)]
        near = f"; did you mean {databases[0]!r}?" if len(databases) == 1 else ""
        near = near or did_you_mean(name, (each for each in held if each[0] != "_"))
        raise NoTarget(f"{target!r}: {error}{near}") from error
    except (Exception, SystemExit) as error:
        raise NoTarget(_of_import(target, error)) from error


def _made(target: str, make: object) -> object:
    try:
        return make()  # type: ignore[operator]  # it is callable
    except (Exception, SystemExit) as error:
        raise NoTarget(_of_import(target, error)) from error


def _of_import(target: str, error: BaseException) -> str:
    """In one line: what was raised, and where in the application."""
    place = _place(error.__traceback__)
    words = " ".join(str(error).split())
    what = type(error).__name__ + (f": {words}" if words else "")
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}"
    return f"{target!r} cannot be had{f', at {place}' if place else ''}: {what}"


def _place(trace: TracebackType | None) -> str:
    """The innermost line of the application; empty: it is none of its own."""
    found = ""
    for frame, line in walk_tb(trace):
        file = frame.f_code.co_filename
        if not (file.startswith((PACKAGE, "<frozen")) or _is_library(file)):
            found = f"{file}:{line}"
    return found


def _is_library(file: str) -> bool:
    """Whether it was installed, or is Python's own."""
    roots = (str(Path(sys.prefix) / "lib"), str(Path(sys.base_prefix) / "lib"))
    return file.startswith(roots) or "site-packages" in file


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The near ones, to be put behind a message; empty: none is near."""
    near = difflib.get_close_matches(given, list(known), 3, 0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
