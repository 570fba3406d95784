"""What all events have in common."""

from __future__ import annotations

import msgspec

from repocache.events.remedies import BY_KIND


class Event(msgspec.Struct, frozen=True):
    """Something happened. The subclasses say what.

    A struct and no dataclass: one is made for most reads, and making it costs a tenth."""

    @property
    def remedy(self) -> str:
        """What an operator can do; empty if nothing has to be done, or if the event says it
        itself."""
        return BY_KIND.get(type(self).__name__, "")
