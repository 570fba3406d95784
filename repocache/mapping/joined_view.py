"""Views over several tables: shapes whose fields name relationships, and are made of entities that
have these loaded.

Owns the verdict on such a shape, and what is to be loaded for it. Reading it is
`repository.view`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_origin

from sqlalchemy.orm import InstrumentedAttribute, Mapper, RelationshipProperty

from repocache.errors import ConfigurationError
from repocache.mapping.view_shape import ShapeField, ViewShape, is_shape, view_shape

V = TypeVar("V")

Way = tuple[InstrumentedAttribute[Any], ...]
_MANY: Mapping[type, Callable[[Iterable[Any]], Any]] = {
    tuple: tuple,
    frozenset: frozenset,
    list: list,
    Sequence: tuple,
}
"""What collects the shapes of a relationship to many, by the annotation's class."""


@dataclass(frozen=True, slots=True)
class JoinedShape(Generic[V]):
    """`load`: the relationships that it names, each way as `load=` has it. `make`: one of an entity
    that has them loaded."""

    load: tuple[Way, ...]
    make: Callable[[Any], V]


def joined_shapes(shapes: Iterable[type[Any]], mapper: Mapper[Any]) -> dict[type, JoinedShape[Any]]:
    """Those that name relationships; the others are of rows. Raises ConfigurationError."""
    return {
        shape: joined_shape(shape, mapper)
        for shape in shapes
        if any(field.name in mapper.relationships for field in view_shape(shape).fields)
    }


def joined_shape(
    shape: type[V], mapper: Mapper[Any], above: tuple[type, ...] = ()
) -> JoinedShape[V]:
    """`mapper`: of the entities that it is made of. `above`: the shapes that it is within.

    Raises ConfigurationError, naming the field, for one that is neither a column nor a
    relationship, for a relationship whose annotation is no shape, and for a shape within itself.
    """
    found: ViewShape[V] = view_shape(shape)
    if shape in above:
        raise ConfigurationError(f"view {found.name}: it is within itself, and has no end")
    parts = [_part(found.name, field, mapper, (*above, shape)) for field in found.fields]
    ways = tuple(way for part in parts for way in part.load)
    takes = [part.make for part in parts]
    make = found.make
    return JoinedShape(ways, lambda entity: make([take(entity) for take in takes]))


def _part(
    view: str, field: ShapeField, mapper: Mapper[Any], above: tuple[type, ...]
) -> JoinedShape[Any]:
    """What a field needs, and takes from an entity."""
    name = field.name
    if name in mapper.relationships:
        return _related(view, field, mapper.relationships[name], above)
    if name not in mapper.column_attrs:
        known = ", ".join(sorted([*mapper.column_attrs.keys(), *mapper.relationships.keys()]))
        raise ConfigurationError(
            f"view {view}.{name}: {mapper.class_.__name__} has no column or relationship of this "
            f"name, but {known}"
        )
    return JoinedShape((), lambda entity: getattr(entity, name))


def _related(
    view: str,
    field: ShapeField,
    relationship: RelationshipProperty[Any],
    above: tuple[type, ...],
) -> JoinedShape[Any]:
    name, target = field.name, relationship.mapper
    inner, collect = _annotated(view, field, many=bool(relationship.uselist))
    joined: JoinedShape[Any] = joined_shape(inner, target, above)
    relation: InstrumentedAttribute[Any] = getattr(relationship.parent.class_, name)
    ways = tuple((relation, *way) for way in joined.load) or ((relation,),)
    make = joined.make

    def one(entity: Any) -> Any:
        value = getattr(entity, name)
        return None if value is None else make(value)

    def several(entity: Any) -> Any:
        value = getattr(entity, name)
        members = value.values() if isinstance(value, Mapping) else value
        return collect(map(make, members))

    return JoinedShape(ways, several if relationship.uselist else one)


def _annotated(
    view: str, field: ShapeField, *, many: bool
) -> tuple[type, Callable[[Iterable[Any]], Any]]:
    """The shape that a relationship's field is annotated with, and what collects several."""
    options = [each for each in field.options if each not in (None, type(None))]
    found = list(_shapes(options, many=many))
    if len(options) != 1 or not found:
        wanted = "tuple[Card, ...]" if many else "Card, or Card | None"
        raise ConfigurationError(
            f"view {view}.{field.name}: it is a relationship to {'many' if many else 'one'}, and "
            f"annotated with {field.annotation}: annotate it with another view's shape, as in "
            f"{wanted}"
        )
    return found[0]


def _shapes(
    options: Iterable[Any], *, many: bool
) -> Iterator[tuple[type, Callable[[Iterable[Any]], Any]]]:
    for each in options:
        if not many:
            if is_shape(each):
                yield each, tuple
            continue
        collected = get_origin(each)
        inner = [part for part in get_args(each) if part is not Ellipsis]
        if collected in _MANY and len(inner) == 1 and is_shape(inner[0]):
            yield inner[0], _MANY[collected]
