"""Which selects give rows of columns, and not entities."""

from __future__ import annotations

from sqlalchemy import CompoundSelect, Executable, Select, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.util import AliasedInsp

from repocache.errors import UsageError
from repocache.keys import shown


def check_columns(statement: Executable) -> None:
    """Raises UsageError for what is no select, or selects entities."""
    given: object = statement
    if isinstance(given, CompoundSelect):
        for part in given.selects:
            if isinstance(part, Executable):
                check_columns(part)
        return
    if not isinstance(given, Select):
        raise UsageError(
            f"rows({shown(given)}): give a select of columns, as in "
            "select(User.city, func.count()).group_by(User.city)"
        )
    for each in given.column_descriptions:
        found = inspect(each["expr"], raiseerr=False)
        if isinstance(found, Mapper | AliasedInsp):
            raise UsageError(
                f"rows(select({each['name']})): rows are of columns; name those that are wanted, "
                f"as in select({each['name']}.id, ...), or load entities: by `find`, or in a "
                "session of `db.reading()`"
            )
