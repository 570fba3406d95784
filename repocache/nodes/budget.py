"""How many reads the primary may stand in for at once, so that neither a lost replica set nor one
client drowns it."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from repocache.errors import ConfigurationError, PrimaryBudgetExceeded

SHARES = 2
"""One client gets at most one of so many shares of the places: half of them are always left to
others."""
LINE = 256
"""So many reads of one client wait at most, once it has its share."""


class PlaceCount(NamedTuple):
    """Of `most` places so many are `taken`, and so many reads wait for one."""

    taken: int
    most: int
    waiting: int


@dataclass(eq=False, slots=True)
class Waiter:
    """`apart`: its client has its share, so it is not in line yet."""

    client: object
    turn: asyncio.Future[None]
    apart: bool


class PrimaryBudget:
    """At most `reads` fallback reads at once; more wait in line, each at most `wait` seconds.

    A read may have a client that drives it to the primary (None: nobody does). One whose client
    holds its share of the places, or is in line for them, waits apart, and in nobody's way.
    """

    def __init__(self, reads: int, wait: float) -> None:
        if reads < 1:
            raise ConfigurationError(
                f"primary_reads={reads}: the primary must be allowed at least one read"
            )
        if wait < 0:
            raise ConfigurationError(f"primary_wait={wait}: give seconds, 0 or more")
        self._reads = reads
        self._share = max(1, reads // SHARES)
        self._wait = wait
        self._free = reads
        self._claims: Counter[object] = Counter()
        """How many places a client holds or is in line for."""
        self._line: OrderedDict[Waiter, None] = OrderedDict()
        self._apart: defaultdict[object, OrderedDict[Waiter, None]] = defaultdict(OrderedDict)

    @property
    def count(self) -> PlaceCount:
        """As it is now."""
        waiting = len(self._line) + sum(map(len, self._apart.values()))
        return PlaceCount(self._reads - self._free, self._reads, waiting)

    async def acquire(self, why: str, client: object = None) -> None:
        """Take a place, to be given back by `release`. `why`: what drove the read here, for the
        message.

        Raises PrimaryBudgetExceeded if none came free in time.
        """
        has_share = client is not None and self._claims[client] >= self._share
        if self._free and not has_share:
            self._free -= 1
            self._claims[client] += 1
            return
        if has_share and len(self._apart[client]) >= LINE:
            self._refuse(why, apart=True)
        waiter = Waiter(client, asyncio.get_running_loop().create_future(), has_share)
        if has_share:
            self._apart[client][waiter] = None
        else:
            self._get_in_line(waiter)
        try:
            async with asyncio.timeout(self._wait):
                await waiter.turn
        except TimeoutError:
            self._give_up(waiter)
            self._refuse(why, apart=waiter.apart)
        except BaseException:
            self._give_up(waiter)
            raise

    def release(self, client: object = None) -> None:
        """Give a place back, for the same client."""
        self._free += 1
        self._claims_less(client)
        self._advance()

    def _get_in_line(self, waiter: Waiter) -> None:
        self._claims[waiter.client] += 1
        self._line[waiter] = None

    def _give_up(self, waiter: Waiter) -> None:
        if waiter.turn.done() and not waiter.turn.cancelled():
            self.release(waiter.client)  # its place came as it gave up
        elif waiter.apart:
            del self._apart[waiter.client][waiter]
            self._tidy(waiter.client)
        else:
            self._line.pop(waiter, None)
            self._claims_less(waiter.client)
            self._advance()

    def _claims_less(self, client: object) -> None:
        self._claims[client] -= 1
        waiting = self._apart.get(client)
        if waiting:
            waiter, _ = waiting.popitem(last=False)
            waiter.apart = False
            self._get_in_line(waiter)
        self._tidy(client)

    def _tidy(self, client: object) -> None:
        """Clients come and go: nothing is kept of those who are gone."""
        if not self._claims[client]:
            del self._claims[client]
        if not self._apart.get(client):
            self._apart.pop(client, None)

    def _advance(self) -> None:
        """Gives free places to the first in line.

        1. A waiter's time ends, or its caller is cancelled: its turn is cancelled at once; 2. a
        place comes free; 3. the waiter runs, and gives up. The place is the next one's.
        """
        while self._free and self._line:
            waiter, _ = self._line.popitem(last=False)
            if waiter.turn.cancelled():
                continue
            self._free -= 1
            waiter.turn.set_result(None)

    def _refuse(self, why: str, *, apart: bool) -> NoReturn:
        if apart:
            raise PrimaryBudgetExceeded(
                f"reads of this client's bookmarks alone have the {self._share} places at the "
                f"primary that one client may have, and none came free within {self._wait} s: "
                f"{why}. Sign bookmarks, and give each client its name in "
                "causal_session(client=...)"
            )
        raise PrimaryBudgetExceeded(
            f"the primary already stands in for {self._reads} reads and no place came free within "
            f"{self._wait} s ({len(self._line)} more wait): {why}. Bring replicas back, or raise "
            "primary_reads if the primary can carry more"
        )
