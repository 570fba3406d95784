"""Whether a connection still answers. Pure: a look for each tick of one timer, no clock, nothing
per call."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum


class PulseVerdict(Enum):
    """What a look found."""

    FINE = "fine"
    DUE = "due"
    OVERDUE = "overdue"


class Pulse:
    """Looks four times within `reply_timeout` (or within `beat`, if that is shorter), both in
    seconds.

    Every `beat` it is due that the server says who it is, whatever else is asked. Replies come in
    order, so the oldest one alone decides: it is overdue if it was already asked for
    `reply_timeout` ago, found at most a quarter later. Age is counted in looks and not by the
    clock: while the process's own loop is stuck there are no looks, and the server is not blamed
    for replies that lie in the socket unread.
    """

    def __init__(self, reply_timeout: float, beat: float) -> None:
        self.tick = min(reply_timeout, beat) / 4
        self._asked: deque[int] = deque(maxlen=math.ceil(reply_timeout / self.tick))
        self._looks = 0
        self._between = math.ceil(beat / self.tick)

    def look(self, asked: int, answered: int) -> PulseVerdict:
        """`asked`, `answered`: how many commands and replies the connection has seen in its
        life."""
        history = self._asked
        if len(history) == history.maxlen and answered < history[0]:
            return PulseVerdict.OVERDUE
        history.append(asked)
        self._looks += 1
        return PulseVerdict.FINE if self._looks % self._between else PulseVerdict.DUE
