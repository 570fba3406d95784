"""The outbox's table in the simulated database: what the library's few statements do to it, and
what a trigger leaves.

Owns the meaning of each statement, which is known by its text. Rows are the transactions' and the
servers' affair.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.base import PGDialect

from proof.simulation.postgres import Cluster
from proof.simulation.server import Key, Noted, Transaction
from repocache.invalidation import outbox, outbox_table
from repocache.invalidation.outbox import TABLE, on_table
from repocache.invalidation.outbox_table import OutboxPlace, OutboxTable

PLACE = OutboxPlace("public").table
DIALECT = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
"""What statements for the outbox are compiled for."""
SECOND = 1_000_000
NEVER = 2**63 - 1
"""When a row that is put aside is due."""


def now(cluster: Cluster) -> int:
    """The server's clock, in microseconds since 1970."""
    return int(cluster.primary.clock * SECOND)


def table_of(owner: str) -> str:
    """Where an owner's rows are, as a trigger's notice names it."""
    return f"public.{owner}"


def notice(
    cluster: Cluster, transaction: Transaction, owner: str, ids: Sequence[int] | None
) -> None:
    """As the trigger of the owner's table, after one statement. `ids`: of its rows, None: it was a
    TRUNCATE."""
    said: dict[str, Any] = {"t": table_of(owner)}
    if ids is not None:
        said["rows"] = [{"id": id} for id in ids]
    rows = ((key, version) for key, (version, _) in transaction.rows.items() if key[0] == owner)
    owes = {key: version for key, version in rows if ids is None or key[1] in ids}
    row = Noted(table_of(owner), msgspec.json.encode([said]).decode(), now(cluster), owes)
    id = _insert(cluster, transaction, row)
    transaction.noticed.append(id)


def _insert(cluster: Cluster, transaction: Transaction, row: Noted) -> int:
    id = cluster.next_id()
    transaction.notes[id] = row
    return id


async def seal(
    cluster: Cluster, transaction: Transaction, given: Mapping[str, Any]
) -> Sequence[Any]:
    """The last statement before COMMIT, and its one row."""
    due = now(cluster) + int(given["grace"] * SECOND)
    noticed: list[Any] = []
    for id in transaction.noticed:
        row = transaction.notes[id]
        if row is not None and row.source in _known(given):
            transaction.notes[id] = row._replace(due=due)
            noticed.append([id, msgspec.json.decode(row.notices)])
    id = _insert(
        cluster,
        transaction,
        Noted(None, given["notices"], due, _owed(transaction, given["notices"])),
    )
    transaction.sealed = True
    synchronous = "on" if transaction.synchronous else "off"
    said = msgspec.json.encode(noticed).decode() if noticed else None
    return id, due, transaction.xid, synchronous, cluster.insert, said


def _owed(transaction: Transaction, notices: str) -> dict[Key, int]:
    [said] = msgspec.json.decode(notices)
    rows = ((key, version) for key, (version, _) in transaction.rows.items())
    return {
        key: version
        for key, version in rows
        if key[0] in said["o"] or f"{key[0]}:{key[1]}" in said["k"]
    }


def _known(given: Mapping[str, Any]) -> list[str]:
    known: list[str] = msgspec.json.decode(given["known"])
    return known


async def _find(*_: object) -> list[Sequence[Any]]:
    return [OutboxTable("app", True, True, (), (), False, False, False, True)]


async def _take(
    cluster: Cluster, transaction: Transaction, given: Mapping[str, Any]
) -> list[Sequence[Any]]:
    """FOR UPDATE SKIP LOCKED."""
    found: list[Sequence[Any]] = []
    moment, known = now(cluster), {None, *_known(given)}
    for id, row in cluster.primary.notes.items():
        if (
            row.due <= moment
            and row.source in known
            and cluster.locks.at_once(transaction, _key(id))
        ):
            found.append((id, row.notices, row.source, row.tries))
            if len(found) == given["most"]:
                break
    return found


async def _delete(
    _: Cluster, transaction: Transaction, given: Mapping[str, Any]
) -> list[Sequence[Any]]:
    transaction.notes.update(dict.fromkeys(given["ids"]))
    return []


async def _acknowledge(
    cluster: Cluster, transaction: Transaction, given: Mapping[str, Any]
) -> list[Sequence[Any]]:
    """Rows that a relay holds are waited for, and looked at again then."""
    transaction.synchronous = False
    for id, due in zip(given["ids"], given["dues"], strict=True):
        if is_whose(cluster, id, due):
            await cluster.locks.lock(transaction, _key(id))
            if is_whose(cluster, id, due):
                transaction.notes[id] = None
    return []


def is_whose(cluster: Cluster, id: int, due: int) -> bool:
    """Whether the row is the one that was written under this id to be due then."""
    row = cluster.primary.notes.get(id)
    return row is not None and row.due == due


async def _put(
    cluster: Cluster, transaction: Transaction, given: Mapping[str, Any]
) -> list[Sequence[Any]]:
    """In place of those that it has deleted."""
    deleted = [cluster.primary.notes[id] for id, row in transaction.notes.items() if row is None]
    owes: dict[Key, int] = {}
    for row in deleted:
        owes.update((key, max(version, owes.get(key, 0))) for key, version in row.owes.items())
    _insert(cluster, transaction, Noted(None, given["notices"], now(cluster), owes))
    return []


async def _postpone(
    cluster: Cluster, transaction: Transaction, given: Mapping[str, Any]
) -> list[Sequence[Any]]:
    for id, tries, wait in zip(given["ids"], given["tries"], given["waits"], strict=True):
        due = NEVER if wait is None else now(cluster) + int(wait * SECOND)
        transaction.notes[id] = cluster.primary.notes[id]._replace(due=due, tries=tries)
    return []


async def _fold_foreign(*_: object) -> list[Sequence[Any]]:
    """Never so many that it were worth it."""
    return []


def _key(id: int) -> tuple[str, int]:
    """The row's lock."""
    return TABLE, id


Run = Callable[[Cluster, Transaction, Mapping[str, Any]], Coroutine[Any, Any, list[Sequence[Any]]]]

_STATEMENTS: Mapping[str, Run] = {
    outbox_table._FIND.text: _find,
    on_table(outbox._TAKE, PLACE).text: _take,
    on_table(outbox._DELETE, PLACE).text: _delete,
    on_table(outbox._ACKNOWLEDGE, PLACE).text: _acknowledge,
    on_table(outbox._PUT, PLACE).text: _put,
    on_table(outbox._POSTPONE, PLACE).text: _postpone,
    on_table(outbox._FOLD_FOREIGN, PLACE).text: _fold_foreign,
}


async def _places(_: Cluster, __: Transaction, given: Mapping[str, Any]) -> list[Sequence[Any]]:
    return [(name, table_of(name)) for name in given["names"]]


def meaning(statement: TextClause) -> Run:
    """What a statement of the outbox's does. Raises KeyError for one that is not known here."""
    return _places if "pg_partition_tree" in statement.text else _STATEMENTS[statement.text]


def arguments(statement: TextClause, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is bound to the statement, and what it is given."""
    bound = {name: parameter.value for name, parameter in statement._bindparams.items()}
    return {**bound, **(given or {})}
