"""What a read can have shown of a line of WAL, at the most: by that a monotonic session goes on.
Pure."""

from __future__ import annotations

from typing import NamedTuple

from repocache.history import is_newer
from repocache.nodes.wal import PrimaryPosition


class Stamp(NamedTuple):
    """What was shown is not newer than `position` of `history`, bytes; None: not known. `primary`:
    the primary said so, in a poll begun after the read: so it covers all that any node has shown
    before the read began."""

    history: str
    position: int | None
    primary: bool


UNKNOWN = Stamp("", None, primary=False)


def shown_by_primary(line: str, history: str, polled: PrimaryPosition | None) -> Stamp:
    """What a connection to the primary can have shown. `line`: that of its server, empty if it is
    not known; `history`: what this process takes for the primary's; `polled`: after the read.

    1. The primary fails over, and its old server lives on; 2. a new connection leads to the new
    one, by name; 3. this process still polls the old one, and reads by its connections. How far the
    newer line goes was not asked, and the session must not be led back.
    """
    if line and (polled is None or is_newer(line, polled.history)):
        return Stamp(line, None, primary=False)
    if polled is None:
        return Stamp(history, None, primary=False)
    return Stamp(polled.history, polled.insert, primary=True)
