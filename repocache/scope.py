"""What rows belong to beside their id, as to a tenant: a part of each key, and set on every
connection that reads or writes them.

Owns the declaration and how a value looks to PostgreSQL. Whose value counts now is `routing`'s.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from repocache.errors import ConfigurationError

ScopeValue = str | int | uuid.UUID
"""Of exactly one of these types: that of the column which has it."""
Scopes = Mapping["Scope", ScopeValue]
"""The values that count now."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+")


@dataclass(frozen=True, slots=True)
class Scope:
    """Rows of which a reader sees those of one value alone, as row-level security has it:
    `tenant = Scope("tenant", setting="app.tenant")`, `KeyOwner("doc", scope=tenant)`, and then
    `async with db.scoped(tenant="a"): ...`.

    `name`: of the argument of `db.scoped()`. `setting`: PostgreSQL's setting, with a dot in its
    name, that the tables' policies compare with the column. `column`: the column attribute that
    has the value; None: the one that is called like the scope, or so with `_id` behind it.
    Repositories of one scope may say others.

    Raises ConfigurationError for names that are none.
    """

    name: str
    setting: str
    column: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        given: tuple[object, object, object] = (self.name, self.setting, self.column)
        name, setting, column = given
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f'Scope({name!r}): give the name of an argument, as in Scope("tenant", ...)'
            )
        if not isinstance(setting, str) or not _SETTING.fullmatch(setting):
            raise ConfigurationError(
                f"Scope({name!r}, setting={setting!r}): give the name of a setting of your own, "
                'with a dot in it, as in "app.tenant"'
            )
        if column is not None and (not isinstance(column, str) or not column):
            raise ConfigurationError(
                f"Scope({name!r}, column={column!r}): give the name of a column attribute"
            )


def settings_of(scopes: Scopes) -> dict[str, str]:
    """What PostgreSQL is told, by setting."""
    return {scope.setting: str(value) for scope, value in scopes.items()}
