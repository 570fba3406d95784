"""The cached selects of one process: the library's own, from the analysis of a statement to its
entry, over simulated servers.

Owns the wiring, as `runtime/queries.py` has it, and what a write tells of tags, as
`tracking/listener.py` does. What an answer may be is `answers`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Table

from proof.simulation.columns import OLD, Asked, changed, table_of, values_of
from proof.simulation.oracle import renewed, told
from proof.simulation.outbox import DIALECT
from proof.simulation.redis import APP
from proof.simulation.server import Key
from proof.simulation.watched import Versions
from repocache.cache.entry import CachedRow, RowRequest, Source
from repocache.cache.loader import Loader
from repocache.cache.signature import Signing
from repocache.cache.tiered import TieredCache
from repocache.invalidation.registered_tags import RegisteredTags
from repocache.keys import KeyOwner, Keys, bucket_of
from repocache.queries.known import ShapeBook
from repocache.queries.sources import Sources
from repocache.records import Registrations
from repocache.repository.cached_queries import CachedQueries, CachingWish
from repocache.repository.query import EntryCodec, EntryKeys, Query, entry_owner, id_of_entry
from repocache.repository.query_access import Queries, QueryAccess
from repocache.repository.query_analyst import StatementAnalyst
from repocache.repository.query_cache import QueryCache, QueryLoader
from repocache.repository.registrar import Registrar
from repocache.repository.rows import Rows
from repocache.repository.statements import Statements
from repocache.repository.tag_floors import TagFloors
from repocache.repository.tag_owners import TagOwners
from repocache.repository.tokens import Tokens
from repocache.routing.around import current_session
from repocache.runtime.cache import RunningCache
from repocache.tags import tag_owner
from repocache.tracking.owners import Owned, Owners
from repocache.tracking.shaped import with_shapes
from repocache.tracking.tables import OwnedTables
from repocache.transactions.changes import Changes

if TYPE_CHECKING:
    from proof.simulation.service import Service

FORM = "query1"
EntryRows = Sequence[Sequence[Any]]
ENTRIES: ContextVar[list[tuple[bool, EntryRows]] | None] = ContextVar("entries", default=None)
"""Of the caller's select: the rows of entries, and whether they came from a tier, or were read to
be stored there."""


class Item(tuple[int, int]):  # noqa: SLOT001  # it has the attributes of an entity
    """An entity: (id, version), with its columns as attributes."""

    def __new__(cls, row: Sequence[int]) -> Self:
        found = super().__new__(cls, row)
        found.__dict__.update(values_of(*found))
        return found


class Mapped(Versions):
    """As a mapped class's plan, of a release that has these columns."""

    def __init__(self, owner: str, columns: Sequence[str]) -> None:
        super().__init__(owner)
        table = table_of(owner, columns)
        stored = SimpleNamespace(value=None, make=None)
        self.id_layout = SimpleNamespace(expressions=(table.c.id,), ids=(0,), stored=(stored,))
        self.key = (SimpleNamespace(type=int),)
        self.mapper = SimpleNamespace(
            tables=[table],
            get_property_by_column=lambda column: SimpleNamespace(key=column.name),
        )

    def entity(self, row: Sequence[int]) -> Any:
        return Item(row)


