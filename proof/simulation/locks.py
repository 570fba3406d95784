"""The row locks of one line of WAL: who holds which row, and who waits for it.

Owns the queues. When a transaction ends is `postgres`'s affair.
"""

from __future__ import annotations

import asyncio
from collections import deque

from proof.simulation.loop import Loop
from proof.simulation.network import Lost
from proof.simulation.server import Key, Transaction


class Locks:
    """A row is one transaction's until this ends; others wait in turn."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._holders: dict[Key, Transaction] = {}
        self._queues: dict[Key, deque[tuple[Transaction, asyncio.Future[None]]]] = {}

    async def lock(self, transaction: Transaction, key: Key) -> None:
        """Raises Lost."""
        if transaction.state != "open":
            raise Lost("the transaction ended")
        holder = self._holders.get(key)
        if holder is None:
            self._take(key, transaction)
        elif holder is not transaction:
            turn: asyncio.Future[None] = self._loop.create_future()
            self._queues.setdefault(key, deque()).append((transaction, turn))
            await turn
            if transaction.state != "open":
                raise Lost("the transaction ended")

    def at_once(self, transaction: Transaction, key: Key) -> bool:
        """Whether nobody else has it."""
        if key not in self._holders:
            self._take(key, transaction)
        return self._holders[key] is transaction

    def end(self, transaction: Transaction) -> None:
        """What it held goes to who waits."""
        for key in transaction.locks:
            if self._holders.get(key) is transaction:
                del self._holders[key]
                self._hand_on(key)

    def clear(self) -> None:
        """The server is down: nobody holds anything, and nobody's turn comes."""
        self._holders.clear()
        queues, self._queues = self._queues, {}
        for queue in queues.values():
            for _, turn in queue:
                if not turn.done():
                    turn.set_result(None)

    def _take(self, key: Key, transaction: Transaction) -> None:
        self._holders[key] = transaction
        transaction.locks.append(key)

    def _hand_on(self, key: Key) -> None:
        queue = self._queues.get(key)
        while queue:
            transaction, turn = queue.popleft()
            if not turn.done() and transaction.state == "open":
                self._take(key, transaction)
                turn.set_result(None)
                return
