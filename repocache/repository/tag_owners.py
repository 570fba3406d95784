"""Who owns the tags of which table, where answers are cached by their queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Table

from repocache.keys import Keys
from repocache.tags import NAMED, TagKeys, tag_owner
from repocache.tracking import Owned
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


NO_TAGS = TagOwners()
