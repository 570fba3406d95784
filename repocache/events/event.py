"""What all events have in common."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.events.remedies import BY_KIND


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. The subclasses say what."""

    @property
    def remedy(self) -> str:
        """What an operator can do; empty if nothing has to be done, or if the event says it
        itself."""
        return BY_KIND.get(type(self).__name__, "")
