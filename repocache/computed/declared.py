"""From the `ReadThrough` classes that a database is given to how their values are kept, checked."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args, get_origin

from repocache.computed.key import ComputedKeys, key_owners
from repocache.computed.read_through import MOST_TOGETHER, ReadFunction, ReadThrough
from repocache.computed.value import ValueCodec
from repocache.errors import ConfigurationError
from repocache.keys import KeyOwner, Keys
from repocache.repository.promises import check_computed

AnyComputed: TypeAlias = type[ReadThrough[Any, Any]]


@dataclass(frozen=True, slots=True)
class ComputedBinding:
    """One class."""

    declared: AnyComputed
    keys: ComputedKeys
    codec: ValueCodec[Any]


def computed_bindings(declared: Iterable[AnyComputed]) -> Mapping[AnyComputed, ComputedBinding]:
    """Raises ConfigurationError for a class that cannot be kept as it is declared."""
    found: dict[AnyComputed, ComputedBinding] = {}
    for each in declared:
        if each in found:
            raise ConfigurationError(f"Database(repositories=...): {each.__name__} is named twice")
        found[each] = _binding(each)
    return found


def parted_computed(given: Any) -> tuple[Any, tuple[AnyComputed, ...]]:
    """Classes as they were given but for these, and these. Whatever is neither is left among the
    first, to be refused there."""
    if isinstance(given, str | type) or not isinstance(given, Iterable):
        return given, ()
    everything = tuple(given)
    computed = tuple(
        each for each in everything if isinstance(each, type) and issubclass(each, ReadThrough)
    )
    return tuple(each for each in everything if each not in computed), computed


def keys_of(computed: Mapping[AnyComputed, ComputedBinding]) -> list[Keys]:
    """All that is cached for these classes."""
    return [keys for each in computed for keys in key_owners(each.owner)]


def lives_of_computed(computed: Iterable[AnyComputed]) -> list[float]:
    """Seconds for which their values may be kept."""
    return [each.policy.longest for each in computed]


def _binding(each: AnyComputed) -> ComputedBinding:
    name = each.__name__
    owner = getattr(each, "owner", None)
    if not isinstance(owner, KeyOwner):
        raise ConfigurationError(
            f'{name}.owner={owner!r}: declare who makes its keys, as in `owner = KeyOwner("price")`'
        )
    if owner.scope is not None or owner.follows is not None:
        raise ConfigurationError(
            f"{name}.owner: computed values depend on what `load` reads: leave `scope` and "
            "`follows` out; what they depend on besides is a field of the key"
        )
    check_computed(name, each.policy)
    together: object = each.together
    if not isinstance(together, int) or not 0 < together <= MOST_TOGETHER:
        raise ConfigurationError(
            f"{name}.together={together!r}: give a number of keys from 1 to {MOST_TOGETHER}"
        )
    if each.load is ReadThrough.load:
        raise ConfigurationError(
            f"{name}: write `async def load(self, keys, reader)`, which gives a mapping of keys to "
            "values"
        )
    if each.refreshes() and not each.policy.freshness.is_aged:
        raise ConfigurationError(
            f"{name}: `refresh` is asked of values past their ttl, and none is kept: give `policy "
            "= CacheAside(freshness=Freshness(stale_while_revalidate=60))`, or leave it out"
        )
    key, value = _types(each)
    return ComputedBinding(each, ComputedKeys(name, owner, key), ValueCodec(name, value))


def _types(each: AnyComputed) -> tuple[Any, Any]:
    """Of keys and values, without the None of what has no value."""
    if issubclass(each, ReadFunction):
        key, value = vars(each)["types"]
    else:
        key, value = _declared(each)
    given = [option for option in get_args(value) if option is not type(None)]
    if type(None) in get_args(value) and given:
        value = typing.Union[tuple(given)]  # noqa: UP007 - of a list
    return key, value


def _declared(each: AnyComputed) -> tuple[Any, Any]:
    for base in getattr(each, "__orig_bases__", ()):
        if get_origin(base) is ReadThrough:
            key, value = get_args(base)
            if not any(isinstance(part, typing.TypeVar) for part in (key, value)):
                return key, value
    raise ConfigurationError(
        f"{each.__name__}: name the types of key and value, as in "
        f"`class {each.__name__}(ReadThrough[PriceKey, Price])`"
    )
