"""Which owners' rows live in a table, and whose rows the database changes by itself when a table is written.

Owns the way from a table to its owners, foreign keys' `ON DELETE` and `ON UPDATE` included. Pure, made once; what a
statement does to a table is `tracking.statements`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Date, ForeignKeyConstraint, Integer, LargeBinary, String, Table, Text, Unicode, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.sql.visitors import ExternallyTraversible, iterate
from sqlalchemy.types import UnicodeText

from repocache.errors import ConfigurationError
from repocache.keys import Keys

_ACTIONS = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})
_TEXTS = frozenset({String, Text, Unicode, UnicodeText, postgresql.VARCHAR, postgresql.TEXT})
_PLAIN = (Integer, Uuid, LargeBinary, Date)


@dataclass(frozen=True, slots=True)
class Owned:
    """An owner's keys, and for each table of its mappers the columns that hold the id, in the key's order."""

    keys: Keys
    tables: Mapping[Table, tuple[Column[Any], ...]]


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """Where an owner's ids are in one table.

    `trusted`: a value given for a column is the value in the row. Not so for CHAR (padded), CITEXT, collations and
    types of the application's own: there only what the database returns counts.
    """

    keys: Keys
    columns: tuple[Column[Any], ...]
    trusted: bool


@dataclass(frozen=True, slots=True)
class Owners:
    """Whom a write to one table concerns.

    `keyed`: owners whose ids are in the rows. The others are moved as a whole: `written` by any write, `deleted` by a
    DELETE, `updated` by an UPDATE of the column with that key. `columns`: all id columns of `keyed`.
    """

    keyed: tuple[KeyColumns, ...] = ()
    written: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    updated: Mapping[str, frozenset[str]] = field(default_factory=dict)
    columns: tuple[Column[Any], ...] = ()

    @property
    def all(self) -> frozenset[str]:
        """Prefixes of everybody whom any write may concern."""
        return self.written.union(self.deleted, *self.updated.values(), (each.keys.prefix for each in self.keyed))


NOBODY = Owners()


class OwnedTables:
    """All tables of a database, with their owners.

    `tables`: every table of the metadata, so that foreign keys can be followed. Raises ConfigurationError if an owner
    follows a table that is not among them.
    """

    def __init__(self, owned: Iterable[Owned], tables: Iterable[Table]) -> None:
        self._owned = tuple(owned)
        self.tables = tuple(dict.fromkeys([*tables, *(table for each in self._owned for table in each.tables)]))
        self._children = _children(self.tables)
        follows = {table: self._followers(table) for table in self.tables}
        self._owners: dict[object, Owners] = {table: self._owners_of(table, follows[table]) for table in self.tables}
        self._by_name: dict[str, frozenset[str]] = {}
        for table in self.tables:
            self._by_name[table.name] = self._by_name.get(table.name, frozenset()) | self._owners[table].all

    def of(self, table: ExternallyTraversible) -> Owners:
        """Whom a write to this table of a statement concerns.

        What is not a table of the metadata (one reflected, a lightweight one, an alias, a join) is known by the names
        in it, in whatever schema, and then all keys of their owners are concerned.
        """
        owners = self._owners.get(table)
        if owners is not None:
            return owners
        names = {each.name for each in iterate(table) if isinstance(each, TableClause)}
        return Owners(written=frozenset().union(*(self._by_name[name] for name in names if name in self._by_name)))

    def emptied(self, names: Sequence[str], *, cascade: bool) -> frozenset[str] | None:
        """Owners of tables that are truncated, with those that refer to them if it cascades. None: unknown tables."""
        if not all(name in self._by_name for name in names):
            return None
        reached = [table for table in self.tables if table.name in names]
        if cascade:
            for table in reached:
                reached.extend(key.table for key in self._children.get(table, ()) if key.table not in reached)
        # Nothing is deleted by foreign keys' actions, but who follows a table must be told.
        return frozenset().union(
            *(self._owners[table].written for table in reached),
            *({each.keys.prefix for each in self._owners[table].keyed} for table in reached),
        )

    def _owners_of(self, table: Table, followers: frozenset[str]) -> Owners:
        keyed = tuple(
            KeyColumns(each.keys, columns, all(map(_is_trusted, columns)))
            for each in self._owned
            if (columns := each.tables.get(table)) is not None
        )
        return Owners(
            keyed=keyed,
            written=followers,
            deleted=self._moved(self._deletion(table)),
            updated={
                column.key: moved for column in table.columns if (moved := self._moved(self._update((column,), table)))
            },
            columns=tuple(dict.fromkeys(column for each in keyed for column in each.columns)),
        )

    def _followers(self, table: Table) -> frozenset[str]:
        """Owners that name this table in `follows`."""
        names = {table.name, table.fullname}
        known = {name for each in self.tables for name in (each.name, each.fullname)}
        for each in self._owned:
            if unknown := sorted(set(each.keys.follows or ()) - known):
                raise ConfigurationError(
                    f"owner {each.keys.prefix!r} follows {unknown[0]!r}, which is not a table of the metadata: "
                    "name one as SQL does, with its schema if it has one"
                )
        return frozenset(each.keys.prefix for each in self._owned if names.intersection(each.keys.follows or ()))

    def _moved(self, keys: Iterable[ForeignKeyConstraint]) -> frozenset[str]:
        """Owners that derive what they follow, of the tables that these foreign keys' actions change."""
        return frozenset(
            each.keys.prefix
            for key in keys
            for each in self._owned
            if each.keys.follows is None and key.table in each.tables and not _same_entity(each, key)
        )

    def _deletion(self, table: Table) -> Iterator[ForeignKeyConstraint]:
        """Foreign keys that act, one through the other, when rows of the table are deleted."""
        deleted, position = [table], 0
        while position < len(deleted):
            for key in self._children.get(deleted[position], ()):
                action = (key.ondelete or "").upper()
                if action in _ACTIONS:
                    yield key
                if action == "CASCADE" and key.table not in deleted:
                    deleted.append(key.table)
                elif action in _ACTIONS:
                    yield from self._update(tuple(key.columns), key.table)
            position += 1

    def _update(self, columns: Sequence[Column[Any]], table: Table) -> Iterator[ForeignKeyConstraint]:
        """Foreign keys that act, one through the other, when these columns of the table are updated."""
        updated, position = [(table, tuple(columns))], 0
        while position < len(updated):
            parent, changed = updated[position]
            for key in self._children.get(parent, ()):
                hit = tuple(column for column, old in _pairs(key) if old in changed)
                if hit and (key.onupdate or "").upper() in _ACTIONS:
                    yield key
                    if (key.table, hit) not in updated:
                        updated.append((key.table, hit))
            position += 1


def _children(tables: Iterable[Table]) -> dict[Table, list[ForeignKeyConstraint]]:
    """The foreign keys that refer to each table."""
    known = set(tables)
    children: dict[Table, list[ForeignKeyConstraint]] = {}
    for table in known:
        for key in table.foreign_key_constraints:
            if key.referred_table in known:
                children.setdefault(key.referred_table, []).append(key)
    return children


def _pairs(key: ForeignKeyConstraint) -> list[tuple[Column[Any], Column[Any]]]:
    """Each column with the one that it refers to."""
    return [(column, element.column) for column, element in zip(key.columns, key.elements, strict=True)]


def _same_entity(owned: Owned, key: ForeignKeyConstraint) -> bool:
    """Whether the foreign key ties the parts of one entity together, as joined inheritance does: its id is known."""
    child, parent = owned.tables.get(key.table), owned.tables.get(key.referred_table)
    return child == tuple(key.columns) and parent == tuple(old for _, old in _pairs(key))


def _is_trusted(column: Column[Any]) -> bool:
    kind = column.type
    if isinstance(kind, String):
        return type(kind) in _TEXTS and kind.collation is None
    return isinstance(kind, _PLAIN)
