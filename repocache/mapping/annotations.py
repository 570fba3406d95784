"""What a mapped class's own annotation says of the type of an attribute's values."""

from __future__ import annotations

import types
from typing import Annotated, Any, NewType, Union, get_args, get_origin, get_type_hints

from sqlalchemy.orm import Mapped, Mapper


def annotated_type(mapper: Mapper[Any], name: str) -> type | None:
    """A plain class, without `Mapped` and `None` around it; None: nothing of the kind is said."""
    for cls in mapper.class_.__mro__:
        if name in vars(cls).get("__annotations__", ()):
            try:
                hints = get_type_hints(cls, include_extras=True)
            except Exception:  # noqa: BLE001 - names that exist for type checkers alone
                return None
            return plain_type(hints.get(name))
    return None


def plain_type(annotation: Any) -> type | None:
    """As `annotated_type`, of an annotation."""
    if isinstance(annotation, NewType):
        return plain_type(annotation.__supertype__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        members = [each for each in arguments if each is not type(None)]
        return plain_type(members[0]) if len(members) == 1 else None
    if origin is Annotated or (isinstance(origin, type) and issubclass(origin, Mapped)):
        return plain_type(arguments[0])
    return annotation if origin is None and isinstance(annotation, type) else None
