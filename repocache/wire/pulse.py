"""Whether a connection still answers. Pure: a look for each tick of one timer, no clock, nothing per call."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum


class Verdict(Enum):
    """What a look found."""

    FINE = "fine"
    IDLE = "idle"
    OVERDUE = "overdue"


class Pulse:
    """Looks four times within `reply_timeout` (or within `idle_ping`, if that is shorter), both in seconds.

    Replies come in order, so the oldest one alone decides: it is overdue if it was already asked for
    `reply_timeout` ago, found at most a quarter later. Age is counted in looks and not by the clock: while
    the process's own loop is stuck there are no looks, and the server is not blamed for replies that lie in
    the socket unread.
    """

    def __init__(self, reply_timeout: float, idle_ping: float) -> None:
        self.tick = min(reply_timeout, idle_ping) / 4
        self._asked: deque[int] = deque(maxlen=math.ceil(reply_timeout / self.tick))
        self._quiet = 0
        self._patience = math.ceil(idle_ping / self.tick)

    def look(self, asked: int, answered: int) -> Verdict:
        """`asked`, `answered`: how many commands and replies the connection has seen in its life."""
        history = self._asked
        if len(history) == history.maxlen and answered < history[0]:
            return Verdict.OVERDUE
        self._quiet = self._quiet + 1 if history and history[-1] == asked else 0
        history.append(asked)
        if self._quiet < self._patience:
            return Verdict.FINE
        self._quiet = 0
        return Verdict.IDLE
