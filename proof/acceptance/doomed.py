"""Processes that are killed between COMMIT and the end of its acknowledgement, each at another
line.

`python -m proof.acceptance.doomed`: a setup as a JSON line on stdin, then for each death an order,
how many lines the process may live; told on stdout is the line that it died at, or "survived". Each
is a fork, so that it starts quickly.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import FrameType
from typing import Any

import msgspec

from proof.acceptance.service import Setup, tell
from proof.acceptance.storm import bump
from repocache.events import ignore
from repocache.invalidation import acknowledger, bus, outbox
from repocache.publication import publisher
from repocache.publication.publisher import CommitPublisher
from repocache.records import redis, replies
from repocache.transactions.transaction import Outcome, Transaction

FILES = (
    publisher.__file__,
    bus.__file__,
    redis.__file__,
    replies.__file__,
    acknowledger.__file__,
    outbox.__file__,
)
"""Where a publication's way is told."""


class Executioner:
    """A trace function: counts lines of these files, and kills at the given one."""

    def __init__(self, lines: int) -> None:
        self._left = lines

    def __call__(self, frame: FrameType, what: str, _: Any) -> Any:
        if frame.f_code.co_filename not in FILES:
            return None
        if what == "line":
            self._left -= 1
            if self._left < 0:
                tell({"died": f"{frame.f_code.co_qualname}, line {frame.f_lineno}"})
                os.kill(os.getpid(), signal.SIGKILL)
        return self


class Doom(msgspec.Struct):
    """Raise the version of this user, and live for so many lines after COMMIT."""

    id: int
    lines: int


async def meet(doom: Doom, setup: Setup) -> None:
    committed = CommitPublisher.committed

    async def watched(self: CommitPublisher, transaction: Transaction, outcome: Outcome) -> None:
        sys.settrace(Executioner(doom.lines))  # until the end: the acknowledgement comes later
        await committed(self, transaction, outcome)

    CommitPublisher.committed = watched  # type: ignore[method-assign]
    db, _ = setup.database(ignore)
    async with db:
        await bump(db, doom.id)


def main() -> None:
    orders = sys.stdin.buffer
    setup = msgspec.json.decode(orders.readline(), type=Setup)
    for line in orders:
        child = os.fork()
        if child == 0:
            asyncio.run(meet(msgspec.json.decode(line, type=Doom), setup))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            tell({"died": ""})


if __name__ == "__main__":
    main()
