"""What the primary says of an application's tables: outbox, triggers, row-level security, foreign
keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Table, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repocache.behind.tables import BehindTables
from repocache.doctor.postgres_facts import rows_of
from repocache.errors import DatabaseUnavailable, RepocacheError
from repocache.invalidation.held import MOST_COUNTED, Held
from repocache.invalidation.outbox_table import OutboxPlace, OutboxTable, find
from repocache.settings import Settings
from repocache.tracking.places import place_of

NOTICE = "repocache_notice"
"""The function of the triggers that write the outbox."""
_TABLES = text(
    """
SELECT asked.name, class.oid IS NOT NULL, coalesce(class.relrowsecurity, false),
  EXISTS (SELECT FROM pg_catalog.pg_trigger AS held
    JOIN pg_catalog.pg_proc AS called ON called.oid = held.tgfoid
    WHERE held.tgrelid = class.oid AND NOT held.tgisinternal AND held.tgenabled <> 'D'
      AND called.proname = CAST(:notice AS name))
FROM pg_catalog.unnest(CAST(:names AS text[])) AS asked (name)
LEFT JOIN pg_catalog.pg_class AS class
  ON class.oid = CAST(pg_catalog.to_regclass(asked.name) AS oid)
"""
)
_KEYS = text(
    """
SELECT CAST(held.conname AS text),
  CAST(space.nspname AS text) || '.' || CAST(child.relname AS text), asked.name,
  held.confdeltype, held.confupdtype
FROM pg_catalog.unnest(CAST(:names AS text[])) AS asked (name)
JOIN pg_catalog.pg_constraint AS held
  ON held.conrelid = CAST(pg_catalog.to_regclass(asked.name) AS oid) AND held.contype = 'f'
  AND held.conparentid = CAST(0 AS oid)
JOIN pg_catalog.pg_class AS child ON child.oid = held.confrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = child.relnamespace
WHERE held.confdeltype IN ('c', 'n', 'd') OR held.confupdtype IN ('c', 'n', 'd')
"""
)
_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


class TableFact(NamedTuple):
    """`watched`: it has a trigger that writes the outbox."""

    name: str
    exists: bool
    secured: bool
    watched: bool


class ForeignKeyAction(NamedTuple):
    """What the database does to rows of `table` when one of `parent` is deleted or its key
    changes."""

    table: str
    parent: str
    name: str
    action: str


@dataclass(frozen=True, slots=True)
class PurgeFacts:
    """`table`: of what edges have still to purge, None: there is none. `waiting`, `aside`: its
    rows, counted up to `MOST_COUNTED`. `seconds`: age of the oldest that waits."""

    table: OutboxTable | None = None
    waiting: int = 0
    aside: int = 0
    seconds: float = 0.0


NO_PURGES = PurgeFacts()


@dataclass(frozen=True, slots=True)
class TableFacts:
    """`outbox`: as the catalogue has it; None: there is no such table. `unknown_keys`: actions of
    foreign keys that the metadata does not have. `behind`: why nothing can be written behind, with
    the remedy, empty if it can. Counted up to `MOST_COUNTED`: `aside`, rows of the outbox that no
    relay takes, and dead `letters`."""

    outbox: OutboxTable | None = None
    tables: tuple[TableFact, ...] = ()
    unknown_keys: tuple[ForeignKeyAction, ...] = ()
    unread: str = ""
    behind: str = ""
    aside: int = 0
    letters: int = 0
    purges: PurgeFacts = NO_PURGES


async def read_tables(
    tables: Sequence[Table], engine: AsyncEngine, settings: Settings
) -> TableFacts:
    """`tables`: a write to which may concern an owner. `engine`: to the primary, disposed of.
    Raises nothing of the database's."""
    names = list(map(engine.dialect.identifier_preparer.format_table, tables))
    place = OutboxPlace(settings.outbox_schema, settings.outbox_owners)
    try:
        outbox = await find(engine, place, names)
        aside = await _aside(engine, place) if outbox is not None else 0
        purges = await _purges(engine, place.purges, names)
        async with engine.connect() as connection:
            behind, letters = await _behind(connection, BehindTables(settings.outbox_schema))
            known = await rows_of(connection, _TABLES, names=names, notice=NOTICE)
            keys = await rows_of(connection, _KEYS, names=names)
    except (RepocacheError, SQLAlchemyError, OSError, TimeoutError) as error:
        return TableFacts(unread=str(error))
    finally:
        await engine.dispose()
    by_name = dict(zip(names, tables, strict=True))
    found = [
        ForeignKeyAction(name, parent, constraint, _action(deletes, updates))
        for constraint, parent, name, deletes, updates in keys
    ]
    return TableFacts(
        outbox=outbox,
        behind=behind,
        aside=aside,
        letters=letters,
        purges=purges,
        tables=tuple(TableFact(*row) for row in known),
        unknown_keys=tuple(each for each in found if not declares(by_name[each.table], each)),
    )


async def _aside(engine: AsyncEngine, place: OutboxPlace) -> int:
    """0 where the role may not look: that is another finding."""
    try:
        return (await Held(engine, place.table).depth()).aside
    except DatabaseUnavailable:
        return 0


async def _purges(engine: AsyncEngine, place: OutboxPlace, names: Sequence[str]) -> PurgeFacts:
    """Without its rows where the role may not look."""
    table = await find(engine, place, names)
    if table is None:
        return NO_PURGES
    try:
        depth = await Held(engine, place.table).depth()
    except DatabaseUnavailable:
        return PurgeFacts(table)
    return PurgeFacts(table, depth.waiting, depth.aside, depth.seconds)


async def _behind(connection: AsyncConnection, tables: BehindTables) -> tuple[str, int]:
    if hindrance := await tables.hindrance(connection):
        return hindrance, 0
    some = select(tables.dead.c.id).limit(MOST_COUNTED).subquery()
    counted = await connection.execute(select(func.count()).select_from(some))
    return "", counted.scalar_one()


def declares(table: Table, key: ForeignKeyAction) -> bool:
    """Whether the metadata has a foreign key to that parent with such an action."""
    for each in table.foreign_key_constraints:
        actions = {each.ondelete, each.onupdate} & {"CASCADE", "SET NULL", "SET DEFAULT"}
        if ".".join(place_of(each.referred_table)) == key.parent and actions:
            return True
    return False


def _action(deletes: str | bytes, updates: str | bytes) -> str:
    told = []
    for word, code in (("DELETE", deletes), ("UPDATE", updates)):
        action = _ACTIONS.get(code.decode() if isinstance(code, bytes) else code)
        if action:
            told.append(f"ON {word} {action}")
    return " ".join(told)
