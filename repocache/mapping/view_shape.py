"""The shape of a view as a user declares it, a frozen `msgspec.Struct`, dataclass or Pydantic
model: its fields, and what makes one of their values.

Owns what the three have in common. Which fields fit which columns is `view`'s.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    NewType,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from repocache.errors import CodecError, ConfigurationError

V = TypeVar("V")


@dataclasses.dataclass(frozen=True, slots=True)
class ShapeField:
    """`keyword`: it is given by its name. `key`: under which a Pydantic model takes it."""

    name: str
    annotation: Any
    keyword: bool = False
    key: str = ""

    @property
    def options(self) -> list[Any]:
        """The members of its annotation's union, without what wraps them."""
        return list(_options(self.annotation))


@dataclasses.dataclass(frozen=True, slots=True)
class ViewShape(Generic[V]):
    """`make`: one of the fields' values, in their order; raises CodecError for values that the
    shape itself refuses. `validates`: it looks at values itself."""

    name: str
    fields: tuple[ShapeField, ...]
    make: Callable[[Sequence[Any]], V]
    validates: bool = False


class _Model(Protocol):
    """What a Pydantic model's class has."""

    model_config: Mapping[str, Any]
    model_fields: Mapping[str, Any]

    def model_validate(self, values: Mapping[str, Any]) -> Any: ...


def view_shape(shape: type[V]) -> ViewShape[V]:
    """Raises ConfigurationError for what is no such class, is not frozen or has no fields."""
    if not inspect.isclass(shape):
        raise _no_shape(shape)
    given: Any = shape
    hints = get_type_hints(shape, include_extras=True)
    if issubclass(shape, msgspec.Struct):
        frozen = bool(shape.__struct_config__.frozen)
        keywords = _keyword_fields(shape)
        found = [
            ShapeField(each, hints[each], each in keywords) for each in shape.__struct_fields__
        ]
        made: ViewShape[V] = _called(given, found)
    elif dataclasses.is_dataclass(shape):
        frozen = bool(vars(shape)["__dataclass_params__"].frozen)
        found = [
            ShapeField(each.name, hints[each.name], each.kw_only is True)
            for each in dataclasses.fields(shape)
            if each.init
        ]
        made = _called(given, found)
    elif _is_model(shape):
        frozen = bool(given.model_config.get("frozen"))
        found = list(_model_fields(given, hints))
        made = ViewShape(shape.__name__, tuple(found), _validated(given, found), validates=True)
    else:
        raise _no_shape(shape)
    if not frozen:
        raise ConfigurationError(
            f"view {shape.__name__} is shared by all callers: declare it with frozen=True"
        )
    if not found:
        raise ConfigurationError(f"view {shape.__name__}: it has no fields")
    return made


def is_shape(found: object) -> bool:
    """Whether it is a class of one of these kinds."""
    if not inspect.isclass(found):
        return False
    return issubclass(found, msgspec.Struct) or dataclasses.is_dataclass(found) or _is_model(found)


def _is_model(found: type) -> bool:
    return all(hasattr(found, each) for each in ("model_fields", "model_config", "model_validate"))


def _no_shape(shape: object) -> ConfigurationError:
    return ConfigurationError(
        f"view {shape!r}: give a frozen msgspec.Struct, dataclass or Pydantic model"
    )


def _keyword_fields(view: type[msgspec.Struct]) -> frozenset[str]:
    """Positional fields come first in a Struct's signature."""
    parameters = inspect.signature(view).parameters.values()
    return frozenset(
        each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY
    )


def _called(shape: type[V], fields: Sequence[ShapeField]) -> ViewShape[V]:
    make: Callable[..., V] = shape
    if not any(field.keyword for field in fields):
        return ViewShape(shape.__name__, tuple(fields), lambda values: make(*values))
    names = [field.name for field in fields]
    return ViewShape(
        shape.__name__,
        tuple(fields),
        lambda values: make(**dict(zip(names, values, strict=True))),
    )


def _model_fields(model: _Model, hints: Mapping[str, Any]) -> Iterator[ShapeField]:
    """Under the key that validation looks for: an alias, unless the model takes names too."""
    config = model.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = getattr(alias, "choices", None)
        key = choices[0] if choices else alias
        if by_name or key is None:
            key = name
        if not isinstance(key, str):
            raise ConfigurationError(
                f"view {getattr(model, '__name__', model)}.{name}: its alias {alias!r} is a path: "
                "set validate_by_name=True in its model_config"
            )
        yield ShapeField(name, hints[name], key=key)


def _validated(model: _Model, fields: Sequence[ShapeField]) -> Callable[[Sequence[Any]], Any]:
    keys = [field.key for field in fields]
    name = getattr(model, "__name__", "")

    def make(values: Sequence[Any]) -> Any:
        try:
            return model.model_validate(dict(zip(keys, values, strict=True)))
        except ValueError as error:  # a ValidationError is one
            # Not its own words: they show the row's values, and this ends in logs.
            places: list[Any] = getattr(error, "errors", list)()
            told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in places]
            raise CodecError(
                f"view {name}: the row's values are refused: "
                f"{'; '.join(told) or type(error).__name__}"
            ) from None

    return make


def _options(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _options(each)
    elif get_origin(annotation) is Annotated:
        yield from _options(get_args(annotation)[0])
    elif isinstance(annotation, NewType):
        yield from _options(annotation.__supertype__)
    else:
        yield annotation
