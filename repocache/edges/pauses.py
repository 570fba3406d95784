"""How long to wait before a purge is tried again. Pure."""

from __future__ import annotations

from repocache.errors import EdgeFailed, EdgeUnavailable

FIRST, LONGEST = 0.25, 60.0
"""Seconds, doubled by each try in vain."""
REFUSED = 60.0
"""Seconds after a refusal: somebody has to mend a token or an address, and nothing is lost
meanwhile."""
MOST_ASKED = 600.0
"""Seconds for which an edge may ask to be left alone."""
LEAST_SHARE = 0.5


def pause(failure: EdgeFailed, tries: int, chance: float) -> float:
    """Seconds. `tries`: in vain, in a row, this one included. `chance`: 0 to 1, at random: a share
    of the pause, so that processes spread. What the edge asks for is waited for in full, and the
    spread comes on top."""
    if not isinstance(failure, EdgeUnavailable):
        return REFUSED * (1.0 + chance * LEAST_SHARE)
    grown = min(LONGEST, FIRST * 2.0 ** min(tries - 1, 32))
    if failure.retry_after is None:
        return grown * (LEAST_SHARE + chance * (1.0 - LEAST_SHARE))
    return min(MOST_ASKED, max(0.0, failure.retry_after)) + grown * chance
