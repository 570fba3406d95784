"""What rows belong to beside their id, as to a tenant: a part of each key, and set on every
connection that reads or writes them.

Owns the declaration and how a value looks to PostgreSQL. Whose value counts now is `routing`'s.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from repocache.errors import ConfigurationError

ScopeValue = str | int | uuid.UUID
"""Of exactly one of these types: that of the column which has it. A schema's is a text."""
Scopes = Mapping["Scope", ScopeValue]
"""The values that count now."""
Schemas = tuple[str, ...] | re.Pattern[str] | Callable[[str], bool]
"""Which texts name the schema of a tenant: these; those that the pattern matches as a whole; those
for which the function is true."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+")
PLAIN_SCHEMA = re.compile(r"(?!public$)[a-z_][a-z0-9_]*")
"""What names a tenant's schema where nothing else is said."""
_LONGEST_NAME = 63
"""Bytes of an identifier: PostgreSQL cuts what is longer, and two names would be one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Rows of which a reader sees those of one value alone, `KeyOwner("doc", scope=tenant)`, and
    then `async with db.scoped(tenant="a"): ...`. Either as row-level security has it,
    `tenant = Scope("tenant", setting="app.tenant")`, or in a schema for each value, with the same
    tables: `tenant = Scope("tenant", schema=True)`.

    `name`: of the argument of `db.scoped()`. `setting`: PostgreSQL's setting, with a dot in its
    name, that the tables' policies compare with the column. `column`: the column attribute that
    has the value; None: the one that is called like the scope, or so with `_id` behind it.
    Repositories of one scope may say others. `schema`: the value names a schema, and the tables
    none. `schemas`: the values that may; None: small letters, digits and underscores, but for
    `public`.

    Raises ConfigurationError for names that are none, and for what does not fit together.
    """

    name: str
    setting: str = ""
    column: str | None = field(default=None, compare=False)
    schema: bool = False
    schemas: Schemas | None = None

    def __post_init__(self) -> None:
        given: tuple[object, ...] = (self.name, self.setting, self.column, self.schema)
        name, setting, column, schema = given
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f'Scope({name!r}): give the name of an argument, as in Scope("tenant", ...)'
            )
        if schema is True:
            self._check_schema()
            return
        if not isinstance(setting, str) or not _SETTING.fullmatch(setting):
            raise ConfigurationError(
                f"Scope({name!r}, setting={setting!r}): give the name of a setting of your own, "
                'with a dot in it, as in "app.tenant"; or schema=True, where each value has a '
                "schema of its own"
            )
        if column is not None and (not isinstance(column, str) or not column):
            raise ConfigurationError(
                f"Scope({name!r}, column={column!r}): give the name of a column attribute"
            )
        if schema is not False or self.schemas is not None:
            raise ConfigurationError(
                f"Scope({name!r}, schema={self.schema!r}, schemas={self.schemas!r}): schemas are "
                "those of a scope with schema=True: leave them out"
            )

    def _check_schema(self) -> None:
        if self.setting or self.column is not None:
            raise ConfigurationError(
                f"Scope({self.name!r}, schema=True): its rows are known by their schema: leave "
                "setting and column out"
            )
        given: object = self.schemas
        if isinstance(given, tuple):
            for each in given:
                if why := no_identifier(each):
                    raise ConfigurationError(f"Scope({self.name!r}, schemas=...): {each!r} {why}")
        elif given is not None and not isinstance(given, re.Pattern) and not callable(given):
            raise ConfigurationError(
                f"Scope({self.name!r}, schemas={given!r}): give a tuple of names, a compiled "
                "pattern, or a function of a name that says whether it may be one"
            )

    def allows(self, value: str) -> bool:
        """Whether the text may name the schema of a value. What `schemas` raises, it raises."""
        if no_identifier(value):
            return False
        allowed = PLAIN_SCHEMA if self.schemas is None else self.schemas
        if isinstance(allowed, re.Pattern):
            return allowed.fullmatch(value) is not None
        return value in allowed if isinstance(allowed, tuple) else allowed(value) is True


def no_identifier(name: object) -> str:
    """Why this names no schema that tables of an application lie in; empty: it may."""
    if not isinstance(name, str) or not name or not name.isprintable():
        return "is no name: give a text of printable characters"
    if len(name.encode(errors="replace")) > _LONGEST_NAME:
        return f"is longer than the {_LONGEST_NAME} bytes of a name in PostgreSQL"
    if "." in name or name.startswith("pg_") or name == "information_schema":
        return "has a dot in it, or is PostgreSQL's own"
    return ""


def settings_of(scopes: Scopes) -> dict[str, str]:
    """What PostgreSQL is told, by setting."""
    return {scope.setting: str(value) for scope, value in scopes.items() if scope.setting}


def schema_of(scopes: Scopes) -> str | None:
    """The schema of tables that name none; None: no scope says."""
    return next((str(value) for scope, value in scopes.items() if scope.schema), None)
