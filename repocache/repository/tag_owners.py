"""Who owns the tags of which table, where answers are cached by their queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap

from sqlalchemy import Table
from sqlalchemy.engine import Dialect

from repocache.keys import Keys
from repocache.queries.shape import TablePlace
from repocache.queries.sources import Sources
from repocache.tags import NAMED, TagKeys, tag_owner
from repocache.tracking import Owned
from repocache.tracking.catalog import Catalog
from repocache.tracking.places import place_of


@dataclass(frozen=True, slots=True)
class TagOwners:
    """`tables`: of each table's tags. `prefixes`: theirs."""

    tables: tuple[Owned, ...] = ()

    @classmethod
    def of(cls, tables: Iterable[Table]) -> TagOwners:
        """One for each place: several Table objects may be one table."""
        first = {place_of(table): table for table in reversed(list(tables))}
        return cls(
            tuple(
                Owned(TagKeys(tag_owner(*place)), {}, frozenset({table}), tagged=table)
                for place, table in first.items()
            )
        )

    @property
    def prefixes(self) -> frozenset[str]:
        return frozenset(each.keys.prefix for each in self.tables)

    @property
    def keys(self) -> list[Keys]:
        """All owners', with that of the application's own tags."""
        return [TagKeys(NAMED), *(each.keys for each in self.tables)] if self.tables else []


def cached_sources(
    tables: Iterable[Table], catalog: Catalog, steady: frozenset[str], dialect: Dialect
) -> Sources:
    """What statements may read whose answers are cached. `steady`: names of functions, as the
    database says."""
    beneath = {
        TablePlace(*over): list(starmap(TablePlace, under))
        for over, under in catalog.beneath.items()
    }
    same = {TablePlace(*name): TablePlace(*place) for name, place in catalog.same.items()}
    return Sources(tables, beneath, same, steady, dialect)


NO_TAGS = TagOwners()
