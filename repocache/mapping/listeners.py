"""Whether a class's `load` listeners can run for an entity that no query has loaded.

Owns the look into a listener's code; at run time `entity.NoQuery` stands guard.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Mapper

from repocache.errors import MappingRefused


def check_listeners(mapper: Mapper[Any]) -> None:
    """Raise MappingRefused for a listener whose code uses its second argument, the query
    context."""
    for listener in mapper.class_manager.dispatch.load:
        # SQLAlchemy wraps a listener that wants the entity rather than its state.
        function = inspect.unwrap(_nonlocals(listener).get("fn", listener))
        if inspect.isroutine(function) and _is_foreign(function) and _uses_context(function):
            raise MappingRefused(
                f"{mapper.class_.__name__}: the load listener {function.__qualname__} uses the "
                "query context, and an entity from a cache was not loaded by a query: let the "
                "listener do with the entity alone"
            )


def _nonlocals(function: Callable[..., Any]) -> Mapping[str, Any]:
    return inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}


def _is_foreign(function: Callable[..., Any]) -> bool:
    return not (function.__module__ or "").startswith("sqlalchemy.")


def _uses_context(function: Callable[..., Any]) -> bool:
    plain = getattr(function, "__func__", function)
    if not inspect.isfunction(plain):
        return False
    arguments = plain.__code__.co_varnames[: plain.__code__.co_argcount]
    context = arguments[1 + inspect.ismethod(function) :][:1]
    return any(
        # Newer Pythons load two variables by one instruction.
        set(context).intersection(each.argval if isinstance(each.argval, tuple) else (each.argval,))
        for each in dis.get_instructions(plain)
        if each.opname.startswith("LOAD") and isinstance(each.argval, str | tuple)
    )
