"""What a row of the outbox says, as JSON: a unit of work's keys, or rows of a table as a trigger
saw them. Pure.

Anybody who may INSERT has written it: what this library does not write is refused as a whole. What
a trigger's notice means for an owner's keys is `tracking`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec

from repocache.invalidation.batch import Batch, merged
from repocache.invalidation.bus import MOST_KEYS
from repocache.keys import KEY_FORM, PREFIX_FORM

LONGEST = 1_000_000
"""Bytes of a row: what is longer, this library does not write, and nobody reads."""


class TableNotice(NamedTuple):
    """What a trigger saw of one statement: the table as `schema.name`, and of each row, before and
    after, the columns that it carries. None: all rows of the table may have changed."""

    table: str
    rows: Sequence[Mapping[str, Any]] | None


def in_any_schema(name: str) -> str:
    """Among `Watched.tables`: a table of this name, whatever its schema."""
    return f"*.{name}"


def is_watched(table: str | None, watched: Collection[str]) -> bool:
    """Whether it is one of these. `table`: as `schema.name`; None: none."""
    return table is not None and (
        table in watched or in_any_schema(table.partition(".")[2]) in watched
    )


WATCHED = (
    "(source IN (SELECT pg_catalog.jsonb_array_elements_text(CAST(:known AS jsonb)))"
    " OR '*' || pg_catalog.substr(source, pg_catalog.strpos(source, '.')) IN"
    " (SELECT pg_catalog.jsonb_array_elements_text(CAST(:known AS jsonb))))"
)
"""`is_watched`, as PostgreSQL has it. `known`: JSON, an array of the watched ones."""

Resolve = Callable[[TableNotice], Batch]
"""Whose keys a trigger's notice concerns. Raises ValueError if that is not known here."""


class Watched(Protocol):
    """The tables whose triggers' notices are understood here, as `schema.name` or as of
    `in_any_schema`, and all owners that are declared."""

    @property
    def tables(self) -> Iterable[str]: ...

    @property
    def owners(self) -> frozenset[str]: ...

    def resolve(self, notice: TableNotice) -> Batch: ...


class _Notice(msgspec.Struct, forbid_unknown_fields=True):
    """`k` and `o`: keys, and owners as a whole, of a unit of work. `t` and `rows`: a trigger's."""

    k: list[Annotated[str, msgspec.Meta(pattern=rf"\A{KEY_FORM}\Z")]] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    o: list[Annotated[str, msgspec.Meta(pattern=rf"\A{PREFIX_FORM}\Z")]] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    t: str | msgspec.UnsetType = msgspec.UNSET
    rows: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


_REST = 100_000
"""Bytes of a row for all but its keys."""
_NOTICES = msgspec.json.Decoder(list[_Notice])


def notices_of(batch: Batch) -> str:
    """A unit of work's changes as a row has them. Keys too long for a row are their owners as a
    whole."""
    keys = sorted(key for texts in batch.keys.values() for key in texts)
    if sum(len(key) + len('"", ') for key in keys) > LONGEST - _REST:
        keys, batch = [], Batch({}, batch.owners.union(batch.keys))
    return msgspec.json.encode([{"k": keys, "o": sorted(batch.owners)}]).decode()


def batch_of(notices: str | bytes, resolve: Resolve) -> Batch:
    """What a row says. Raises ValueError for what no release of this library wrote, whatever it
    is."""
    try:
        return merged([_batch(notice, resolve) for notice in _NOTICES.decode(notices)], MOST_KEYS)
    except RecursionError as error:
        raise ValueError("JSON that is too deep") from error
    except msgspec.MsgspecError as error:
        # No ValueError before msgspec 0.20.
        raise ValueError(str(error)) from error


def _batch(notice: _Notice, resolve: Resolve) -> Batch:
    match notice:
        case _Notice(k=list(keys), o=list(owners), t=msgspec.UNSET, rows=msgspec.UNSET):
            by_owner: dict[str, set[str]] = {}
            for key in keys:
                by_owner.setdefault(key.partition(":")[0], set()).add(key)
            return Batch(
                {owner: frozenset(texts) for owner, texts in by_owner.items()}, frozenset(owners)
            )
        case _Notice(k=msgspec.UNSET, o=msgspec.UNSET, t=str(table), rows=rows):
            return resolve(TableNotice(table, rows if isinstance(rows, list) else None))
    raise ValueError("a notice is keys and owners, or a table")