class Selecting:
    """`columns`: those that the process's release knows, of the tables of all its `owners`. `book`:
    the shapes that it has heard of."""

    def __init__(self, owners: Sequence[str], columns: Sequence[str] = OLD) -> None:
        self.columns = columns
        self.book = ShapeBook()
        self.tables = {owner: table_of(owner, columns) for owner in owners}
        self._tags = TagOwners.of(self.tables.values())
        self._known: dict[str, tuple[Sequence[Any], Owners]] = {}

    @property
    def keys(self) -> list[Keys]:
        """Of all owners of tags."""
        return self._tags.keys

    def owned(self, keys: Sequence[Keys]) -> OwnedTables:
        """Rows and tags."""
        owned = [Owned(each, {self._table(each): (self._table(each).c.id,)}) for each in keys]
        self._owned = OwnedTables([*owned, *self._tags.tables], self.tables.values())
        return self._owned

    def _table(self, keys: Keys) -> Table:
        return self.tables[keys.prefix]

    def committed(self, service: Service, records: Registrations) -> RegisteredTags:
        settings = service.settings
        deadline = settings.publish_timeout / 2
        return RegisteredTags(
            records, self._tags.prefixes, self.book.learn, deadline, settings.observe
        )

    def open(self, service: Service, cache: RunningCache, ttl: float, local_ttl: float) -> None:
        """What all selects of the process share."""
        self._service, self._cache, shared = service, cache, cache.shared
        self.plan = CachedQueries(ttl, local_ttl, jitter=0.0)
        registrar = Registrar(
            *(shared.records, shared.views, shared.primary.lineage),
            *(self.book, service.settings.observe),
        )
        self.tokens = Tokens(
            [each.prefix for each in self.keys],
            shared,
            registrar,
            ttl=ttl,
            local_ttl=local_ttl,
            signing=Signing(APP),
            session_of=current_session,
            renewed=False,
        )
        analyst = StatementAnalyst(Sources(list(self.tables.values())), {})
        self._statements = Statements(analyst, DIALECT)

    def access(self, owner: str, rows: Rows[Any], cache: TieredCache) -> QueryAccess[Any]:
        """One repository's."""
        shared, keys = self._cache.shared, EntryKeys(entry_owner(KeyOwner(owner)))
        loader = QueryLoader(TagFloors(shared.records, shared.settler), rows.answer)
        source = Source(
            keys, FORM, self.plan.policy, EntryCodec(), loader.load, id_of_entry, alone=True
        )
        entries = WatchedEntries(source, shared, current_session)
        watched = WatchedEntryLoader(source, shared, entries._values, entries.switch.tier)
        watched.unsure = set()
        entries._loader = watched
        found = QueryCache(self.tokens, entries)
        queries = Queries(self.plan, CachingWish(), self._statements, lambda _: found)
        monotonic = self._service.settings.monotonic
        access = QueryAccess[Any](rows, cache, lambda *_: None, monotonic=monotonic)
        return access.with_queries(queries)

    def query(self, asked: Asked) -> Query:
        """As it is cached: of entities their ids."""
        statement = asked.statement(self.columns)
        if asked.kind == "ids":
            ids = [self.tables[asked.owner].c.id]
            statement = statement.with_only_columns(*ids, maintain_column_froms=True)
        return self._statements.query(statement, CachingWish(ttl=self.plan.ttl))

    def names(self, asked: Asked) -> list[str]:
        """Under which the oracle knows what is told of an answer: its tags, their owner, their
        buckets, and that a commit was told whole."""
        tags = list(self.query(asked).tags)
        owner = tag_owner("public", asked.owner).prefix
        return [told(asked.owner), owner, *tags, *(renewed(bucket_of(tag)) for tag in tags)]

    def touch(
        self, changes: Changes, key: Key, old: tuple[int, bool], new: tuple[int, bool]
    ) -> None:
        """After one statement that wrote one row, as `Tracker` does."""
        owner, id = key
        owners = self._owners_of(owner)
        before, after = (dict(values_of(id, each[0])) if each[1] else None for each in (old, new))
        if before is None and after is None:
            return
        names = [column.key for column in self.tables[owner].columns]
        moved = changed(before, after, names)
        bare = [each.text for each in owners.bare if _is_moved(each.moved_by, moved)]
        changes.touch(owners.tags, [owners.known, *bare])
        for each in owners.keyed:
            if each.is_shape and _is_moved(each.moved_by, moved):
                for row in told_rows(before, after):
                    values = tuple(row[column.key] for column in each.columns)
                    text = each.keys.text(values[0] if len(values) == 1 else values)
                    changes.touch(each.owner, [text])

    def _owners_of(self, owner: str) -> Owners:
        """With the shapes that are known by now."""
        table = self.tables[owner]
        shapes = self.book.of(tag_owner("public", owner).prefix)
        known = self._known.get(owner)
        if known is None or known[0] is not shapes:
            known = shapes, with_shapes(self._owned.of(table), table, shapes)
            self._known[owner] = known
        return known[1]


def told_rows(
    before: Mapping[str, int] | None, after: Mapping[str, int] | None
) -> list[Mapping[str, int]]:
    """Whose values a write tells: of the row as locked, and as it is now."""
    return [row for row in (before, after) if row is not None]


def _is_moved(moved_by: Any, moved: frozenset[str]) -> bool:
    return moved_by is None or any(column.key in moved for column in moved_by)


class WatchedEntries(TieredCache):
    """What L1 and GET answer is sure."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        peek = self.peek_for_caller

        def noted(id: Any) -> CachedRow | None:
            found = peek(id)
            if found is not None:
                _note(True, found)
            return found

        self.peek_for_caller = noted

    async def read_past_l1(self, id: Any, bookmark: Any) -> CachedRow:
        found = await super().read_past_l1(id, bookmark)
        loader = self._loader
        assert isinstance(loader, WatchedEntryLoader)
        _note(id not in loader.unsure, found)
        return found


def _note(sure: bool, cached: CachedRow) -> None:
    notes = ENTRIES.get()
    if notes is not None:
        assert cached.row is not None
        notes.append((sure, cached.row[2]))


class WatchedEntryLoader(Loader):
    """`unsure`: the ids of entries that were once read past the cache."""

    unsure: set[Any]

    async def _rows(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Any]:
        self.unsure.update(want.id for want in wanted if not want.fills)
        return await super()._rows(wanted)
