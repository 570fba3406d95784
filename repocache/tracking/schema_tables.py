"""Which tables a statement writes where each value of a scope has a schema of its own, with the
same tables: SQLAlchemy's `schema_translate_map` says which.

Owns what is known of each schema, and the verdict on what the database says of it. Asking it is the
repositories' affair. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Table
from sqlalchemy.sql.expression import TableClause

from repocache.errors import MappingRefused
from repocache.keys import KeyOwner, Keys
from repocache.tracking.catalog import Catalog, Place, in_schema
from repocache.tracking.owners import Owned
from repocache.tracking.places import place_of
from repocache.tracking.tables import OwnedTables

MOST_SCHEMAS = 2_000
"""Of which a process knows more than that it may not be sure of them; beyond it the one that it has
known for longest is asked about again."""
NOBODY: frozenset[str] = frozenset()
_OWN = ""
"""In the place of the name of each of these schemas."""


class WrittenTables(NamedTuple):
    """`tables`: among which the written one is. `schema`: with which ids of owners begin that are
    `by_schema`; empty: there are none. `whole`: prefixes of those who have to be told as a whole,
    since it is not known whose rows a write there reaches."""

    tables: OwnedTables
    schema: str = ""
    whole: frozenset[str] = NOBODY


class Schemas(Protocol):
    """What the tracker needs of them. `everybody`: prefixes of all whose ids begin with a
    schema. `names`: of their tables."""

    everybody: frozenset[str]
    names: frozenset[str]

    def written(
        self, owned: OwnedTables, table: object, options: Mapping[str, Any]
    ) -> WrittenTables:
        """`owned`: of tables that are in no such schema. `table`: of the statement; `options`: that
        it is executed with."""
        ...

    def noticed(self, place: str) -> tuple[WrittenTables, Table] | None:
        """`place`: `schema.name`. None: it is none of their tables."""
        ...


class NoSchemas:
    """No scope has schemas."""

    everybody = names = NOBODY

    def written(
        self, owned: OwnedTables, table: object, options: Mapping[str, Any]
    ) -> WrittenTables:
        return WrittenTables(owned)

    def noticed(self, place: str) -> tuple[WrittenTables, Table] | None:
        return None


NO_SCHEMAS = NoSchemas()


class SchemaTables:
    """`owned`: all owners, whether their ids begin with a schema or not; if none does, there is
    nothing to know. `tables`: of the metadata."""

    def __init__(self, owned: Iterable[Owned], tables: Iterable[Table]) -> None:
        given = tuple(owned)
        has_some = any(each.by_schema for each in given)
        self._owned = given if has_some else ()
        self._given = tuple(tables) if has_some else ()
        by_schema = [each for each in self._owned if each.by_schema]
        self.everybody = frozenset(each.keys.prefix for each in by_schema)
        #: As the metadata has them.
        self.as_declared = OwnedTables(self._owned, self._given, schema=_OWN)
        own = [each for each in self.as_declared.tables if each.schema is None]
        self._tables = {table.name: table for table in own if self.as_declared.of(table).all}
        self.names = frozenset(self._tables)
        self.required = tuple(dict.fromkeys(table for each in by_schema for table in each.tables))
        self._alike: dict[str, OwnedTables] = {}
        self._known: dict[str, OwnedTables] = {}
        self._shown: set[Place] = set()
        self._apart = {place_of(each) for each in self._given if each.schema is not None}

    @property
    def tables(self) -> Sequence[Table]:
        """Those that each schema may have, and whose writes concern somebody."""
        return tuple(self._tables.values())

    def knows(self, schema: str) -> bool:
        """Whether the database has said what there is to say of it."""
        return schema in self._known

    def learn(self, schema: str, answer: str) -> None:
        """`answer`: of `catalog_statement` for these tables in this schema. Raises MappingRefused
        where a write to one schema changes rows of others."""
        alike = in_schema(answer, schema)
        found = self._alike.get(alike)
        catalog = Catalog.of(alike)
        self._check(schema, catalog)
        if found is None:
            found = OwnedTables(self._owned, self._given, catalog, _OWN)
            self._alike[alike] = found
        if len(self._known) >= MOST_SCHEMAS:
            del self._known[next(iter(self._known))]
            used = {id(each) for each in self._known.values()}
            self._alike = {
                text: each for text, each in self._alike.items() if id(each) in {*used, id(found)}
            }
        self._known[schema] = found
        self._shown |= {
            over
            for over, beneath in catalog.beneath.items()
            if over[0] != _OWN and any(each[0] == _OWN for each in beneath)
        }

    def _check(self, schema: str, catalog: Catalog) -> None:
        for table in catalog.tables:
            for key in table.foreign_key_constraints:
                target = key.referred_table
                acts = key.ondelete or key.onupdate
                if acts and (table.schema is None) != (target.schema is None):
                    raise MappingRefused(
                        f"{_told(table, schema)}: its foreign key to {_told(target, schema)} acts "
                        f"across schemas ({acts}), so that a write to one changes rows that lie in "
                        "the other: leave the action out, and let the application write them"
                    )
        for over, beneath in catalog.beneath.items():
            others = [each for each in beneath if each[0] != _OWN and each[1] in self.names]
            if over[0] == _OWN and others:
                raise MappingRefused(
                    f"{schema}.{over[1]} is a view, or has rules, and so shows or writes "
                    f"{'.'.join(others[0])}, of another schema: a write to one would change rows "
                    "of two: leave it out of the schema"
                )

    def written(
        self, owned: OwnedTables, table: object, options: Mapping[str, Any]
    ) -> WrittenTables:
        """As of `Schemas`. What the search path says of a table that names no schema, and a schema
        that the database was not asked about, is anybody's."""
        if not isinstance(table, TableClause):
            return WrittenTables(owned, whole=self.everybody)
        if table.schema is not None:
            place = place_of(table)
            is_one = table.name in self.names and place not in self._apart
            known = is_one or place in self._shown
            return WrittenTables(owned, whole=self.everybody if known else NOBODY)
        schema = (options.get("schema_translate_map") or {}).get(None)
        if schema is None:
            return WrittenTables(owned)
        tables = self._known.get(schema)
        if tables is None:
            return WrittenTables(owned, whole=self.everybody)
        shown = (schema, table.name) in self._shown
        return WrittenTables(tables, schema, self.everybody if shown else NOBODY)

    def declared(self, schema: str) -> WrittenTables:
        """The tables of this schema, as well as they are known."""
        return WrittenTables(self._known.get(schema, self.as_declared), schema)

    def noticed(self, place: str) -> tuple[WrittenTables, Table] | None:
        """As of `Schemas`."""
        schema, _, name = place.partition(".")
        table = self._tables.get(name)
        return None if table is None else (self.declared(schema), table)


def as_a_whole(owned: Owned, tables: Collection[Table]) -> Owned:
    """An owner whose ids begin with a schema, as a write to its tables concerns it of which nobody
    knows in which schema they lie: all of it. `tables`: of the metadata."""
    keys = owned.keys
    named = {each if isinstance(each, str) else each.table for each in keys.follows or ()}
    followed = (each for each in tables if {each.name, each.fullname} & named)
    moved = Keys(KeyOwner(keys.prefix), keys.parts, keys.make)
    return Owned(moved, {}, frozenset([*owned.tables, *owned.reads, *followed]))


def _told(table: Table, schema: str) -> str:
    return f"{table.schema or schema}.{table.name}"
