"""From a repository class to a binding: what its declaration says, checked before anything is
read."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from inspect import getattr_static
from typing import Any, TypeVar, get_args, get_origin

from repocache.cache.few_tiers import (
    AlwaysConsistent,
    LocalOnly,
    SharedOnly,
    Uncached,
    WriteAround,
)
from repocache.cache.policies import CacheAside, Policy, WriteThrough
from repocache.errors import ConfigurationError
from repocache.keys import KeyOwner, Keys
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from repocache.repository.cached_queries import CachedQueries
from repocache.repository.counts import Count
from repocache.repository.key_lists import KeyList
from repocache.repository.lookup import Lookup
from repocache.repository.repository import Repository
from repocache.repository.view import View

_NAMES: Mapping[type, str] = {
    KeyOwner: "owner",
    **dict.fromkeys((CacheAside, WriteThrough, WriteAround, LocalOnly, SharedOnly), "policy"),
    **dict.fromkeys((Uncached, AlwaysConsistent), "policy"),
    MappingOptions: "mapping",
    CachedQueries: "queries",
}
"""What is looked for under which name."""


_BESIDE = (View, Lookup, KeyList, Count)


def model_and_id(repository: type[Any], base: type[Any] = Repository) -> tuple[type, Any]:
    """What the class says for `M` and `I` of the base, also through generic classes of the user's
    own between.

    Raises ConfigurationError if it does not.
    """
    found: list[Any] = [*_arguments(repository, base)]
    if (
        len(found) != 2
        or any(isinstance(each, TypeVar) for each in found)
        or not isinstance(found[0], type)
    ):
        raise ConfigurationError(
            f"{repository.__name__}: name the entity and the type of its id, as in "
            f"`class {repository.__name__}({base.__name__}[User, int])`"
        )
    return found[0], found[1]


def _arguments(cls: Any, target: type) -> Sequence[Any]:
    """The type arguments that `cls` gives to `target`, through generic classes between them."""
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base) or base
        if origin is target:
            return get_args(base)
        if isinstance(origin, type) and issubclass(origin, target):
            inner = _arguments(origin, target)
            names = dict(zip(getattr(origin, "__parameters__", ()), get_args(base), strict=False))
            return [names.get(each, each) for each in inner]
    for base in getattr(cls, "__bases__", ()):
        if base is not target and issubclass(base, target):
            return _arguments(base, target)
    return ()


def check_declaration(repository: type[Repository[Any, Any]]) -> None:
    """Raises ConfigurationError for an `owner` that is missing, or what is something else or under
    another name."""
    name = repository.__name__
    for cls in repository.__mro__:
        for attribute, value in vars(cls).items():
            right = _NAMES.get(type(value), attribute)
            if isinstance(value, View | Lookup | KeyList | Count) and hasattr(
                Repository, attribute
            ):
                raise ConfigurationError(
                    f"{name}.{attribute} = {type(value).__name__}(...): a repository has a "
                    f"{attribute!r} of its own; give it another name"
                )
            if attribute != right:
                raise ConfigurationError(
                    f"{name}.{attribute} is a {type(value).__name__}, which is looked for under "
                    f"the name {right!r}"
                )
    if not isinstance(getattr(repository, "owner", None), KeyOwner):
        raise ConfigurationError(
            f'{name}.owner: declare who makes its keys, as in `owner = KeyOwner("user")`'
        )
    if not isinstance(repository.policy, Policy):
        raise ConfigurationError(
            f"{name}.policy={repository.policy!r}: give a policy, as in `CacheAside(ttl=60)`"
        )
    queries: object = repository.queries
    if not isinstance(queries, CachedQueries | None):
        raise ConfigurationError(
            f"{name}.queries={queries!r}: give `CachedQueries(ttl=60)`, or leave it out"
        )
    if queries is not None and repository.policy.primary_alone:
        raise ConfigurationError(
            f"{name}.queries={repository.queries!r}: under {repository.policy!r} lists are the "
            "primary's, and cached ones are not: leave it out, or give another policy"
        )
    if not isinstance(repository.mapping, MappingOptions):
        raise ConfigurationError(
            f"{name}.mapping={repository.mapping!r}: give `MappingOptions(...)`"
        )


def declared_types(id_type: Any) -> tuple[Any, ...]:
    """Of an id's parts, as the declaration has them."""
    if isinstance(id_type, type) and issubclass(id_type, tuple) and hasattr(id_type, "_fields"):
        hints = typing.get_type_hints(id_type)
        return tuple(hints[field] for field in id_type._fields)
    if get_origin(id_type) is tuple:
        return get_args(id_type)
    return (id_type,)


def make_keys(repository: type[Any], plan: EntityPlan[Any], id_type: Any) -> Keys:
    """The keys of the declared id. Raises ConfigurationError if it is not the type of the primary
    key."""
    types = plan.id_types
    declared = declared_types(id_type)
    if len(types) > 1 and hasattr(id_type, "_fields"):
        _check_order(repository, id_type, plan)
    if declared != types:
        shown = ", ".join(each.__name__ for each in types)
        raise ConfigurationError(
            f"{repository.__name__}: the primary key of {plan.model.__name__} is ({shown}), the "
            f"declared id {getattr(id_type, '__name__', id_type)!r} is not; its fields go in "
            "primary-key order"
        )
    make = getattr(id_type, "_make", tuple)
    return Keys(repository.owner, plan.key, make)


def _check_order(repository: type[Any], id_type: Any, plan: EntityPlan[Any]) -> None:
    """Fields named as the key's attributes but in another order would be swapped unseen where types
    are equal."""
    fields = list(id_type._fields)
    names = [plan.mapper.get_property_by_column(column).key for column in plan.id_columns]
    if fields != names and sorted(fields) == sorted(names):
        raise ConfigurationError(
            f"{repository.__name__}: the fields of {id_type.__name__} are ({', '.join(fields)}), "
            f"the primary key of {plan.model.__name__} is ({', '.join(names)}): name them in its "
            "order"
        )


def views_of(repository: type[Repository[Any, Any]]) -> Iterable[type]:
    """The shapes of all views that the class declares or inherits."""
    seen: dict[type, None] = {}
    for cls in repository.__mro__:
        for value in vars(cls).values():
            if isinstance(value, View):
                seen[value.shape] = None
    return list(seen)


def lookups_of(repository: type[Repository[Any, Any]]) -> list[Lookup[Any]]:
    """All that the class declares, or inherits and does not replace."""
    return [each for each in _declared(repository) if isinstance(each, Lookup)]


def key_lists_of(repository: type[Repository[Any, Any]]) -> list[KeyList]:
    """As `lookups_of`."""
    return [each for each in _declared(repository) if isinstance(each, KeyList)]


def counts_of(repository: type[Repository[Any, Any]]) -> list[Count]:
    """As `lookups_of`."""
    return [each for each in _declared(repository) if isinstance(each, Count)]


def _declared(repository: type[object]) -> list[object]:
    return [getattr_static(repository, name) for name in dir(repository)]
