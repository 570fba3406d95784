"""Whom a write to a table concerns: an owner's tables and columns, and the owners of one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.sql.expression import TableClause

from repocache.keys import Keys
from repocache.tracking.cascades import Cascade
from repocache.tracking.trusted import is_trusted


@dataclass(frozen=True, slots=True)
class Owned:
    """An owner's keys, and for each table of its mappers the columns that hold the id, in the key's
    order.

    `reads`: tables that its rows are computed from besides. `moved_by`: an UPDATE that sets none of
    these columns is not the owner's affair, as of a lookup, whose rows are a value and an id; None:
    any UPDATE is. `tagged`: the table whose tags these keys are. `tells_inserts`: an INSERT is, for
    that there is no such row may be kept. `by_schema`: the id begins with the schema that the table
    lies in, which is no column.
    """

    keys: Keys
    tables: Mapping[Table, tuple[Column[Any], ...]]
    reads: frozenset[TableClause] = frozenset()
    moved_by: frozenset[Column[Any]] | None = None
    tagged: Table | None = None
    tells_inserts: bool = True
    by_schema: bool = False


@dataclass(frozen=True, slots=True)
class BareTag:
    """The tag of a shape without conditions: it moves with any row. `moved_by`: as of `Owned`."""

    text: str
    moved_by: frozenset[Column[Any]]


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """Where an owner's ids are in one table.

    `trusted`: a value given for a column is the value in the row. Not so for CHAR (padded), CITEXT,
    collations and types of the application's own: there only what the database returns counts.
    `moved_by`, `tells_inserts`, `by_schema`: as of `Owned`.
    """

    keys: Keys
    columns: tuple[Column[Any], ...]
    trusted: bool
    moved_by: frozenset[Column[Any]] | None = None
    tells_inserts: bool = True
    by_schema: bool = False
    #: The owner's prefix, with which a shape's begins.
    owner: str = field(init=False)
    #: Its keys are the tags of one.
    is_shape: bool = field(init=False)
    #: Its columns are no row's id: they may be NULL, which is no value, and change.
    is_lookup: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "owner", self.keys.prefix.partition(":")[0])
        object.__setattr__(self, "is_shape", self.owner != self.keys.prefix)
        object.__setattr__(self, "is_lookup", self.moved_by is not None)

    def is_moved(self, set_columns: frozenset[str]) -> bool:
        """Whether an UPDATE of the columns with these keys is the owner's affair."""
        return self.moved_by is None or any(each.key in set_columns for each in self.moved_by)


@dataclass(frozen=True, slots=True)
class Owners:
    """Whom a write to one table concerns.

    `keyed`: owners whose ids are in the rows. The others are moved as a whole: `written` by any
    write, `updated` by an UPDATE of the column with that key, and by a DELETE those of `cascade`
    who cannot be asked about. `columns`: all id columns of `keyed`. `unsaid`: keys of columns among
    all these that an UPDATE sets without saying so (`onupdate`, `Computed`). `untold`: triggers
    write in its place, nobody knows what. `lookups`: those of `keyed` that are. `selective`: some
    of `keyed` are not concerned by every statement.

    `tags`: the prefix of the owner of the table's own tags, which is among `written` as long as no
    shapes are known; empty: there is none, or what is written says nothing of the rows. `known`:
    the key that says which shapes are (`tags.known_shapes`); `bare`: of those without conditions.
    """

    keyed: tuple[KeyColumns, ...] = ()
    written: frozenset[str] = frozenset()
    cascade: Cascade | None = None
    updated: Mapping[str, frozenset[str]] = field(default_factory=dict)
    columns: tuple[Column[Any], ...] = ()
    unsaid: frozenset[str] = frozenset()
    untold: bool = False
    lookups: tuple[KeyColumns, ...] = ()
    tags: str = ""
    known: str = ""
    bare: tuple[BareTag, ...] = ()
    selective: bool = False

    @property
    def deleted(self) -> frozenset[str]:
        """Prefixes of those whom a DELETE concerns beyond the deleted rows."""
        return frozenset() if self.cascade is None else self.cascade.owners

    @property
    def all(self) -> frozenset[str]:
        """Prefixes of everybody whom any write may concern."""
        return self.written.union(
            self.deleted, *self.updated.values(), (each.owner for each in self.keyed)
        )


NOBODY = Owners()


def is_selective(each: KeyColumns) -> bool:
    """Whether not every statement is the owner's affair."""
    return each.is_lookup or not each.tells_inserts


def bound(owners: Owners, columns: Iterable[Column[Any]], table: Table) -> Owners:
    """The same in the columns of another Table object of that place. `columns`: those that `owners`
    is told in."""
    named = {column.name: column for column in table.columns}
    keyed = tuple(_bound_keys(each, named) for each in owners.keyed if _holds(named, each))
    watched = [column for each in keyed for column in [*each.columns, *(each.moved_by or ())]]
    if owners.keyed and not keyed:
        return Owners(written=owners.all, untold=owners.untold)
    keys = {column.key: named[column.name].key for column in columns if column.name in named}
    updated = {keys.get(key, key): moved for key, moved in owners.updated.items()}
    unsaid = unsaid_of(table).intersection([*updated, *(column.key for column in watched)])
    return replace(
        owners,
        keyed=keyed,
        lookups=tuple(each for each in keyed if each.is_lookup),
        selective=any(map(is_selective, keyed)),
        written=owners.written.union(
            each.keys.prefix for each in owners.keyed if not _holds(named, each)
        ),
        updated=updated,
        columns=tuple(dict.fromkeys(column for each in keyed for column in each.columns)),
        unsaid=unsaid.union(keys.get(key, key) for key in owners.unsaid),
    )


def _holds(named: Mapping[str, Column[Any]], each: KeyColumns) -> bool:
    return all(column.name in named for column in [*each.columns, *(each.moved_by or ())])


def _bound_keys(each: KeyColumns, named: Mapping[str, Column[Any]]) -> KeyColumns:
    columns = tuple(named[column.name] for column in each.columns)
    moved_by = each.moved_by and frozenset(named[column.name] for column in each.moved_by)
    trusted = each.trusted and all(map(is_trusted, columns))
    return replace(each, columns=columns, trusted=trusted, moved_by=moved_by)


def unsaid_of(table: Table) -> frozenset[str]:
    """Keys of the columns that an UPDATE may set without saying so."""
    return frozenset(
        column.key
        for column in table.columns
        if column.onupdate is not None
        or column.server_onupdate is not None
        or column.computed is not None
    )
