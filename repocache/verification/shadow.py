"""Shadow mode: what the cache would have answered beside what the database did, counted for each
owner."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from repocache.cache.entry import Row
from repocache.errors import RepocacheError
from repocache.events import CacheFailed, Observer, Shadowed
from repocache.verification.verdict import Verdict
from repocache.verification.verifier import Verifier

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in a task that the database owns."""

MOST_WAITING = 1_000
"""Differing values that are judged at one time; beyond it they are only counted."""


@dataclass(frozen=True, slots=True)
class ShadowCount:
    """Reads in shadow mode so far, by key. `differed`: the cache had another row than the database
    answered. Of these `late` were gone in time or not older than the primary's, `wrong` were not;
    the rest was not judged, or not yet."""

    compared: int
    differed: int
    late: int
    wrong: int


class Shadow:
    """One owner's. `within`: seconds, as in `Verifier.verify`."""

    def __init__(
        self, owner: str, verifier: Verifier, spawn: Spawn, within: float, observe: Observer
    ) -> None:
        self._owner = owner
        self._verifier = verifier
        self._spawn = spawn
        self._within = within
        self._observe = observe
        self._compared = self._differed = self._waiting = 0
        self._judged = dict.fromkeys(Verdict, 0)

    @property
    def count(self) -> ShadowCount:
        """As it stands."""
        judged = self._judged
        late = judged[Verdict.LATE] + judged[Verdict.MOVED] + judged[Verdict.RIGHT]
        return ShadowCount(self._compared, self._differed, late, judged[Verdict.WRONG])

    def compared(
        self, cached: Mapping[Any, Row | None], answered: Mapping[Any, Row | None]
    ) -> None:
        """One read of some ids. Which of two different rows is right, only the primary can tell."""
        self._compared += len(cached)
        differing = {id: row for id, row in cached.items() if row != answered[id]}
        self._differed += len(differing)
        if differing and self._waiting + len(differing) <= MOST_WAITING:
            self._waiting += len(differing)
            self._spawn(self._judge(differing))

    async def _judge(self, differing: Mapping[Any, Row | None]) -> None:
        try:
            for id, verdict in (
                await self._verifier.judge(self._owner, differing, self._within)
            ).items():
                self._judged[verdict] += 1
                self._observe(Shadowed(self._owner, repr(id), verdict.value))
        except RepocacheError as error:
            self._observe(CacheFailed("shadow", str(error)))
        finally:
            self._waiting -= len(differing)
