"""Which owners' rows live in a table, and whose rows the database changes by itself when a table is
written.

Owns the way from a table to its owners, foreign keys' `ON DELETE` and `ON UPDATE`, views and rules
included. Pure, made once; what a statement does to a table is `tracking.statements`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.sql.visitors import ExternallyTraversible, iterate

from repocache.errors import ConfigurationError
from repocache.keys import Follow
from repocache.tracking.cascades import Cascade, Reached, Told, named_in
from repocache.tracking.catalog import NOTHING, Catalog, Place
from repocache.tracking.owners import KeyColumns, Owned, Owners, bound, unsaid_of
from repocache.tracking.places import PUBLIC, Places, Reference
from repocache.tracking.trusted import is_trusted

_ACTIONS = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})
_MOST_BOUND = 512


class OwnedTables:
    """All tables of a database, with their owners.

    `tables`: every table of the metadata, so that foreign keys can be followed. `catalog`: what the
    database says besides. `schema`: that stands for the one of tables that name none.

    Raises ConfigurationError if an owner follows a table that is not among them.
    """

    def __init__(
        self,
        owned: Iterable[Owned],
        tables: Iterable[Table],
        catalog: Catalog = NOTHING,
        schema: str = PUBLIC,
    ) -> None:
        given = tuple(owned)
        reads = [table for each in given for table in each.reads if isinstance(table, Table)]
        self._catalog = catalog
        self._places = Places(
            [*(table for each in given for table in each.tables), *tables, *reads], catalog, schema
        )
        self._owned = tuple(_placed(each, self._places) for each in given)
        self.tables = self._places.tables
        self._children = self._places.references()
        self._over = {table: catalog.over(self._places.place(table)) for table in self.tables}
        self._check_follows()
        self._follows = {table: self._followers(table) for table in self.tables}
        owners = {table: self._owners_of(table) for table in self.tables}
        self._known = {table: self._with_beneath(table, owners) for table in self.tables}
        self._owners: dict[object, Owners] = {
            table: self._bind(table, table) for table in self.tables
        }
        self._bound: dict[Table, Owners] = {}
        self.has_lookups = any(
            each.moved_by is not None or each.tagged is not None for each in given
        )
        self._named: dict[str, set[Table]] = {}
        for place in self._places.names:
            if (table := self._places.at(place)) is not None:
                self._named.setdefault(place[1], set()).add(table)
        self._by_name = {
            name: frozenset().union(*(self._owners[table].all for table in named))
            for name, named in self._named.items()
        }
        for each in self._owned:
            for read in each.reads:
                self._by_name[read.name] = self._by_name.get(read.name, frozenset()) | {
                    each.keys.prefix
                }

    @property
    def concerning(self) -> Sequence[TableClause]:
        """Every table object a write to which may concern an owner."""
        reads = [read for each in self._owned for read in each.reads]
        return list(
            dict.fromkeys([*(table for table in self._places.all if self.of(table).all), *reads])
        )

    def of(self, table: ExternallyTraversible) -> Owners:
        """Whom a write to this table of a statement concerns, in the columns of this Table object.

        What is no Table, or of a place that nobody knows (a lightweight one, an alias, a join), is
        known by the names in it, in whatever schema, and then all keys of their owners are
        concerned.
        """
        owners = self._owners.get(table)
        if owners is not None:
            return owners
        first = self._places.first(table) if isinstance(table, Table) else None
        if first is not None:
            assert isinstance(table, Table)
            return self._bound_to(table, first)
        names = {each.name for each in iterate(table) if isinstance(each, TableClause)}
        written = frozenset[str]().union(
            *(self._by_name[name] for name in names if name in self._by_name)
        )
        return Owners(
            written=written, untold=not names.isdisjoint(name for _, name in self._catalog.untold)
        )

    def _bound_to(self, table: Table, first: Table) -> Owners:
        known = self._bound.get(table)
        if known is None:
            if len(self._bound) >= _MOST_BOUND:
                self._bound.clear()
            known = self._bound[table] = self._bind(first, table)
        return known

    def _bind(self, first: Table, table: Table) -> Owners:
        return bound(self._known[first], self._places.columns(first), table)

    def emptied(self, names: Sequence[str], *, cascade: bool) -> frozenset[str] | None:
        """Owners of tables that are truncated, with those that refer to them if it cascades. None:
        unknown tables."""
        if not all(name in self._by_name for name in names):
            return None
        reached = list(
            dict.fromkeys(table for name in names for table in self._named.get(name, ()))
        )
        if cascade:
            for table in reached:
                reached.extend(
                    key.table for key in self._children.get(table, ()) if key.table not in reached
                )
        # Nothing is deleted by foreign keys' actions, but who follows a table must be told.
        return frozenset().union(
            *(self._owners[table].written for table in reached),
            *({each.keys.prefix for each in self._owners[table].keyed} for table in reached),
            *(self._by_name[name] for name in set(names).difference(self._named)),
        )

    def _owners_of(self, table: Table) -> Owners:
        keyed = tuple(
            self._key_columns(each, table, columns)
            for each in self._owned
            if (columns := each.tables.get(table) or self._followed(each, table)) is not None
        )
        cascade = self._cascade(table)
        columns = tuple(dict.fromkeys(column for each in keyed for column in each.columns))
        watched = frozenset().union(columns, *(each.moved_by or () for each in keyed))
        updated = {
            column.key: moved
            for column in self._places.columns(table)
            if (moved := self._moved(self._update((column,), table)))
        }
        return Owners(
            keyed=keyed,
            written=self._follows[table],
            cascade=cascade if cascade.owners else None,
            updated=updated,
            columns=columns,
            unsaid=unsaid_of(table).intersection([*updated, *(column.key for column in watched)]),
            untold=self._places.place(table) in self._catalog.untold,
            tags=self._tags_of(table),
        )

    def _tags_of(self, table: Table) -> str:
        """None where the database rewrites rows: what was given says nothing of them."""
        if self._places.place(table) in self._catalog.rewritten:
            return ""
        return next((each.keys.prefix for each in self._owned if each.tagged is table), "")

    def _key_columns(
        self, owned: Owned, table: Table, columns: tuple[Column[Any], ...]
    ) -> KeyColumns:
        """Where the database rewrites rows, any UPDATE may change a lookup's columns."""
        moved_by, trusted = owned.moved_by, all(map(is_trusted, columns))
        if moved_by is not None and self._places.place(table) in self._catalog.rewritten:
            moved_by, trusted = frozenset(self._places.columns(table)), False
        told = owned.tells_inserts or table not in owned.tables
        return KeyColumns(owned.keys, columns, trusted, moved_by, told, owned.by_schema)

    def _with_beneath(self, table: Table, owners: Mapping[Table, Owners]) -> Owners:
        """A view's rows, and what rules write, are other tables' rows."""
        beneath = map(self._places.at, self._catalog.beneath.get(self._places.place(table), ()))
        others = (owners[each].all for each in beneath if each is not None)
        return replace(owners[table], written=owners[table].written.union(*others))

    def _check_follows(self) -> None:
        known = frozenset[str]().union(
            *(self._places.titles(self._places.place(each)) for each in self.tables)
        )
        for each in self._owned:
            named = [
                follow.table if isinstance(follow, Follow) else follow
                for follow in each.keys.follows or ()
            ]
            if unknown := sorted(set(named) - known):
                raise ConfigurationError(
                    f"owner {each.keys.prefix!r} follows {unknown[0]!r}, which is not a table of "
                    "the metadata: name one as SQL does, with its schema if it has one"
                )

    def _followers(self, table: Table) -> frozenset[str]:
        """Owners that name this table, or a view of it, in `follows`, and those that name none and
        read it."""
        names = frozenset[str]().union(*map(self._places.titles, self._shown_at(table)))
        return frozenset(
            each.keys.prefix
            for each in self._owned
            if names.intersection(
                follow for follow in each.keys.follows or () if isinstance(follow, str)
            )
            or (each.keys.follows is None and self._reads(each, table))
        )

    def _followed(self, owned: Owned, table: Table) -> tuple[Column[Any], ...] | None:
        """The columns by which an owner follows the table, None: it does not, or by any write.
        Raises ConfigurationError."""
        for follow in owned.keys.follows or ():
            if isinstance(follow, Follow) and follow.table in self._places.titles(
                self._places.place(table)
            ):
                named = {column.name: column for column in self._places.columns(table)}
                unknown = [name for name in follow.columns if name not in named]
                wanted = len(owned.keys.types) - owned.by_schema
                if unknown or len(follow.columns) != wanted:
                    raise ConfigurationError(
                        f"owner {owned.keys.prefix!r}: {follow} has to name the columns of "
                        f"{table.fullname} that hold the owner's id, {wanted} of "
                        f"{', '.join(named)}"
                    )
                return tuple(named[name] for name in follow.columns)
        return None

    def _cascade(self, table: Table, above: tuple[Table, ...] = ()) -> Cascade:
        """What the deletion of rows leads to. `above`: tables whose deletion has led here: a circle
        is no list of questions, so there owners are moved as a whole."""
        reached: list[Reached] = []
        whole: frozenset[str] = frozenset()
        path = (*above, table)
        for key in self._children.get(table, ()):
            action = (key.ondelete or "").upper()
            if action not in _ACTIONS:
                continue
            whole |= self._follows[key.table]
            if key.table in path:
                whole |= self._moved([key, *self._deletion(key.table)])
                continue
            below = self._cascade(key.table, path) if action == "CASCADE" else Cascade(key.table)
            whole |= below.whole
            if action != "CASCADE":
                whole |= self._moved(self._update(key.columns, key.table))
            # Ids in the columns of a partition, or of the tree that it is one of, are not asked
            # for.
            # Nor is what a default will be.
            defaulted = key.columns if action == "SET DEFAULT" else ()
            told = tuple(
                each
                for each in self._told(key)
                if {column.table for column in each.columns} == {key.table}
                and set(each.columns).isdisjoint(defaulted)
            )
            whole |= {each.keys.prefix for each in self._told(key)} - {
                each.keys.prefix for each in told
            }
            if not _can_ask(key, table):
                whole |= Cascade(key.table, (Reached(key, told, below.reached),)).owners
                continue
            if told or below.reached:
                reached.append(Reached(key, told, below.reached))
        return Cascade(table, tuple(reached), whole)

    def _told(self, key: Reference) -> Iterator[Told]:
        """Owners whose ids are in the rows that a foreign key's action changes."""
        for each in self._owned:
            columns = each.tables.get(key.table)
            if each.keys.follows is None and columns is not None and not _same_entity(each, key):
                yield Told(each.keys, columns, each.by_schema)
            followed = self._followed(each, key.table)
            if followed is not None:
                yield Told(each.keys, followed, each.by_schema)

    def _reads(self, owned: Owned, table: Table) -> bool:
        return not self._shown_at(table).isdisjoint(map(self._places.place, owned.reads))

    def _shown_at(self, table: Table) -> frozenset[Place]:
        """Where its rows are read: in itself and in views."""
        return self._over[table] | {self._places.place(table)}

    def _moved(self, keys: Iterable[Reference]) -> frozenset[str]:
        """Owners that derive what they follow, of the tables that these foreign keys' actions
        change."""
        return frozenset(
            each.keys.prefix
            for key in keys
            for each in self._owned
            if each.keys.follows is None
            and (
                self._reads(each, key.table)
                or (key.table in each.tables and not _same_entity(each, key))
            )
        )

    def _deletion(self, table: Table) -> Iterator[Reference]:
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
                    yield from self._update(key.columns, key.table)
            position += 1

    def _update(self, columns: Sequence[Column[Any]], table: Table) -> Iterator[Reference]:
        """Foreign keys that act, one through the other, when these columns of the table are
        updated."""
        updated, position = [(table, tuple(columns))], 0
        while position < len(updated):
            parent, changed = updated[position]
            for key in self._children.get(parent, ()):
                hit = tuple(column for column, old in key.pairs if old in changed)
                if hit and (key.onupdate or "").upper() in _ACTIONS:
                    yield key
                    if (key.table, hit) not in updated:
                        updated.append((key.table, hit))
            position += 1


def _can_ask(key: Reference, parent: Table) -> bool:
    """Whether the tables at both ends have the columns that the foreign key names."""
    referred = [old for _, old in key.pairs]
    return len(named_in(parent, referred)) == len(referred) and len(
        named_in(key.table, key.columns)
    ) == len(referred)


def _placed(owned: Owned, places: Places) -> Owned:
    """The same in the Table objects that speak for their places."""
    tables = {
        places.table(table): tuple(map(places.column, columns))
        for table, columns in owned.tables.items()
    }
    moved_by = owned.moved_by and frozenset(map(places.column, owned.moved_by))
    tagged = None if owned.tagged is None else places.table(owned.tagged)
    return replace(owned, tables=tables, moved_by=moved_by, tagged=tagged)


def _same_entity(owned: Owned, key: Reference) -> bool:
    """Whether the foreign key ties the parts of one entity together, as joined inheritance does:
    its id is known."""
    child, parent = owned.tables.get(key.table), owned.tables.get(key.referred_table)
    return child == key.columns and parent == tuple(old for _, old in key.pairs)
