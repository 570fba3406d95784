"""From the `WriteBehind` classes that a database is given to what they write, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from repocache.behind.columns import WrittenColumns
from repocache.behind.flush import Flush
from repocache.behind.write_behind import AnyBehind, WriteBehind
from repocache.errors import ConfigurationError, OwnerClash
from repocache.keys import KeyOwner, KeySpace
from repocache.mapping.options import MappingOptions
from repocache.mapping.plan import EntityPlan
from repocache.mapping.rules import MappingRules
from repocache.mapping.statement import LoadStatement
from repocache.repository.declared import declared_types, make_keys, model_and_id
from repocache.transactions.cached_marker import StateMaker

WANTED: Mapping[str, tuple[type, str]] = {
    "owner": (KeyOwner, 'KeyOwner("pageview")'),
    "flush": (Flush, "Flush(every=1.0)"),
    "mapping": (MappingOptions, "MappingOptions()"),
}
"""What a class declares, and how."""


@dataclass(frozen=True, slots=True)
class BehindBinding:
    """One class. `loading`: its rows by ids."""

    declared: AnyBehind
    columns: WrittenColumns[Any]
    loading: LoadStatement

    @property
    def owner(self) -> str:
        return self.declared.owner.prefix


def parted(given: Any) -> tuple[Any, tuple[AnyBehind, ...]]:
    """Repositories, as they were given but for the others, and the others. Whatever is neither is
    left among the first, to be refused there."""
    if isinstance(given, str | type) or not isinstance(given, Iterable):
        return given, ()
    everything = tuple(given)
    behind = tuple(
        each for each in everything if isinstance(each, type) and issubclass(each, WriteBehind)
    )
    return tuple(each for each in everything if each not in behind), behind


def bindings(
    declared: Iterable[AnyBehind],
    owners: KeySpace,
    state: StateMaker,
    rules: MappingRules,
    *,
    redis: bool,
) -> Mapping[AnyBehind, BehindBinding]:
    """`owners`: of the database's repositories. Raises ConfigurationError (MappingRefused,
    OwnerClash)."""
    found: dict[AnyBehind, BehindBinding] = {}
    prefixes = {keys.prefix for keys in owners}
    for each in declared:
        _check(each, rules, redis=redis)
        prefix = each.owner.prefix
        if each in found:
            raise ConfigurationError(f"Database(repositories=...): {each.__name__} is named twice")
        if prefix in prefixes:
            raise OwnerClash(
                f"{each.__name__}: another class of the database owns the prefix {prefix!r}: give "
                "one of them another KeyOwner prefix"
            )
        prefixes.add(prefix)
        found[each] = _binding(each, state, rules)
    return found


def _binding(each: AnyBehind, state: StateMaker, rules: MappingRules) -> BehindBinding:
    model, id_type = model_and_id(each, WriteBehind)
    plan: EntityPlan[Any] = EntityPlan.of(
        model,
        each.owner.prefix,
        each.mapping,
        state,
        rules=rules,
        id_types=declared_types(id_type),
    )
    columns = WrittenColumns(plan, make_keys(each, plan, id_type))
    assert rules.dialect is not None
    return BehindBinding(each, columns, plan.statement_for(rules.dialect))


def _check(each: AnyBehind, rules: MappingRules, *, redis: bool) -> None:
    name = each.__name__
    if not redis:
        raise ConfigurationError(
            f"{name}: a WriteBehind keeps what it accepts in Redis: give Database(redis=...)"
        )
    dialect = "none" if rules.dialect is None else rules.dialect.name
    if dialect != "postgresql":
        raise ConfigurationError(f"{name}: a WriteBehind needs PostgreSQL, not {dialect}")
    for attribute, (kind, example) in WANTED.items():
        given = getattr(each, attribute, None)
        if not isinstance(given, kind):
            raise ConfigurationError(
                f"{name}.{attribute}={given!r}: declare it, as in `{attribute} = {example}`"
            )
    if each.owner.scope is not None:
        raise ConfigurationError(
            f"{name}: its flush writes the rows of all values of the scope "
            f"{each.owner.scope.name!r} at once: leave the scope out"
        )
