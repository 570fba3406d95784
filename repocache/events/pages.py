"""Events of responses over HTTP."""

from __future__ import annotations

from repocache.events.event import Event


class ResponseKept(Event, frozen=True):
    """A response of a route that caches may keep. `how`: "rendered", "hit" (a kept page), "stale"
    (one that is being rendered anew), "not modified" (by its versions, without rendering). `why`:
    why it may not be kept by shared caches, empty: it may."""

    how: str
    why: str
