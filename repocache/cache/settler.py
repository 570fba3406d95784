"""Unknown floors are settled by a fresh poll of the primary, so that replicas may fill again; so
are those that nobody has written up to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Observer
from repocache.records import CallerHistory, Change, Records

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in a task that the database owns."""
FAR = 1 << 30
"""Bytes of WAL by which a floor may be ahead of where the primary was last seen, before it is
asked."""


class Line(Protocol):
    """The line of WAL that this process lives in. `history`: empty where positions are not to be
    had."""

    history: str

    def writes_with(self, server: object) -> str:
        """The history that a connection to this server writes; empty if that is not known. Raises
        DatabaseUnavailable for a server that is the primary no more."""
        ...


class CachePrimary(Protocol):
    """What the cache asks about the primary."""

    @property
    def lineage(self) -> Line:
        """Shared: it is always what this process knows now."""
        ...

    async def in_progress(self, xid: str) -> bool:
        """Whether the transaction has neither committed nor rolled back yet. Raises
        DatabaseUnavailable."""
        ...

    async def insert_position(self) -> tuple[str, int] | None:
        """History and insert position (bytes), from a poll begun after this call; None: it cannot
        be had."""
        ...

    def met(self, history: str) -> None:
        """Another process lives in this history: the next poll may have to find the primary anew,
        by name."""
        ...


class Settler:
    """One task for each record whose floor is unknown (protocol, Read path 4)."""

    def __init__(
        self, records: Records, primary: CachePrimary, spawn: Spawn, observe: Observer
    ) -> None:
        self._records = records
        self._primary = primary
        self._line = primary.lineage
        self._spawn = spawn
        self._observe = observe
        self._under_way: set[tuple[int, str]] = set()
        self._stood = 0

    def settle(self, bucket: int, incarnation: str, floor: int | None) -> None:
        """If that is to be done for a record's floor. The incarnation comes first, then the poll,
        or the poll could be from before the record was made."""
        if floor is not None and not self._is_far(floor):
            return
        if not self._line.history or (bucket, incarnation) in self._under_way:
            return
        self._under_way.add((bucket, incarnation))
        self._spawn(self._settle(bucket, incarnation, floor))

    def _is_far(self, floor: int) -> bool:
        return floor > self._stood + FAR

    async def _settle(self, bucket: int, incarnation: str, floor: int | None) -> None:
        try:
            polled = await self._primary.insert_position()
            if polled is None:
                return
            history, self._stood = polled
            if floor is None:
                await self._records.settle(bucket, CallerHistory(history), incarnation, self._stood)
            elif self._is_far(floor):
                # Somebody else has written it: the record is made anew, or only the primary would
                # fill for ever.
                self._observe(
                    CacheFailed(
                        "settle", "a record's floor is far beyond what the primary has written"
                    )
                )
                await self._records.change(Change(bucket, (), (), None), CallerHistory(history))
        except CacheUnavailable as error:
            self._observe(CacheFailed("settle", str(error)))
        finally:
            self._under_way.discard((bucket, incarnation))
