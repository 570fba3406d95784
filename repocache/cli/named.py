"""What a command is told by name: an owner, and ids of its keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from repocache.cli.frame import CommandRefused
from repocache.cli.target import did_you_mean
from repocache.database import Database
from repocache.errors import OwnerClash
from repocache.keys import Keys, shown

LITERAL = (int, bool, bytes)
"""Types of ids whose text in a key is what a person writes."""


def find_owner(db: Database, name: str, *, kinds: str = "repository") -> type[Any]:
    """The class that is called so, or that owns the prefix. `kinds`: "repository", "behind", or
    "cached", which are repositories and computed values. Raises CommandRefused, naming the near
    ones."""
    plan = db.plan
    repositories: list[type[Any]] = [each for each, _ in plan.registry]
    cached = [*repositories, *plan.computed]
    classes: list[type[Any]] = {
        "repository": repositories,
        "behind": list(plan.behind),
        "cached": cached,
    }[kinds]
    known = _called(classes)
    if name in known:
        return known[name]
    if name in _called(plan.behind):
        raise CommandRefused(f"{shown(name)} is written behind: `repocache behind` shows it")
    if name in _called(cached):
        raise CommandRefused(f"{shown(name)} is nothing that this command is for; see --help")
    names = ", ".join(each.__name__ for each in classes) or "none"
    near = did_you_mean(name, known)
    raise CommandRefused(f"{shown(name)} is no such owner here{near or f'; there are {names}'}")


def _called(classes: Iterable[type[Any]]) -> dict[str, type[Any]]:
    """By name, and by prefix."""
    named = {each.__name__: each for each in classes}
    return named | {each.owner.prefix: each for each in named.values()}


def id_text(keys: Keys, given: str) -> str:
    """The text of an id in its key: of a composite one as its key has it (`1:2`), of a single
    column as a person writes it. Raises CommandRefused for one of another type."""
    text = given
    if keys.single and not issubclass(keys.types[0], LITERAL):
        text = quote(given, safe="")
        if keys.types[0].__name__ in ("UUID", "date", "Decimal"):
            text = given.replace("-", "") if keys.types[0].__name__ == "UUID" else given
    try:
        id = keys.id(f"{keys.prefix}:{text}")
        return keys.text(id).removeprefix(f"{keys.prefix}:")
    except (OwnerClash, ValueError) as error:
        types = ", ".join(each.__name__ for each in keys.types)
        how = "" if keys.single else ", in the key's order with colons between"
        raise CommandRefused(
            f"{shown(given)} is no id of {keys.prefix}: its type is ({types}){how}"
        ) from error
