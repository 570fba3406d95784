"""What a test forgot: tables before it, a database that is open after it."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Table
from sqlalchemy import inspect as mapper_of
from sqlalchemy.orm import Mapper

from repocache.behind.write_behind import WriteBehind
from repocache.database import Database
from repocache.errors import NotStarted
from repocache.repository.declared import model_and_id
from repocache.repository.repository import Repository
from repocache.runtime.given import Declared


def missing_tables(repositories: Iterable[Declared], present: Collection[str]) -> list[str]:
    """Names of the repositories' tables that are not among those; schemas are not compared. Raises
    ConfigurationError for a class that names no entity."""
    mappers: list[Mapper[Any]] = [
        mapper_of(model_and_id(each, base)[0])
        for each in repositories
        for base in (Repository, WriteBehind)
        if issubclass(each, base)
    ]
    tables = [each for mapper in mappers for each in mapper.tables if isinstance(each, Table)]
    return sorted({table.name for table in tables} - set(present))


def is_open(database: Database) -> bool:
    """Whether it was entered and not left, be its loop closed or not. Not for async code."""
    try:
        _ = database.is_durable
    except NotStarted:
        return False
    return True
