"""What a row of the outbox says, as JSON: a unit of work's keys, or rows of a table as a trigger saw them. Pure.

What a trigger's notice means for an owner's keys is `tracking`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.bus import MOST_KEYS


class TableNotice(NamedTuple):
    """What a trigger saw of one statement: the table as `schema.name`, and of each row, before and after, the columns
    that it carries. None: all rows of the table may have changed."""

    table: str
    rows: Sequence[Mapping[str, Any]] | None


Resolve = Callable[[TableNotice], Batch]
"""Whose keys a trigger's notice concerns. Raises ValueError if that is not known here."""


class Watched(Protocol):
    """The tables whose triggers' notices are understood here, as `schema.name`."""

    @property
    def tables(self) -> Iterable[str]: ...

    def resolve(self, notice: TableNotice) -> Batch: ...


def notices_of(batch: Batch) -> str:
    """A unit of work's changes as a row has them."""
    keys = sorted(key for texts in batch.keys.values() for key in texts)
    return msgspec.json.encode([{"k": keys, "o": sorted(batch.owners)}]).decode()


def batch_of(notices: str | Sequence[Mapping[str, Any]], resolve: Resolve) -> Batch:
    """What a row says. Raises ValueError for what no release of this library wrote."""
    batches: list[Batch] = []
    try:
        for notice in msgspec.json.decode(notices) if isinstance(notices, str) else notices:
            if "t" in notice:
                known = "rows" in notice
                batches.append(resolve(TableNotice(notice["t"], list(notice["rows"]) if known else None)))
            else:
                batches.append(_batch(notice["k"], notice["o"]))
    except (TypeError, KeyError, AttributeError, msgspec.DecodeError) as error:
        raise ValueError(f"no notice of this release: {error!r}") from error
    return merged(batches, MOST_KEYS)


def _batch(keys: Iterable[str], owners: Iterable[str]) -> Batch:
    by_owner: dict[str, set[str]] = {}
    for key in keys:
        by_owner.setdefault(key.partition(":")[0], set()).add(key)
    return Batch({owner: frozenset(texts) for owner, texts in by_owner.items()}, frozenset(owners))
